-- check_named_runs: the messages' index on created_at, workflow_run_pkey
SELECT count(*) AS named, count(r.id) AS found
FROM (
  SELECT workflow_run_id FROM messages
  WHERE created_at >= $1 AND created_at < $2 AND workflow_run_id IS NOT NULL
  ORDER BY created_at DESC LIMIT 200
) m
LEFT JOIN workflow_runs r ON r.id = m.workflow_run_id
