//! Real PostgreSQL servers for tests: one private cluster for a test binary, a database for each test, and clusters of one's own
//! for outages and standbys.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use dify_observe_tests::{Schema, postgres::Cluster};
//! let database = Cluster::shared()?.database(&Schema::load("1.12.1")?).await?;
//! let pool = database.pool().await?;
//! # Ok(()) }
//! ```

mod cluster;
mod database;
mod programs;
mod server;
mod standby;
mod statements;

pub use cluster::Cluster;
pub use database::TestDatabase;
pub use server::{Server, StopMode};
pub use standby::Standby;
pub use statements::StatementUse;
