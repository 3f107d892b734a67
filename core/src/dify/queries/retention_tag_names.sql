-- retention_tag_names: which of these names a tag of an app bears; the whole table, which people fill by hand
SELECT DISTINCT t.name::text AS name FROM tags t WHERE t.type::text = 'app' AND t.name::text = ANY($1::text[])
