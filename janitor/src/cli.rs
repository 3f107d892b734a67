//! The command line.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use dify_observe_core::bootstrap::{self, CommonArgs, Life, Program};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::Start;
use uuid::Uuid;

use crate::{advise, check, plan, restore, run, verify};

/// Name and version, as `--version`, the log and the archive's lists show them.
pub const PROGRAM: Program = Program { name: "dify-janitor", version: env!("CARGO_PKG_VERSION") };

/// Without line breaks of its own: clap wraps it to the terminal.
const AFTER_HELP: &str = concat!(
    "Exit codes: 0 done, or nothing was due, or the time was used up and something was done; 1 failed; 2 wrong usage; 64 wrong configuration; ",
    "69 database or archive not to be had; 75 nothing could be done now (locked, throttled, paused, outside of the window, or what must be ",
    "read first was not) and work is left; 78 not a Dify database that can be pruned.\n\n",
    "Configuration: a TOML file, then variables DIFY_OBSERVE__SECTION__KEY. The database is found in postgres.url, DATABASE_URL, or Dify's ",
    "own DB_HOST, DB_PORT, DB_USERNAME, DB_PASSWORD and DB_DATABASE. All keys: docs/configuration.md. How it works: docs/retention.md."
);

/// Archives, verifies, then prunes old workflow runs and conversations of a self-hosted Dify
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
    /// Say what would go, what stays and why, and how long it would take; begin here
    ///
    /// Reads only, and needs no more than SELECT. Looks at samples of large tables, so that it takes seconds whatever their size; figures
    /// that are estimates are marked with ~.
    Plan(PlanArgs),
    /// Archive, verify and delete what is past its age; without --execute, say what would be done
    ///
    /// Batch by batch: rows are written to the archive, read back and compared, and only then deleted, each in the version that was
    /// archived, in short transactions at janitor.pace. A run that is killed is continued by the next one.
    Run(RunArgs),
    /// Read the archive back and compare it with its own lists
    Verify(VerifyArgs),
    /// Put archived runs and conversations back, byte for byte; without --execute, say what would be put back
    ///
    /// Never overwrites a row that differs, unless --overwrite says so. What was put back is left alone for 30 days.
    Restore(RestoreArgs),
    /// Print statements that help: missing indexes, autovacuum settings, what would give disk space back
    ///
    /// Executes none of them.
    Advise(AdviseArgs),
    /// Look at configuration, database, rights, archive and guards, and say whether `run --execute` would work
    Check(CheckArgs),
}

