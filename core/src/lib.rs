//! What the Dify Observe binaries share. The plumbing (everything but [`dify`]) does not know that Dify exists.

pub mod admin;
pub mod bootstrap;
pub mod clock;
pub mod content;
pub mod dify;
pub mod exit;
pub mod finding;
pub mod labels;
pub mod output;
pub mod redaction;
pub mod secret;
pub mod settings;
pub mod shutdown;
pub mod state_dir;
pub mod store;
pub mod telemetry;
