-- console_messages: (app_id, created_at)
-- $1 app, $2 time zone, $3 and $4 local start and end, $5 whether every figure leaves the debugger out, $6 whether the
-- number of conversations does
SELECT ((m.created_at AT TIME ZONE 'UTC') AT TIME ZONE $2::text)::date AS day,
       count(*) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool) AS messages,
       count(*) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $6::bool) AS conversation_messages,
       count(DISTINCT m.conversation_id) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $6::bool) AS conversations,
       count(DISTINCT m.from_end_user_id) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool) AS end_users,
       (sum(m.message_tokens) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool))::bigint
         + (sum(m.answer_tokens) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool))::bigint AS tokens,
       (sum(m.answer_tokens) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool))::bigint AS answer_tokens,
       (sum(m.total_price) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool))::text AS price,
       sum(m.provider_response_latency) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool) AS latency_sum,
       avg(m.provider_response_latency) FILTER (WHERE m.invoke_from <> 'debugger' OR NOT $5::bool) AS latency_average
FROM messages m
WHERE m.app_id = $1
  AND m.created_at >= COALESCE(($3::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', '-infinity'::timestamp)
  AND m.created_at < COALESCE(($4::timestamp AT TIME ZONE $2::text) AT TIME ZONE 'UTC', 'infinity'::timestamp)
GROUP BY 1
