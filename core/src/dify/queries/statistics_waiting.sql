-- statistics_waiting: (status)
SELECT app_id, trigger_type::text AS trigger_type, status::text AS status, count(*) AS triggers
FROM (
  SELECT app_id, trigger_type, status FROM workflow_trigger_logs
  WHERE status IN ('pending', 'queued', 'retrying') LIMIT 100000
) w
GROUP BY 1, 2, 3
