//! `backfill`: the past as OpenMetrics.

use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::Exit;

use crate::cli::BackfillArgs;

/// Runs the command.
pub async fn run(_context: Context, _args: BackfillArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("this command is not part of this build")
}
