-- statistics_sessions: no table
-- Other people's sessions show their state only to members of pg_read_all_stats. Ages come from timestamps with time zone.
SELECT COALESCE(a.state, 'unknown')::text AS state, count(*) AS connections,
       max(EXTRACT(EPOCH FROM clock_timestamp() - a.xact_start))
         FILTER (WHERE a.application_name IS DISTINCT FROM current_setting('application_name'))::float8 AS oldest_transaction,
       max(EXTRACT(EPOCH FROM clock_timestamp() - a.state_change))
         FILTER (WHERE a.state LIKE 'idle in transaction%'
                   AND a.application_name IS DISTINCT FROM current_setting('application_name'))::float8 AS idle_in_transaction
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.backend_type = 'client backend'
GROUP BY 1
