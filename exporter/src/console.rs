//! `console`: what Dify's own Monitoring page shows.

use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::Exit;

use crate::cli::ConsoleArgs;

/// Runs the command.
pub async fn run(_context: Context, _args: ConsoleArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("this command is not part of this build")
}
