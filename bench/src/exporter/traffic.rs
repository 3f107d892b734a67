//! Live traffic beside the measurements, by threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::anyhow;
use dify_observe_tests::simulator::live::{self, Live};
use dify_observe_tests::simulator::{Options, Simulation, Target};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::oneshot;

/// A simulator that writes as time passes, until it is stopped.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<u64>>>,
    behind: Arc<AtomicU64>,
}

impl Traffic {
    /// Begins to write `rate` requests a second.
    pub(crate) fn start(url: &str, seed: u64, options: &Options, rate: f64) -> Self {
        let options = Options { start: live::now() + 500_000, arrivals: u64::MAX, rate, ..options.clone() };
        let (stop, stopped) = oneshot::channel();
        let behind = Arc::new(AtomicU64::new(0));
        let (url, shown) = (url.to_owned(), Arc::clone(&behind));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(write(url, seed, options, stopped, &shown))
        });
        Self { stop: Some(stop), thread: Some(thread), behind }
    }

    /// How many seconds the writing is behind its time.
    pub(crate) fn behind(&self) -> f64 {
        self.behind.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Ends the writing.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written.map(drop),
            Some(Err(_)) => Err(anyhow!("the simulator panicked")),
            None => Ok(()),
        }
    }
}

async fn write(url: String, seed: u64, options: Options, stopped: oneshot::Receiver<()>, behind: &AtomicU64) -> anyhow::Result<u64> {
    let simulation = Simulation::new(seed, options);
    let mut connection = PgConnection::connect(&url).await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(seed) {
        target.apply(&mut connection, &write).await?;
    }
    connection.close().await?;
    let stopped = async {
        // Dropping the sender is the signal.
        let _ = stopped.await;
    };
    let live = Live { url, connections: 8 };
    live::run(&live, simulation, stopped, |_, late| behind.store(late.as_millis() as u64, Ordering::Relaxed)).await
}
