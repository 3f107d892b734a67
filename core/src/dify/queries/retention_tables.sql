-- retention_tables: the catalogue's own indexes
-- $1 the tables. Sizes are read from the file system.
SELECT c.relname::text AS name, pg_relation_size(c.oid) AS heap_bytes,
       COALESCE(pg_relation_size(NULLIF(c.reltoastrelid, 0)), 0) AS toast_bytes, pg_indexes_size(c.oid) AS index_bytes,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows,
       CASE WHEN t.reltuples >= 0 THEN t.reltuples::bigint END AS toast_rows,
       (SELECT sum((1 - p.null_frac) * p.avg_width)::float8 FROM pg_catalog.pg_stats p
        WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND NOT p.inherited) AS row_width,
       COALESCE(s.n_live_tup, 0) AS live_rows, COALESCE(s.n_dead_tup, 0) AS dead_rows, COALESCE(ts.n_dead_tup, 0) AS toast_dead_rows,
       GREATEST(s.last_vacuum, s.last_autovacuum) AT TIME ZONE 'UTC' AS vacuumed_at,
       (SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_scale_factor')
         AS own_scale_factor,
       (SELECT option_value::int8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_threshold')
         AS own_threshold,
       COALESCE((SELECT option_value::bool FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true)
         AS autovacuum,
       row_security_active(c.oid) AS row_security
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
LEFT JOIN pg_catalog.pg_stat_all_tables ts ON ts.relid = c.reltoastrelid
WHERE c.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(c.oid) AND c.relname::text = ANY($1)
ORDER BY pg_table_size(c.oid) DESC, c.relname
