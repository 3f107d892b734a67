//! The integration tests: one binary, so that they share a PostgreSQL cluster and are linked once.

mod exactness;
mod follower;
mod processes;
mod prometheus;
mod real_rows;
mod servers;
mod versions;
