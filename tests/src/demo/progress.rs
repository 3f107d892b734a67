//! Says what is being done, and how long it took.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::process::Process;

/// Longest silence while another program works.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// Lines on standard output, with the seconds since the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Progress(Instant);

impl Default for Progress {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Progress {
    /// One more thing is being done.
    pub fn step(&self, text: &str) {
        self.say(&format!("[{:>5.1} s] {text}", self.0.elapsed().as_secs_f64()));
    }

    /// A line as it is.
    pub fn say(&self, text: &str) {
        // Nobody may be listening any more; that is no reason to stop.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Waits for the end of a program and repeats the last that it said, so that nothing takes long in silence.
    pub(super) async fn watch(&self, name: &str, process: &mut Process) -> anyhow::Result<()> {
        let mut spoke = Instant::now();
        loop {
            if let Some(status) = process.ended()? {
                ensure!(status.success(), "{name} ended with {status}: {}", process.stderr().trim());
                return Ok(());
            }
            if spoke.elapsed() >= HEARTBEAT {
                spoke = Instant::now();
                let said = process.stderr();
                self.step(&format!("  … {name}: {}", said.lines().last().map_or("working", str::trim)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
