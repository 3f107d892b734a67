-- console_runs: (tenant_id, app_id, triggered_from) or (created_at, id)
-- Dify's page knows only app-run: runs of webhooks, schedules and plugins are not on it, running ones are.
SELECT ((r.created_at AT TIME ZONE 'UTC') AT TIME ZONE $2::text)::date AS day,
       count(*) AS runs, count(DISTINCT r.created_by) AS users, sum(r.total_tokens)::text AS tokens
FROM workflow_runs r
WHERE r.tenant_id = $5 AND r.app_id = $1 AND r.triggered_from = 'app-run'
  AND r.created_at >= COALESCE(($3::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', '-infinity'::timestamp)
  AND r.created_at < COALESCE(($4::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', 'infinity'::timestamp)
GROUP BY 1
