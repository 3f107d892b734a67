-- statistics_indexed: the whole table, which is small (bounded by reltuples)
SELECT id, dataset_id, completed_at, EXTRACT(EPOCH FROM completed_at - processing_started_at)::float8 AS seconds, indexing_latency
FROM documents
WHERE indexing_status = 'completed' AND completed_at >= $1
ORDER BY completed_at, id LIMIT $2
