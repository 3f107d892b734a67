-- console_apps: the whole table apps, which people fill by hand
SELECT id, tenant_id, name::text AS name, mode::text AS mode FROM apps ORDER BY name, id LIMIT 10000
