//! `check`: what is available and what is missing.

use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::Exit;

use crate::cli::CheckArgs;

/// Runs the command.
pub async fn run(_context: Context, _args: CheckArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("this command is not part of this build")
}
