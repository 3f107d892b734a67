//! The one configuration of all binaries.

pub mod follow;
mod labels;

pub use labels::*;
