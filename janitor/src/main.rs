//! dify-janitor: archives, verifies, then prunes old rows of a self-hosted Dify.

use std::process::ExitCode;

fn main() -> ExitCode {
    dify_janitor::cli::main()
}
