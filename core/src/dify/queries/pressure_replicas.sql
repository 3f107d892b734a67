-- pressure_replicas: no table
-- A base backup is listed too and never replays. The lag in time is unknown while nothing is written.
SELECT COALESCE(r.application_name, '')::text AS name,
       CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_lsn() - r.replay_lsn)::bigint END AS bytes,
       EXTRACT(EPOCH FROM r.replay_lag)::float8 AS seconds
FROM pg_catalog.pg_stat_replication r
WHERE r.state IS DISTINCT FROM 'backup'
ORDER BY 1
