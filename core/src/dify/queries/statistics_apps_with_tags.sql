-- statistics_apps_with_tags: the whole tables, which people fill by hand
SELECT a.id, a.tenant_id, a.name::text AS name, a.mode::text AS mode, a.status::text AS status, COALESCE(t.tags, '') AS tags
FROM apps a
LEFT JOIN (
  SELECT b.target_id, string_agg(t.name::text, ',' ORDER BY t.name) AS tags
  FROM tag_bindings b JOIN tags t ON t.id = b.tag_id AND t.type = 'app'
  GROUP BY b.target_id
) t ON t.target_id = a.id
ORDER BY a.id LIMIT 20000
