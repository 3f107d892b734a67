//! `serve`: the exporter itself.

use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::Exit;

/// Runs the command.
pub async fn run(_context: Context) -> anyhow::Result<Exit> {
    anyhow::bail!("this command is not part of this build")
}
