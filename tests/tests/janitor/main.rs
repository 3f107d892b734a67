//! The integration tests of dify-janitor: one binary, so that they share a PostgreSQL cluster and are linked once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by a panic, and says which seed or figures it had"
)]

mod advise;
mod archived;
mod bad_input;
mod check;
mod cronjob;
mod kills;
mod manners;
mod memory;
mod plan;
mod population;
mod push;
mod races;
mod reader;
mod roles;
mod scene;
mod setup;
mod waiting;
mod weather;
mod whole;
mod writer;
