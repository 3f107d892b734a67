-- retention_dependents: the catalogue's own indexes
-- $1 the tables that rows are deleted from. Foreign keys of other tables that point at them, and triggers on them that somebody made.
SELECT 'foreign_key' AS kind, f.conname::text AS name, c.relname::text AS on_table, r.relname::text AS to_table,
       f.confdeltype::text AS on_delete, pg_relation_size(c.oid) > 0 AS filled
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
JOIN pg_catalog.pg_class r ON r.oid = f.confrelid
WHERE f.contype = 'f' AND pg_catalog.pg_table_is_visible(r.oid) AND r.relname::text = ANY($1)
  AND NOT (pg_catalog.pg_table_is_visible(c.oid) AND c.relname::text = ANY($1))
UNION ALL
SELECT 'trigger', t.tgname::text, c.relname::text, NULL, NULL, NULL
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
-- Bit 3 is DELETE.
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 8 = 8 AND pg_catalog.pg_table_is_visible(c.oid)
  AND c.relname::text = ANY($1)
ORDER BY 1, 3, 2
LIMIT 50
