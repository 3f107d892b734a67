//! The commands of dify-janitor as a library, for the binary and for tests.

pub mod cli;
