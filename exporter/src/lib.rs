//! The exporter: metric families, their durable state, and the answers to Prometheus.

pub mod backfill;
pub mod births;
pub mod cap;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod collectors;
pub mod console;
pub mod describe;
pub mod encode;
pub mod engine;
pub mod record;
pub mod serve;
pub mod state;
pub mod store;
