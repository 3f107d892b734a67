//! promtool.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::children::{find_program, run};

/// What `promtool check metrics` finds to say about an answer in the classic text format; nothing is well.
pub fn check_metrics(text: &str) -> anyhow::Result<Vec<String>> {
    let mut child = Command::new(find_program("promtool", "prometheus")?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start promtool")?;
    let mut input = child.stdin.take().context("promtool has no stdin")?;
    let text = text.to_owned();
    // A thread, because promtool may write before it has read everything.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?.context("promtool did not read its input")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let findings: Vec<String> = said.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    if !output.status.success() && findings.is_empty() {
        bail!("promtool check metrics ended with {}", output.status);
    }
    Ok(findings)
}

/// Turns an OpenMetrics file with timestamps into blocks in a Prometheus data folder.
pub fn create_blocks(file: &Path, data: &Path) -> anyhow::Result<()> {
    let promtool = find_program("promtool", "prometheus")?;
    run(Command::new(promtool).args(["tsdb", "create-blocks-from", "openmetrics", "--quiet"]).arg(file).arg(data)).map(drop)
}
