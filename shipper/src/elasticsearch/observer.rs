//! What a sink tells to whoever counts.

use std::fmt::Debug;
use std::time::Duration;

use crate::document::Kind;

/// Hears of what happens. Words are few and fixed: they may be labels.
pub trait Observer: Debug + Send + Sync {
    /// A bulk request of so many bytes (as sent) was answered with a status, or `unreachable`, `timeout`.
    fn bulk(&self, code: &str, duration: Duration, bytes: u64) {
        let _ = (code, duration, bytes);
    }

    /// So many documents have to be sent again.
    fn retried(&self, reason: &'static str, documents: u64) {
        let _ = (reason, documents);
    }

    /// Documents were rejected for good.
    fn rejected(&self, kind: Kind, reason: &str, documents: u64) {
        let _ = (kind, reason, documents);
    }

    /// Documents are older than the sink keeps.
    fn expired(&self, kind: Kind, documents: u64) {
        let _ = (kind, documents);
    }
}

/// Nobody counts.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {}
