-- statistics_apps: the whole table, which people fill by hand
SELECT a.id, a.tenant_id, a.name::text AS name, a.mode::text AS mode, a.status::text AS status, '' AS tags
FROM apps a ORDER BY a.id LIMIT 20000
