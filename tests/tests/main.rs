//! The integration tests: one binary, so that they share a PostgreSQL cluster and are linked once.

mod backfill;
mod collectors;
mod console;
mod docs;
mod exact;
mod exactness;
mod follower;
mod kills;
mod processes;
mod prometheus;
mod real_rows;
mod recording;
mod role;
mod servers;
mod versions;
