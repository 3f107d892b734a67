-- schema_indexes: the catalogue's own indexes
SELECT t.relname::text AS table_name, i.relname::text AS index_name, x.indpred IS NOT NULL AS partial, x.indisprimary AS is_primary,
       ARRAY(SELECT COALESCE(a.attname::text, '')
             FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum AND k.attnum > 0
             WHERE k.position <= x.indnkeyatts ORDER BY k.position) AS columns
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
WHERE x.indisvalid AND x.indisready AND t.relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(t.oid)
  AND t.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
