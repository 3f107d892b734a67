//! The integration tests: one binary, so that they share a PostgreSQL cluster and are linked once.

mod backfill;
mod collectors;
mod console;
mod exactness;
mod follower;
mod histories;
mod processes;
mod prometheus;
mod real_rows;
mod recording;
mod replay;
mod role;
mod seam;
mod servers;
mod versions;
mod watch;
