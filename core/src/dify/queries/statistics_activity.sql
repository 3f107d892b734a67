-- statistics_activity: no table
SELECT d.blks_read AS blocks_read, d.blks_hit AS blocks_hit, d.tup_inserted + d.tup_updated + d.tup_deleted AS rows_written,
       d.deadlocks, d.xact_commit AS commits, d.xact_rollback AS rollbacks, pg_database_size(d.datid) AS size_bytes
FROM pg_catalog.pg_stat_database d
WHERE d.datname = current_database()
