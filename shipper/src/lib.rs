//! The commands of dify-shipper as a library, for the binary and for tests.

pub mod backfill;
mod board;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod dead_letters;
pub mod document;
pub mod documents;
pub mod elasticsearch;
pub mod export;
mod filter;
pub mod metrics;
pub mod ndjson;
mod pipeline;
mod progress;
pub mod replay;
pub mod run;
pub mod search;
pub mod setup;
pub mod sink;
mod sinks;
pub mod stdout;
