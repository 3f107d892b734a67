-- retention_statements: no table
-- Where pg_stat_statements can be asked, if it can.
SELECT n.nspname::text AS schema
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_class c ON c.relname = 'pg_stat_statements' AND c.relnamespace = e.extnamespace
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
  -- The extension may be there and its library not be loaded; then its settings are not there either, and asking it is an error.
  AND current_setting('pg_stat_statements.max', true) IS NOT NULL
