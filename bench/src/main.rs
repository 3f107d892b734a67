//! `make bench`: side-by-side measurements of Dify Observe and what its users would use instead, on servers of their own.
//!
//! Benchmarks measure and report; they pass or fail nothing.

mod data;
mod exporter;
mod janitor;
mod machine;
mod progress;
mod shipper;
mod statistics;

use clap::{Parser, Subcommand};

/// Measure Dify Observe beside what its users would use instead
#[derive(Debug, Parser)]
#[command(name = "dify-observe-bench", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// dify-exporter beside prometheus-sql-exporter and prometheus-postgres-exporter, on one database with live traffic
    Exporter(exporter::Options),
    /// dify-janitor beside Dify's own clean-up and other ways to delete, on one database with live traffic
    Janitor(janitor::Options),
    /// dify-shipper beside COPY and a script with elasticsearch-py, on the same rows
    Shipper(shipper::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { bench } = Cli::parse();
    let work = async {
        match bench {
            Bench::Exporter(options) => exporter::run(&options).await,
            Bench::Janitor(options) => janitor::run(&options).await,
            Bench::Shipper(options) => shipper::run(&options).await,
        }
    };
    // Ctrl-C drops what was started: servers, processes and folders go with their values.
    tokio::select! {
        result = work => result,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            progress::say("interrupted: stopping and removing everything");
            Ok(())
        }
    }
}
