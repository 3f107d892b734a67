-- check_server: no table
SELECT current_setting('server_version')::text AS version, current_database()::text AS database, current_user::text AS role,
       r.rolsuper AS superuser, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       pg_is_in_recovery() AS standby,
       CASE WHEN pg_is_in_recovery()
            THEN EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END AS replay_age,
       clock_timestamp() AT TIME ZONE 'UTC' AS now
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
