-- retention_clock: touches nothing
SELECT clock_timestamp() AT TIME ZONE 'UTC' AS now, current_database()::text AS database
