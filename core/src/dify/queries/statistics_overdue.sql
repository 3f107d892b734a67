-- statistics_overdue: a row for each schedule that people made
-- $1 now, in UTC like next_run_at
SELECT app_id, GREATEST(EXTRACT(EPOCH FROM $1::timestamp - min(next_run_at)), 0)::float8 AS seconds
FROM workflow_schedule_plans
WHERE next_run_at IS NOT NULL
GROUP BY 1 LIMIT 10000
