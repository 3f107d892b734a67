-- server_facts: no table
SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now,
       pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC' END AS replayed,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint AS lsn,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
       (SELECT system_identifier FROM pg_control_system())::text || '/' || current_database()::text AS identity
