//! How long a database that went away is waited for.

use std::time::Duration;

use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::shutdown::Shutdown;

/// Waits before each further attempt, twice as long each time: half a minute together. A failover takes less, an outage takes longer.
const WAITS: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// Attempts at one thing.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waited: usize,
}

impl Patience {
    /// Waits, and says whether to try again after this error: not when trying again is of no use, or patience is at an end.
    pub(super) async fn again(&mut self, error: &DatabaseError, shutdown: &Shutdown) -> bool {
        if !matches!(error, DatabaseError::Unreachable(_) | DatabaseError::Timeout) {
            return false;
        }
        let Some(wait) = WAITS.get(self.waited) else { return false };
        self.waited += 1;
        tracing::warn!(kind = error.kind(), reason = %error, "trying again in {:?}", wait);
        shutdown.sleep(*wait).await
    }
}
