-- statistics_uploads: the whole table, which is small (bounded by reltuples)
SELECT created_by_role::text AS created_by_role, sum(size)::bigint AS bytes FROM upload_files GROUP BY 1 LIMIT 100
