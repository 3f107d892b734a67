-- server_facts: no table
SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now,
       pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC' END AS replayed,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn)::bigint AS lsn,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
       (SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), oid, datname) FROM pg_database WHERE datname = current_database()) AS identity
