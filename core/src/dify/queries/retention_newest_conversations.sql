-- retention_newest_conversations: (app_id); once per app and run of the janitor
SELECT c.created_at FROM conversations c
WHERE c.app_id = $1
ORDER BY c.created_at DESC OFFSET $2 LIMIT 1
