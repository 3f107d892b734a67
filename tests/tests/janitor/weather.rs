//! An archive that cannot be written, fills up, or gives back something else than was written; a pause; a time budget.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::process::{Finished, Process, command};
use dify_observe_tests::{Schema, seed};

use crate::archived::files;
use crate::scene::Scene;
use crate::setup::{end, sentence};

async fn scene(test: &str) -> anyhow::Result<Scene> {
    Scene::new(&Schema::load("1.12.1")?, seed(test), 250).await
}

#[tokio::test]
async fn without_an_archive_that_can_be_written_nothing_goes() -> anyhow::Result<()> {
    let mut scene = scene("without_an_archive").await?;
    let file = scene.setup.folder().join("a-file");
    std::fs::write(&file, "")?;
    scene.setup.set("JANITOR__ARCHIVE__URL", &format!("file://{}/archive", file.display()));
    let refused = scene.setup.run(&["run", "--execute"]).await?;
    ensure!(matches!(refused.code, Some(64 | 69)), "{refused:?}");
    ensure!(sentence(&refused)?.contains("archive"), "{refused:?}");
    scene.is_untouched().await
}

/// Runs the janitor where no file may become longer than `kibibytes`, as on a disk that is full.
async fn on_a_full_disk(scene: &Scene, kibibytes: u32) -> anyhow::Result<Finished> {
    let config = scene.setup.folder().join("dify-observe.toml").display().to_string();
    let inner = command("dify-janitor", &["run", "--execute", "--config", &config], &scene.setup.pairs())?;
    let mut outer = Command::new("bash");
    outer.args(["-c", r#"trap "" XFSZ; ulimit -f "$1"; shift; exec "$@""#, "bash"]).arg(kibibytes.to_string());
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    end(Process::start(&mut outer, tempfile::tempdir()?)?).await
}

#[tokio::test]
async fn a_full_disk_costs_nothing_but_time() -> anyhow::Result<()> {
    let scene = scene("a_full_disk").await?;
    // The log is a file here as well, and must not be what is too long.
    for kibibytes in [4, 16, 64] {
        let finished = on_a_full_disk(&scene, kibibytes).await?;
        eprintln!("files of up to {kibibytes} KiB: {:?}", finished.code);
        ensure!(matches!(finished.code, Some(0 | 1 | 69)), "{kibibytes}: {finished:?}");
        ensure!(kibibytes > 4 || finished.code != Some(0), "nothing was in the way: the test shows nothing");
        scene.nothing_is_lost().await?;
    }
    scene.setup.prune().await?;
    scene.is_pruned().await?;
    scene.comes_back().await
}

/// Changes one byte in every new object, as soon as it is there.
fn damage(archive: &Path, stop: &AtomicBool, damaged: &AtomicU32) {
    let mut seen = std::collections::BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        for path in files(archive, "parquet").unwrap_or_default() {
            if seen.insert(path.clone())
                && let Ok(mut bytes) = std::fs::read(&path)
                && !bytes.is_empty()
            {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
                if std::fs::write(&path, &bytes).is_ok() {
                    damaged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Every object is damaged between writing and reading back, or, where the test is too slow, after that: then `verify` says so. The
/// first damage that is seen ends the run before its rows are deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_damaged_is_not_deleted() -> anyhow::Result<()> {
    let scene = scene("what_comes_back_damaged").await?;
    let (stop, damaged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let thread = {
        let (archive, stop, damaged) = (scene.setup.archive(), stop.clone(), damaged.clone());
        std::thread::spawn(move || damage(&archive, &stop, &damaged))
    };
    let finished = scene.setup.run(&["run", "--execute"]).await?;
    stop.store(true, Ordering::Relaxed);
    ensure!(thread.join().is_ok() && damaged.load(Ordering::Relaxed) > 0, "nothing was damaged");
    ensure!(finished.code != Some(0), "{}\n{}", finished.stdout, finished.stderr);
    eprintln!("damaged {}: {:?} {}", damaged.load(Ordering::Relaxed), finished.code, sentence(&finished)?);
    let gone: usize = scene.gone().await?.values().map(|keys| keys.len()).sum();
    let verified = scene.setup.run(&["verify"]).await?;
    ensure!(gone == 0 || verified.code != Some(0), "{gone} rows are gone and damaged, and verify says nothing: {verified:?}");
    Ok(())
}

#[tokio::test]
async fn a_pause_file_and_a_time_budget_stop_a_run_between_two_transactions() -> anyhow::Result<()> {
    let mut scene = scene("a_pause_file").await?;
    let pause = scene.setup.folder().join("pause");
    std::fs::write(&pause, "")?;
    scene.setup.set("JANITOR__PAUSE_FILE", &pause.display().to_string());
    let paused = scene.setup.run(&["run", "--execute", "--time-budget", "2s"]).await?;
    ensure!(paused.code == Some(75), "{paused:?}");
    scene.is_untouched().await?;
    std::fs::remove_file(&pause)?;

    let slow = scene.setup.twin()?.with("JANITOR__PACE", "200");
    let finished = slow.succeed(&["run", "--execute", "--time-budget", "3s"]).await?;
    let gone: usize = scene.gone().await?.values().map(|keys| keys.len()).sum();
    ensure!(gone > 0 && gone < scene.expected.len(), "{gone} of {}\n{}", scene.expected.len(), finished.stdout);
    scene.nothing_is_lost().await?;
    scene.no_new_orphans().await?;

    // A signal ends it as well.
    let mut janitor = slow.start(&["run", "--execute"])?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    if janitor.ended()?.is_none() {
        janitor.terminate()?;
    }
    let stopped = end(janitor).await?;
    ensure!(matches!(stopped.code, Some(0 | 75)), "{stopped:?}");
    scene.nothing_is_lost().await?;
    scene.no_new_orphans().await?;
    scene.setup.prune().await?;
    scene.is_pruned().await
}
