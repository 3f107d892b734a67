//! dify-exporter: Prometheus metrics from the execution records of a self-hosted Dify.

use std::process::ExitCode;

fn main() -> ExitCode {
    dify_exporter::cli::main()
}
