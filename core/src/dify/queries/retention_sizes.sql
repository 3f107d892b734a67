-- retention_sizes: the catalogue's own indexes; sizes are read from the file system
SELECT c.relname::text AS name,
       pg_relation_size(c.oid) / current_setting('block_size')::bigint AS blocks,
       pg_total_relation_size(c.oid) AS bytes,
       CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint ELSE s.n_live_tup END AS rows
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relkind = 'r' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relname::text = ANY($1::text[])
ORDER BY c.relname
