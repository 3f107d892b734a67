//! `make demo`: see `dify_observe_tests::demo`. This file is about ending it.

use std::process::ExitCode;

use dify_observe_tests::demo::{self, Options, Progress};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As shells say it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let once = std::env::var("ONCE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    let database_url = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let progress = Progress::default();
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(interrupt), Ok(terminate), Ok(hangup)] = signals else { anyhow::bail!("signals cannot be waited for") };
    // A task of its own, so that a signal is noticed while it waits for a program.
    let mut demo = tokio::spawn(demo::run(Options { once, database_url }, progress));
    tokio::select! {
        // A terminal sends Ctrl-C to the children as well; their end is not what went wrong.
        biased;
        () = any([interrupt, terminate, hangup]) => {
            progress.say("\nstopping and removing everything");
            demo.abort();
            // It is gone, and all that it started, when this returns.
            let _ = demo.await;
            Ok(if once { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
        }
        result = &mut demo => match result? {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                progress.say(&format!("\ndemo: FAILED: {error:#}"));
                Ok(ExitCode::FAILURE)
            }
        },
    }
}

async fn any([mut one, mut two, mut three]: [Signal; 3]) {
    tokio::select! {
        _ = one.recv() => {}
        _ = two.recv() => {}
        _ = three.recv() => {}
    }
}
