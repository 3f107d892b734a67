-- retention_app_ids: the apps that bear one of these names
SELECT a.id FROM apps a WHERE a.name::text = ANY($1::text[]) ORDER BY a.id LIMIT 20000
