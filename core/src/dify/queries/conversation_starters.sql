-- conversation_starters: message_pkey, message_conversation_id_idx
SELECT m.id FROM messages m
WHERE m.id = ANY($1)
  AND NOT EXISTS (SELECT 1 FROM messages e WHERE e.conversation_id = m.conversation_id AND (e.created_at, e.id) < (m.created_at, m.id))
