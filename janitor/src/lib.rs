//! The commands of dify-janitor as a library, for the binary and for tests.

pub mod advise;
pub mod archive;
pub mod budget;
pub mod check;
pub mod cli;
pub mod engine;
pub mod guard;
pub mod lock;
pub mod metrics;
pub mod pace;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod push;
pub mod put_back;
pub mod refuse;
pub mod report;
pub mod restore;
pub mod run;
pub mod verify;
