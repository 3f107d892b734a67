//! What the tests, the demo and the benchmarks stand on: Dify's schemas and real rows as data, private PostgreSQL servers with a
//! database per test, PgBouncer, Prometheus, our own binaries as processes, and a simulator of Dify's traffic.
//!
//! This library knows nothing of the exporter and its siblings: what it says about a database is plain SQL and plain rows, so
//! that it can be held against what they say.

pub mod children;
pub mod demo;
pub mod fixtures;
pub mod pgbouncer;
pub mod planted;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod python;
pub mod retention;
pub mod s3;
pub mod schema;
pub mod search_engine;
pub mod seed;
pub mod truth;

pub use schema::Schema;
pub use seed::seed;
pub mod simulator;