/// Options of `plan`.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Count every run and conversation in paced passes instead of looking at samples; takes minutes on large tables
    #[arg(long)]
    pub exact: bool,
    /// Only this app, by id or name; may be repeated [default: all]
    #[arg(long = "app", value_name = "APP")]
    pub apps: Vec<String>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Delete. Without it, nothing is written anywhere
    #[arg(long)]
    pub execute: bool,
    /// How long it may take, such as 1h; the rest is the next run's [default: janitor.time_budget]
    #[arg(long, value_name = "DURATION", value_parser = parse_budget)]
    pub time_budget: Option<Duration>,
    /// Only this app, by id or name; may be repeated [default: all]
    #[arg(long = "app", value_name = "APP")]
    pub apps: Vec<String>,
    /// Only what this policy lets go; "default" is what janitor.age lets go; may be repeated [default: all]
    #[arg(long = "policy", value_name = "NAME")]
    pub policies: Vec<String>,
    /// End after about so many deleted rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_rows: Option<u64>,
    /// Shape of the report
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Options of `verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Only what ended at or after this time: 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Micros>,
    /// Only what ended before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<Micros>,
    /// Only this app, by id; may be repeated [default: all]
    #[arg(long = "app", value_name = "APP_ID")]
    pub apps: Vec<Uuid>,
    /// Read back only so many batches, chosen at random [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Options of `restore`. At least one says what is meant.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").args(["bundles", "conversations", "apps", "from", "to", "list"]).multiple(true).required(true))]
pub struct RestoreArgs {
    /// Say what the archive holds, and put nothing back; alone: of everything
    #[arg(long, conflicts_with_all = ["execute", "overwrite"])]
    pub list: bool,
    /// This run or conversation, by the id of its row; may be repeated
    #[arg(long = "bundle", value_name = "ID")]
    pub bundles: Vec<Uuid>,
    /// This conversation; may be repeated
    #[arg(long = "conversation", value_name = "ID")]
    pub conversations: Vec<Uuid>,
    /// What belonged to this app, by id; may be repeated
    #[arg(long = "app", value_name = "APP_ID")]
    pub apps: Vec<Uuid>,
    /// What ended at or after this time: 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Micros>,
    /// What ended before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<Micros>,
    /// Put back. Without it, nothing is written anywhere
    #[arg(long)]
    pub execute: bool,
    /// Replace rows that are there and differ from the archived ones
    #[arg(long, requires = "execute")]
    pub overwrite: bool,
    /// Shape of the report
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Options of `advise`.
#[derive(Clone, Debug, Args)]
pub struct AdviseArgs {
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Options of `check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
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

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match command {
        Command::Plan(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| plan::run(context, args)),
        // What deletes finishes its transaction at the first signal.
        Command::Run(args) => {
            let life = if args.execute { Life::Service } else { Life::Command };
            bootstrap::run(PROGRAM, life, &common, |context| run::run(context, args))
        }
        Command::Verify(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| verify::run(context, args)),
        Command::Restore(args) => {
            let life = if args.execute { Life::Service } else { Life::Command };
            bootstrap::run(PROGRAM, life, &common, |context| restore::run(context, args))
        }
        Command::Advise(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| advise::run(context, args)),
        Command::Check(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| check::run(context, args)),
    }
}

fn parse_time(text: &str) -> Result<Micros, String> {
    match Start::parse(text) {
        Some(Start::At(time)) => Ok(time),
        Some(Start::Now) => Ok(Micros::now()),
        _ => Err("write a date or a time with its offset, such as 2026-01-31 or 2026-01-31T08:00:00Z".to_owned()),
    }
}

fn parse_budget(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(budget) if !budget.is_zero() => Ok(budget),
        _ => Err("write a duration such as 1h or 90m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("dify-janitor").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_deletes_only_when_told_to() {
        let Command::Run(args) = parse(&["run"]).unwrap().command else { panic!("another command") };
        assert!(!args.execute);
        let arguments = ["run", "--execute", "--time-budget", "1h", "--app", "Support", "--policy", "default", "--max-rows", "1000"];
        let Command::Run(args) = parse(&arguments).unwrap().command else { panic!("another command") };
        assert!(args.execute);
        assert_eq!((args.time_budget, args.max_rows), (Some(Duration::from_secs(3600)), Some(1000)));
        assert_eq!((args.apps, args.policies), (vec!["Support".to_owned()], vec!["default".to_owned()]));
    }

    #[test]
    fn restore_takes_filters_and_times() {
        let id = "0190a000-0000-7000-8000-000000000001";
        let arguments = ["restore", "--bundle", id, "--from", "1970-01-02", "--execute", "--overwrite"];
        let Command::Restore(args) = parse(&arguments).unwrap().command else { panic!("another command") };
        assert_eq!((args.bundles.len(), args.from), (1, Some(Micros::from_secs(86_400))));
        assert!(args.execute && args.overwrite && !args.list);
        assert!(parse(&["restore", "--list"]).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for arguments in [
            &["restore"][..],
            &["restore", "--execute"],
            &["restore", "--list", "--execute"],
            &["restore", "--bundle", "x"],
            &["restore", "--to", "now and then"],
            &["run", "--time-budget", "0s"],
            &["run", "--max-rows", "0"],
            &["plan", "--format", "html"],
            &["verify", "--sample", "0"],
            &["dance"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }
}
