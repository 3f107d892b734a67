//! The database that Dify writes to.

use crate::store::FamilyDef;

families! {
    TABLE_SIZE = gauge("dify_table_size_bytes", "Size of Dify's tables, part is heap, indexes or toast")
        .labels(&["table", "part"]).unit("bytes").global();
    TABLE_ROWS = gauge("dify_table_rows_estimate", "Rows of Dify's tables as the planner estimates them")
        .labels(&["table"]).global();
    TABLE_DEAD_ROWS = gauge("dify_table_dead_rows_estimate", "Dead rows of Dify's tables as the statistics collector estimates them")
        .labels(&["table"]).global();
    TABLE_OLDEST_ROW = gauge("dify_table_oldest_row_timestamp_seconds", "Time of the oldest row, where an index finds it")
        .labels(&["table"]).unit("seconds").global();
    DATABASE_CONNECTIONS = gauge("dify_database_connections", "Connections to Dify's database by state")
        .labels(&["state"]).global();
    DATABASE_CONNECTIONS_MAX = gauge("dify_database_connections_max", "Connections that the server allows")
        .global();
    DATABASE_LONGEST_TRANSACTION = gauge("dify_database_longest_transaction_seconds", "Age of the oldest open transaction, our own left out")
        .unit("seconds").global();
    DATABASE_OLDEST_IDLE_IN_TRANSACTION = gauge("dify_database_oldest_idle_in_transaction_seconds", "Longest time that a connection has been idle inside a transaction, our own left out")
        .unit("seconds").global();
    DATABASE_SIZE = gauge("dify_database_size_bytes", "Size of Dify's database")
        .unit("bytes").global();
    DATABASE_ACTIVITY = counter("dify_database_activity", "The server's own counters: blocks_read, blocks_hit, rows_written, deadlocks, commits, rollbacks")
        .labels(&["kind"]).global();
    SCHEMA = info("dify_schema", "The migration that Dify's schema is at and how runs and their nodes are found in it")
        .labels(&["migration", "runs_access", "nodes_access", "server_version"]).global();
    APP = info("dify_app", "Apps: tenant, mode, status and tags behind an app's id")
        .labels(&["tenant_id", "mode", "status", "tags"]).named_app();
}
