//! A simulator that writes to a database as Dify does.
//!
//! [`Simulation`] is pure: from a seed and [`Options`] it yields transactions ([`Write`]) in commit order, which tests apply one
//! at a time with [`Target::apply`], as fast or as slowly as they like. [`Reference`] takes in the same transactions and knows
//! every row that was ever written. [`bulk`] loads finished history through COPY, [`live`] writes in real time.

pub mod apply;
pub mod bulk;
mod chat;
mod chatflow;
#[cfg(test)]
mod checks;
mod deletion;
pub mod dice;
mod document;
mod engine;
mod errors;
pub mod events;
mod feedback;
mod graph;
pub mod json;
pub mod live;
mod living;
pub mod message;
pub mod model;
mod node_rows;
mod odd;
pub mod options;
mod pause;
pub mod plan;
pub mod profile;
pub mod reference;
mod run;
mod shapes;
mod story;
mod texts;
mod trace;
mod trigger;
pub mod value;
pub mod world;

pub use apply::Target;
pub use events::Simulation;
pub use options::{Cleaner, CleanerKind, Deletions, Faults, Options};
pub use profile::{Profile, Version};
pub use reference::{Entry, Reference};
pub use value::{Micros, Row, Statement, Value, Write};
