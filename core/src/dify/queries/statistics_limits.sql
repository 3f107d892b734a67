-- statistics_limits: no table
SELECT current_setting('max_connections')::bigint AS max_connections,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all
