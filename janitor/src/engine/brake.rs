//! Everything that makes a run wait or end. Asked between two transactions, and nowhere else: what has begun is finished.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::Utc;
use dify_observe_core::shutdown::Shutdown;

use super::halt::Halt;
use super::throttle::Throttle;
use crate::budget::{Budget, UsedUp};
use crate::lock::Lock;
use crate::report::{Report, Stop};

/// How often a reason to wait is looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// A database that is too busy for so long without a break, and no time budget to wait for: the run ends, so that somebody hears of it.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// See the module.
#[derive(Debug)]
pub(super) struct Brake {
    pub(super) shutdown: Shutdown,
    pub(super) budget: Budget,
    pub(super) pause_file: Option<PathBuf>,
    pub(super) lock: Lock,
    pub(super) throttle: Throttle,
}

impl Brake {
    /// Returns when work may go on; ends the run when it may not.
    pub(super) async fn check(&mut self, report: &mut Report) -> Result<(), Halt> {
        let began = Instant::now();
        loop {
            self.limits(report.rows_deleted())?;
            self.lock.keep().await?;
            let Some((stop, reason)) = self.reason_to_wait().await? else { return Ok(()) };
            if stop == Stop::Throttled && began.elapsed() > PATIENCE {
                return Err(Halt::failure(
                    stop,
                    anyhow::anyhow!("the database was too busy for {} minutes: {reason}", PATIENCE.as_secs() / 60),
                ));
            }
            self.wait(LOOK, reason, report).await;
        }
    }

    /// Rests after work, for as long as nobody asks for the end.
    pub(super) async fn rest(&self, duration: Duration) {
        if !duration.is_zero() {
            self.shutdown.sleep(duration).await;
        }
    }

    /// Waits, and counts it.
    pub(super) async fn wait(&self, duration: Duration, reason: &str, report: &mut Report) {
        let began = Instant::now();
        self.shutdown.sleep(duration).await;
        report.waited(reason, began.elapsed());
    }

    /// Rows that may still be deleted.
    pub(super) fn rows_left(&self, report: &Report) -> u64 {
        self.budget.rows_left(report.rows_deleted())
    }

    fn limits(&self, deleted: u64) -> Result<(), Halt> {
        if self.shutdown.is_finishing() {
            return Err(Halt::limit(Stop::Signal));
        }
        match self.budget.used_up(Instant::now(), Utc::now(), deleted) {
            None => Ok(()),
            Some(UsedUp::Time) => Err(Halt::limit(Stop::TimeBudget)),
            Some(UsedUp::Window) => Err(Halt::limit(Stop::Window)),
            Some(UsedUp::Rows) => Err(Halt::limit(Stop::MaxRows)),
        }
    }

    async fn reason_to_wait(&mut self) -> Result<Option<(Stop, &'static str)>, Halt> {
        if self.pause_file.as_ref().is_some_and(|path| path.exists()) {
            return Ok(Some((Stop::Paused, "pause_file")));
        }
        Ok(self.throttle.reason().await?.map(|reason| (Stop::Throttled, reason)))
    }
}
