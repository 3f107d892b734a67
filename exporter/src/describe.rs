//! `describe`: every metric with its type, labels and meaning.

use dify_observe_core::exit::Exit;

use crate::cli::DescribeArgs;

/// Runs the command.
pub fn run(_args: &DescribeArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("this command is not part of this build")
}
