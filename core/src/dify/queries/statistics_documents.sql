-- statistics_documents: the whole table, which is small (bounded by reltuples)
SELECT dataset_id, indexing_status::text AS indexing_status, count(*) AS documents
FROM documents GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20000
