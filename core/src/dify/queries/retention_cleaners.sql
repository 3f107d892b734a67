-- retention_cleaners: the sessions' memory only
-- Sessions that are deleting executions and are not ours. Their texts are compared here and go nowhere.
SELECT a.pid, COALESCE(a.usename, '')::text AS role, COALESCE(a.application_name, '') AS application, a.state = 'active' AS active,
       substring(lower(a.query) FROM 'delete\s+from\s+"?(workflow_runs|workflow_node_executions|messages|conversations)\y') AS table_name
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND COALESCE(a.application_name, '') NOT LIKE 'dify-janitor%'
  AND a.query ~* '^\s*delete\s+from\s+"?(workflow_runs|workflow_node_executions|messages|conversations)\y.*\sin\s*\('
  AND a.state IN ('active', 'idle in transaction')
ORDER BY a.query_start
LIMIT 5
