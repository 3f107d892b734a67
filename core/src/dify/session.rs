//! The only door to the database: bounded, read-only transactions that survive pgbouncer.
