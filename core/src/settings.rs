//! The one configuration of all binaries.

pub mod follow;
