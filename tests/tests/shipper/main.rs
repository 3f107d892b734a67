//! The integration tests of dify-shipper: one binary, so that they share a PostgreSQL cluster and a search engine, and are linked once.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by a panic, and says which seed or figures it had"
)]

mod backfill;
mod bad_input;
mod by_hand;
mod check;
mod corrections;
mod documents;
mod engine;
mod export;
mod faults;
mod kills;
mod lookups;
mod manners;
mod ndjson;
mod questions;
mod records;
mod redaction;
mod role;
mod run;
mod scene;
mod search;
mod setup;
