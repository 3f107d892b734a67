-- schema_columns: the catalogue's own indexes
SELECT c.relname::text AS table_name, c.reltuples, a.attname::text AS column_name,
       format_type(a.atttypid, a.atttypmod) AS data_type,
       has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable,
       has_column_privilege(c.oid, 'xmin', 'SELECT') AS version_readable,
       a.attnum AS position, a.attgenerated <> '' AS generated, c.relkind = 'p' AS partitioned
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid)
  AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
