-- retention_server: settings and the sessions' memory only
-- What decides how a deletion is digested. What holds back vacuum is left out where the role may not see it.
SELECT current_user::text AS role, current_database()::text AS database, pg_is_in_recovery() AS standby,
       current_setting('default_transaction_read_only')::bool AS read_only,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       clock_timestamp() AT TIME ZONE 'UTC' AS now,
       current_setting('autovacuum')::bool AS autovacuum,
       current_setting('autovacuum_vacuum_scale_factor')::float8 AS scale_factor,
       current_setting('autovacuum_vacuum_threshold')::int8 AS threshold,
       pg_size_bytes(current_setting('max_wal_size')) AS max_wal_bytes,
       EXTRACT(EPOCH FROM current_setting('checkpoint_timeout')::interval)::float8 AS checkpoint_seconds,
       (SELECT EXTRACT(EPOCH FROM max(clock_timestamp() - a.xact_start))::float8 FROM pg_catalog.pg_stat_activity a
        WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()) AS oldest_snapshot_seconds,
       (SELECT EXTRACT(EPOCH FROM max(clock_timestamp() - p.prepared))::float8 FROM pg_catalog.pg_prepared_xacts p)
         AS oldest_prepared_seconds,
       (SELECT string_agg(s.slot_name::text, ', ' ORDER BY s.slot_name) FROM pg_catalog.pg_replication_slots s WHERE NOT s.active)
         AS idle_slots
