-- pressure_server: no table
SELECT pg_is_in_recovery() AS standby,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       count(*) FILTER (WHERE a.state = 'active') AS active,
       max(EXTRACT(EPOCH FROM clock_timestamp() - a.xact_start))::float8 AS oldest_transaction
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
  AND a.application_name <> ALL ($1)
