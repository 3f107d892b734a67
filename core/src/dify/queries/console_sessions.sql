-- console_sessions: conversations by (app_id, …), messages by (conversation_id)
-- Day and window are those of the conversation; every message of it counts, whenever it was sent.
SELECT s.day, count(*) AS conversations, sum(s.messages)::bigint AS messages
FROM (
  SELECT ((c.created_at AT TIME ZONE 'UTC') AT TIME ZONE $2::text)::date AS day, c.id, count(m.id) AS messages
  FROM conversations c
  JOIN messages m ON m.conversation_id = c.id
  WHERE c.app_id = $1
    AND c.created_at >= COALESCE(($3::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', '-infinity'::timestamp)
    AND c.created_at < COALESCE(($4::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', 'infinity'::timestamp)
    AND (m.invoke_from <> 'debugger' OR NOT $5::bool)
  GROUP BY 1, 2
) s
GROUP BY 1
