-- lookups_turns: message_conversation_id_idx
SELECT t.id, t.number, t.previous_id
FROM unnest($1::uuid[]) AS k(conversation_id)
CROSS JOIN LATERAL (
  SELECT c.id, row_number() OVER w AS number, lag(c.id) OVER w AS previous_id, count(*) OVER () AS size
  FROM (SELECT e.id, e.created_at FROM messages e WHERE e.conversation_id = k.conversation_id LIMIT 1001) c
  WINDOW w AS (ORDER BY c.created_at, c.id)
) t
WHERE t.size <= 1000 AND t.id = ANY($2)
