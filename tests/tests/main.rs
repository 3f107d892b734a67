//! The integration tests: one binary, so that they share a PostgreSQL cluster and are linked once.

mod bad_input;
mod cost;
mod exactness;
mod exporter;
mod follower;
mod formats;
mod lifecycle;
mod memory;
mod processes;
mod prometheus;
mod real_rows;
mod recording;
mod role;
mod servers;
mod versions;
