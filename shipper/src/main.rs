//! dify-shipper: the execution records of a self-hosted Dify, as documents.

use std::process::ExitCode;

fn main() -> ExitCode {
    dify_shipper::cli::main()
}
