-- check_single_steps: the catalogue's own indexes
SELECT s.null_frac::float8 AS share FROM pg_catalog.pg_stats s
WHERE s.schemaname = current_schema() AND s.tablename = 'workflow_node_executions' AND s.attname = 'workflow_run_id'
