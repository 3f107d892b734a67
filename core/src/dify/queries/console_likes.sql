-- console_likes: messages by (app_id, created_at), feedbacks by (message_id, from_source)
-- A message with two likes counts twice in both terms, as in Dify.
SELECT ((m.created_at AT TIME ZONE 'UTC') AT TIME ZONE $2::text)::date AS day,
       count(m.id) AS messages, count(f.id) AS likes
FROM messages m
LEFT JOIN message_feedbacks f ON f.message_id = m.id AND f.rating = 'like'
WHERE m.app_id = $1
  AND m.created_at >= COALESCE(($3::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', '-infinity'::timestamp)
  AND m.created_at < COALESCE(($4::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', 'infinity'::timestamp)
  AND (m.invoke_from <> 'debugger' OR NOT $5::bool)
GROUP BY 1
