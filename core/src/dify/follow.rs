//! The follower: the one way to read what is new in Dify's tables. See `docs/architecture.md`.

mod event;

pub use event::{Closed, Detail, Event, FeedbackAction, Kind};
