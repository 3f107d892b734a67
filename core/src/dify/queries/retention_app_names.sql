-- retention_app_names: which of these names an app bears; the whole table, which people fill by hand
SELECT DISTINCT a.name::text AS name FROM apps a WHERE a.name::text = ANY($1::text[])
