-- pressure_vacuums: no table
SELECT DISTINCT c.relname::text AS name
FROM pg_catalog.pg_stat_progress_vacuum v
JOIN pg_catalog.pg_class c ON c.oid = v.relid OR c.reltoastrelid = v.relid
WHERE v.datname = current_database()
ORDER BY 1
