-- retention_indexes: the catalogue's own indexes
-- $1 the tables. Indexes that somebody made on our advice, and unfinished ones of anybody.
SELECT i.relname::text AS name, c.relname::text AS on_table, x.indisvalid AS valid, pg_relation_size(i.oid) AS bytes,
       (SELECT array_agg(COALESCE(a.attname::text, '') ORDER BY k.position)
        FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(number, position)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number AND k.number > 0) AS columns,
       -- Vacuum and analyze take the same lock; the process is shown to everybody, what it works on is not.
       EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = l.pid AND p.datid = l.database
               WHERE l.relation = c.oid AND l.granted) AS busy
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
WHERE c.relname::text = ANY($1) AND pg_catalog.pg_table_is_visible(c.oid) AND (NOT x.indisvalid OR i.relname LIKE 'dify\_observe\_%')
ORDER BY c.relname, i.relname
LIMIT 100
