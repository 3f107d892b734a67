//! The integration tests: one binary, so that they share a PostgreSQL cluster and are linked once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by a panic, and says which seed or figures it had"
)]

mod backfill;
mod bad_input;
mod collectors;
mod console;
mod cost;
mod docs;
mod exact;
mod exactness;
mod exporter;
mod follower;
mod formats;
mod histories;
mod kills;
mod lifecycle;
mod memory;
mod processes;
mod prometheus;
mod real_rows;
mod recording;
mod replay;
mod role;
mod role_in_use;
mod seam;
mod servers;
mod versions;
mod watch;
