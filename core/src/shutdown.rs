//! Two-stage shutdown: the first signal asks to finish the work in hand, the second one or the deadline ends the process.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody asked to end.
    Running,
    /// Take no new work, finish the step in hand, write state, answer what was asked.
    Finishing,
    /// Out of time.
    Now,
}

/// Tells everybody who works that the end was asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Stage>);

/// Asks for the end; the other half of [`Shutdown`]. Dropping it asks for nothing.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Stage>);

impl Trigger {
    /// Moves to `stage`, never back.
    pub fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let moves = stage > *current;
            *current = stage.max(*current);
            moves
        });
    }
}

impl Shutdown {
    /// A shutdown that code asks for.
    pub fn manual() -> (Trigger, Shutdown) {
        let (sender, receiver) = watch::channel(Stage::Running);
        (Trigger(sender), Shutdown(receiver))
    }

    /// A shutdown that never comes, for commands that a signal may simply end.
    pub fn never() -> Shutdown {
        Shutdown::manual().1
    }

    /// A shutdown that SIGTERM and SIGINT ask for: the first to finish within `grace`, the second at once.
    ///
    /// Must be called within a runtime.
    pub fn on_signals(grace: Duration) -> io::Result<Shutdown> {
        let (trigger, shutdown) = Shutdown::manual();
        let mut signals = Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        tokio::spawn(async move {
            let name = signals.next().await;
            tracing::info!(signal = name, grace_seconds = grace.as_secs(), "finishing the work in hand");
            trigger.advance(Stage::Finishing);
            tokio::select! {
                name = signals.next() => tracing::warn!(signal = name, "stopping at once"),
                () = tokio::time::sleep(grace) => tracing::warn!("stopping: the work in hand did not finish in time"),
            }
            trigger.advance(Stage::Now);
        });
        Ok(shutdown)
    }

    /// Whether no new work should begin.
    pub fn is_finishing(&self) -> bool {
        *self.0.borrow() >= Stage::Finishing
    }

    /// Returns when no new work should begin.
    pub async fn finishing(&self) {
        self.reached(Stage::Finishing).await;
    }

    /// Returns when there is no time left.
    pub async fn now(&self) {
        self.reached(Stage::Now).await;
    }

    /// Sleeps, but not beyond the wish to finish. True when the whole time has passed.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = self.finishing() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }

    async fn reached(&self, stage: Stage) {
        let mut receiver = self.0.clone();
        // Without a sender nobody can ask any more.
        if receiver.wait_for(|current| *current >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_come_in_order_and_never_go_back() {
        let (trigger, shutdown) = Shutdown::manual();
        assert!(!shutdown.is_finishing());
        trigger.advance(Stage::Finishing);
        shutdown.finishing().await;
        assert!(shutdown.is_finishing());
        trigger.advance(Stage::Now);
        trigger.advance(Stage::Finishing);
        shutdown.now().await;
    }

    #[tokio::test]
    async fn a_sleep_ends_when_the_end_is_asked_for() {
        let (trigger, shutdown) = Shutdown::manual();
        assert!(shutdown.sleep(Duration::ZERO).await);
        trigger.advance(Stage::Finishing);
        assert!(!shutdown.sleep(Duration::from_secs(3600)).await);
    }

    #[tokio::test]
    async fn without_a_trigger_the_end_never_comes() {
        assert!(Shutdown::never().sleep(Duration::ZERO).await);
    }
}
