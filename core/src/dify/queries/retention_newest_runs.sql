-- retention_newest_runs: (tenant_id, app_id), or (created_at, id) backwards; once per app and run of the janitor
SELECT r.created_at FROM workflow_runs r
WHERE r.tenant_id = $1 AND r.app_id = $2 AND (cardinality($3::text[]) = 0 OR r.status::text = ANY($3::text[]))
ORDER BY r.created_at DESC OFFSET $4 LIMIT 1
