//! How much memory the janitor takes at its peak, whatever the size of a value or of the database.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_tests::{Schema, seed};

use crate::scene::Scene;

const MEBIBYTE: u64 = 1 << 20;

/// The limit for the binaries that are released; unoptimised ones are larger themselves. `DIFY_OBSERVE_BIN_DIR` names optimised ones.
fn allowed() -> u64 {
    let optimised = !cfg!(debug_assertions) || std::env::var_os("DIFY_OBSERVE_BIN_DIR").is_some();
    (if optimised { 128 } else { 128 + 32 }) * MEBIBYTE
}

/// A value of fifty megabytes that does not compress to nothing, in rows that are due, and several of ten beside it.
#[tokio::test]
async fn a_value_of_fifty_megabytes_goes_and_comes_back_in_bounded_memory() -> anyhow::Result<()> {
    let seed = seed("a_value_of_fifty_megabytes");
    for version in ["1.2.0", "1.12.1"] {
        let mut scene = Scene::new(&Schema::load(version)?, seed, 250).await?;
        let large = |table: &str, column: &str, size: u64, count: usize| {
            let keys: Vec<&str> = scene.expected.must[table].iter().take(count).map(String::as_str).collect();
            format!(
                "UPDATE {table} SET {column} = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, {}) n) WHERE id IN ('{}');",
                size * MEBIBYTE / 32,
                keys.join("', '")
            )
        };
        let script = [
            large("workflow_node_executions", "outputs", 50, 1),
            large("workflow_runs", "outputs", 10, 3),
            large("messages", "answer", 20, 1),
        ];
        scene.database.execute(&script.concat()).await?;
        scene.before = scene.now().await?;
        for arguments in [&["run", "--execute"][..], &["verify"], &["restore", "--from", "1970-01-02", "--execute"]] {
            let mut process = scene.setup.start(arguments)?;
            let mut peak = 0;
            while process.ended()?.is_none() {
                peak = process.peak_memory().unwrap_or(0).max(peak);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let finished = crate::setup::end(process).await?;
            ensure!(finished.code == Some(0), "{version} {arguments:?}: {:?}\n{}", finished.code, finished.stderr);
            eprintln!("{version} {arguments:?}: {} MiB", peak / MEBIBYTE);
            ensure!(peak > 0 && peak <= allowed(), "{version} {arguments:?}: {} MiB", peak / MEBIBYTE);
            if arguments[0] == "run" {
                scene.is_pruned().await?;
            }
        }
        scene.is_untouched().await?;
    }
    Ok(())
}
