//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::NaiveDate;
use chrono_tz::Tz;
use clap::{Args, Parser, Subcommand, ValueEnum};
use dify_observe_core::bootstrap::{self, CommonArgs, Life, Program};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::Start;

use crate::{backfill, check, console, describe, serve};

/// Name and version, as `--version`, the log, the landing page and `dify_exporter_build_info` show them.
pub const PROGRAM: Program = Program { name: "dify-exporter", version: env!("CARGO_PKG_VERSION") };

/// Without line breaks of its own: clap wraps it to the terminal.
const AFTER_HELP: &str = concat!(
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 64 wrong configuration; 69 database or port not to be had; 75 locked by another exporter; ",
    "78 not a Dify database that can be read.\n\n",
    "Configuration: a TOML file, then variables DIFY_OBSERVE__SECTION__KEY. The database is found in postgres.url, DATABASE_URL, or Dify's ",
    "own DB_HOST, DB_PORT, DB_USERNAME, DB_PASSWORD and DB_DATABASE. All keys: docs/configuration.md."
);

/// Prometheus metrics from the execution records of a self-hosted Dify
#[derive(Debug, Parser)]
#[command(name = PROGRAM.name, version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve /metrics, and follow what Dify writes
    ///
    /// Reads the database when Prometheus asks, keeps exact totals in state_dir, and answers /metrics, /livez, /readyz, /position and a
    /// landing page at exporter.listen (127.0.0.1:9810). SIGTERM finishes the work in hand.
    Serve,
    /// Look at configuration, database, rights and indexes, and say what is missing
    ///
    /// Connects, finds out which Dify this is, and lists which metrics are available, which grants or indexes are missing with the SQL
    /// that adds them, and what a scrape will cost. Writes nothing. Exit code 0 means that `serve` would work.
    Check(CheckArgs),
    /// Write the past as OpenMetrics, for promtool
    ///
    /// Writes exactly the records that `serve` does not count, at their own times, so that dashboards also show the months before the
    /// installation. Load the result with:
    ///
    ///   promtool tsdb create-blocks-from openmetrics FILE PROMETHEUS_DATA_DIR
    Backfill(BackfillArgs),
    /// Print what Dify's own Monitoring page shows, for one day
    ///
    /// Computed by Dify's own rules, to the unit, for comparing with the console, and with the metrics.
    Console(ConsoleArgs),
    /// List every metric with its type, labels and meaning
    ///
    /// Needs neither configuration nor database.
    Describe(DescribeArgs),
}

/// Options of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Options of `backfill`.
#[derive(Clone, Debug, Args)]
pub struct BackfillArgs {
    /// First record, by its own time: 2026-01-31 or 2026-01-31T08:00:00Z [default: the oldest there is]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Micros>,
    /// First record that is left out [default: where `serve` began to count, which its state in state_dir says]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<Micros>,
    /// Where `serve` will begin to count, when it has no state yet in state_dir; without either, backfill refuses
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub assume_start: Option<Micros>,
    /// Distance of two samples of a series while it moves: shorter shows more detail and makes a larger file
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub step: std::time::Duration,
    /// Where to write; "-" is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// A label for every series; give those of the live target, so that old and new are one series: --label job=dify --label
    /// instance=dify-exporter:9810
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
}

/// Options of `console`.
#[derive(Clone, Debug, Args)]
pub struct ConsoleArgs {
    /// The day, such as 2026-01-31 [default: today in the time zone]
    #[arg(long, value_name = "DATE")]
    pub date: Option<NaiveDate>,
    /// Where the day begins and ends: an IANA name such as Asia/Shanghai, the one of the Dify account [default:
    /// exporter.console_time_zone]
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<Tz>,
    /// Only this app, by id or name; may be repeated [default: all]
    #[arg(long = "app", value_name = "APP")]
    pub apps: Vec<String>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// Options of `describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = DescribeFormat::Markdown)]
    pub format: DescribeFormat,
}

/// Sentences or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// A table or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people
    Table,
    /// One JSON object
    Json,
}

/// Markdown or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DescribeFormat {
    /// For people; docs/metrics.md is made of it
    Markdown,
    /// One JSON array
    Json,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match command {
        Command::Serve => bootstrap::run(PROGRAM, Life::Service, &common, serve::run),
        Command::Check(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| check::run(context, args)),
        Command::Backfill(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| backfill::run(context, args)),
        Command::Console(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| console::run(context, args)),
        Command::Describe(args) => bootstrap::run_plain(PROGRAM, || describe::run(&args)),
    }
}

fn parse_time(text: &str) -> Result<Micros, String> {
    match Start::parse(text) {
        Some(Start::At(time)) => Ok(time),
        Some(Start::Now) => Ok(Micros::now()),
        _ => Err("write a date or a time with its offset, such as 2026-01-31 or 2026-01-31T08:00:00Z".to_owned()),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as job=dify")?;
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("{name:?} cannot be the name of a label: use letters, digits and underscores"));
    }
    if name.starts_with("__") {
        return Err(format!("{name:?} cannot be the name of a label: two leading underscores are Prometheus' own"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("dify-exporter").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_arguments_stand_before_or_after_the_command() {
        for arguments in [["--config", "x.toml", "serve"], ["serve", "--config", "x.toml"]] {
            assert_eq!(parse(&arguments).unwrap().common.config, Some(PathBuf::from("x.toml")));
        }
    }

    #[test]
    fn backfill_takes_times_and_labels() {
        let arguments = ["backfill", "--from", "1970-01-02", "--to", "1970-01-02T00:00:01Z", "--label", "job=dify", "--label", "a=b=c"];
        let Command::Backfill(args) = parse(&arguments).unwrap().command else { panic!("another command") };
        assert_eq!((args.from, args.to), (Some(Micros::from_secs(86_400)), Some(Micros::from_secs(86_401))));
        assert_eq!(args.labels, [("job", "dify"), ("a", "b=c")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(args.output, PathBuf::from("-"));
    }

    #[test]
    fn console_takes_a_day_and_a_zone() {
        let arguments = ["console", "--date", "2026-01-31", "--time-zone", "Asia/Shanghai", "--app", "Support", "--format", "json"];
        let Command::Console(args) = parse(&arguments).unwrap().command else { panic!("another command") };
        assert_eq!((args.time_zone, args.format), (Some(Tz::Asia__Shanghai), TableFormat::Json));
        assert_eq!(args.date, NaiveDate::from_ymd_opt(2026, 1, 31));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for arguments in [
            &["backfill", "--from", "beginning"][..],
            &["backfill", "--label", "job"],
            &["backfill", "--label", "9=x"],
            &["backfill", "--label", "__name__=x"],
            &["console", "--time-zone", "Mars"],
            &["console", "--date", "31.1.2026"],
            &["describe", "--format", "html"],
            &["dance"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }
}
