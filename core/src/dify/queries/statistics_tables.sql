-- statistics_tables: the catalogue's own indexes
-- $1 the tables that are always listed; others when they are larger than 8 MiB. Sizes are read from the file system.
SELECT c.relname::text AS name,
       pg_table_size(c.oid) - COALESCE(pg_total_relation_size(NULLIF(c.reltoastrelid, 0)), 0) AS heap_bytes,
       COALESCE(pg_total_relation_size(NULLIF(c.reltoastrelid, 0)), 0) AS toast_bytes,
       pg_indexes_size(c.oid) AS index_bytes,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint ELSE s.n_live_tup END AS rows,
       s.n_dead_tup AS dead_rows
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND pg_catalog.pg_table_is_visible(c.oid)
  AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  AND (c.relname::text = ANY($1) OR c.relpages >= 1024)
ORDER BY c.relpages DESC, c.relname
LIMIT 200
