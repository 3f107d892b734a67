//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dify_observe_core::bootstrap::{self, CommonArgs, Life, Program};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::Start;
use uuid::Uuid;

use crate::document::Kind;
use crate::{backfill, check, export, replay, run, search, setup};

/// Name and version, as `--version`, the log, the status page and documents show them.
pub const PROGRAM: Program = Program { name: "dify-shipper", version: env!("CARGO_PKG_VERSION") };

/// Without line breaks of its own: clap wraps it to the terminal.
const AFTER_HELP: &str = concat!(
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 64 wrong configuration; 69 database, search engine, store or port not to be had; 75 locked ",
    "by another shipper, or not all could be done now; 78 not a Dify database that can be read.\n\n",
    "Configuration: a TOML file, then variables DIFY_OBSERVE__SECTION__KEY. The database is found in postgres.url, DATABASE_URL, or Dify's ",
    "own DB_HOST, DB_PORT, DB_USERNAME, DB_PASSWORD and DB_DATABASE. All keys: docs/configuration.md. How it works: docs/shipping.md."
);

/// Ships the execution records of a self-hosted Dify to Elasticsearch, OpenSearch and files
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
    /// Ship what Dify writes, as it becomes final, to every sink
    ///
    /// Each sink has a position of its own and is resumed where it was left, whatever ended the process. Answers /metrics, /livez, /readyz,
    /// /position and a status page at shipper.listen (127.0.0.1:9811). SIGTERM finishes the work in hand. With --once it ships what is
    /// final now and ends.
    Run(RunArgs),
    /// Prepare search engines: index templates, lifecycle policies, the index of positions
    ///
    /// Creates what is missing, updates what differs, says what it changed, and can be repeated at any time. Needed once before `run`, and
    /// again after an upgrade of dify-shipper or a change of what it sets up.
    Setup(SetupArgs),
    /// Ship the past: records created in a time range, whatever `run` has shipped
    ///
    /// Sends the same documents under the same ids as `run`, so an overlap makes no duplicates in a search engine. Keeps a position of its
    /// own and goes on from it when it is started again with the same range; that of `run` is left alone.
    Backfill(BackfillArgs),
    /// Send documents again that a search engine had rejected
    Replay(ReplayArgs),
    /// Find documents in the files of an ndjson sink
    ///
    /// Every condition that is given must hold; several values of one condition are alternatives. Newest first.
    Search(Box<SearchArgs>),
    /// Write records or usage to a file for spreadsheets and notebooks, straight from the database
    ///
    /// Needs no sink. The same fields, content mode and redaction as documents.
    Export(ExportArgs),
    /// Look at configuration, database, rights, indexes and sinks, and say what will be shipped and what is missing
    ///
    /// Writes nothing. Exit code 0 means that `run` would work.
    Check(CheckArgs),
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Ship everything that is final now and end; opens no port. What is still open is shipped by the next run
    #[arg(long)]
    pub once: bool,
}

/// Options of `setup`.
#[derive(Clone, Debug, Args)]
pub struct SetupArgs {
    /// Print the requests that would be sent, and send none that changes anything
    #[arg(long)]
    pub dry_run: bool,
    /// Only this sink of the configuration; may be repeated [default: every elasticsearch sink]
    #[arg(long = "sink", value_name = "NAME")]
    pub sinks: Vec<String>,
}

/// Options of `backfill`.
#[derive(Clone, Debug, Args)]
pub struct BackfillArgs {
    /// First record, by its creation: 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Micros,
    /// First record that is left out
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Micros,
    /// Only to this sink of the configuration; may be repeated [default: all]
    #[arg(long = "sink", value_name = "NAME")]
    pub sinks: Vec<String>,
}

/// Options of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Only this sink of the configuration; may be repeated [default: every sink with dead letters]
    #[arg(long = "sink", value_name = "NAME")]
    pub sinks: Vec<String>,
    /// Say how many wait, and why they were rejected, and send none
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    /// Words that must all occur, in whatever field; "a phrase" in quotes must occur as it is
    #[arg(value_name = "TEXT")]
    pub text: Vec<String>,
    /// Only this kind of documents; may be repeated [default: all]
    #[arg(long = "kind", value_name = "KIND", value_parser = kind_parser())]
    pub kinds: Vec<Kind>,
    /// Only this app, by id or name; may be repeated
    #[arg(long = "app", value_name = "APP")]
    pub apps: Vec<String>,
    /// Only this final status; may be repeated
    #[arg(long = "status", value_name = "STATUS")]
    pub statuses: Vec<String>,
    /// Only this user.id, as Dify stores it, whether documents carry it plain or hashed; may be repeated
    #[arg(long = "user", value_name = "ID")]
    pub users: Vec<String>,
    /// Only this session (the `user` that callers of Dify's API pass), plain, as for --user; may be repeated
    #[arg(long = "session", value_name = "ID")]
    pub sessions: Vec<String>,
    /// Only this conversation; may be repeated
    #[arg(long = "conversation", value_name = "UUID")]
    pub conversations: Vec<Uuid>,
    /// Only this workflow run and what belongs to it; may be repeated
    #[arg(long = "run", value_name = "UUID")]
    pub runs: Vec<Uuid>,
    /// Only errors of this fingerprint (error.fingerprint); may be repeated
    #[arg(long = "fingerprint", value_name = "FINGERPRINT")]
    pub fingerprints: Vec<String>,
    /// Only documents whose field has this value, such as dify.node.type=llm; several must all hold. All fields: docs/documents.md
    #[arg(long = "field", value_name = "PATH=VALUE")]
    pub fields: Vec<String>,
    /// Only records created at this time or later: 2026-01-31 or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Micros>,
    /// Only records created before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<Micros>,
    /// Most documents to show; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub limit: u64,
    /// The ndjson sink of the configuration to search [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = SearchFormat::Table)]
    pub format: SearchFormat,
}

/// Options of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// What to export: a kind of documents, or usage (tokens and cost by day, app, model and end user)
    #[arg(long, value_enum)]
    pub kind: ExportKind,
    /// Only this app, by id or name; may be repeated [default: all]
    #[arg(long = "app", value_name = "APP")]
    pub apps: Vec<String>,
    /// First record, by its creation: 2026-01-31 or 2026-01-31T08:00:00Z [default: the oldest there is]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub from: Option<Micros>,
    /// First record that is left out [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub to: Option<Micros>,
    /// Shape of the file
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    pub format: ExportFormat,
    /// Where to write; "-" is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// csv: begin with a byte order mark, by which Excel knows that it is UTF-8
    #[arg(long)]
    pub bom: bool,
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

/// How found documents are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SearchFormat {
    /// One line each, for people
    Table,
    /// One JSON object a line, as stored
    Ndjson,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ExportKind {
    /// Workflow runs
    WorkflowRun,
    /// Executions of nodes
    NodeExecution,
    /// Questions and answers
    Message,
    /// Calls of tools
    ToolCall,
    /// Searches in data sets
    Retrieval,
    /// What people thought of answers
    Feedback,
    /// Tokens and cost by day, app, model and end user
    Usage,
}

/// Shapes of exported files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values; cells that a spreadsheet would take for formulas are defused
    Csv,
    /// One JSON object a line
    Ndjson,
    /// Parquet
    Parquet,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match command {
        Command::Run(args) => {
            // A run to the end is a service too: it logs, and finishes its work at a signal.
            bootstrap::run(PROGRAM, Life::Service, &common, |context| run::run(context, args))
        }
        Command::Setup(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| setup::run(context, args)),
        Command::Backfill(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| backfill::run(context, args)),
        Command::Replay(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| replay::run(context, args)),
        Command::Search(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| search::run(context, *args)),
        Command::Export(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| export::run(context, args)),
        Command::Check(args) => bootstrap::run(PROGRAM, Life::Command, &common, |context| check::run(context, args)),
    }
}

fn kind_parser() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)).try_map(|name| Kind::parse(&name).ok_or("no such kind"))
}

fn parse_time(text: &str) -> Result<Micros, String> {
    match Start::parse(text) {
        Some(Start::At(time)) => Ok(time),
        Some(Start::Now) => Ok(Micros::now()),
        _ => Err("write a date or a time with its offset, such as 2026-01-31 or 2026-01-31T08:00:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("dify-shipper").chain(arguments.iter().copied()))
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn common_arguments_stand_before_or_after_the_command() {
        for arguments in [["--config", "x.toml", "run"], ["run", "--config", "x.toml"]] {
            assert_eq!(parse(&arguments).unwrap().common.config, Some(PathBuf::from("x.toml")));
        }
    }

    #[test]
    fn backfill_takes_a_range() {
        let arguments = ["backfill", "--from", "1970-01-02", "--to", "1970-01-02T00:00:01Z", "--sink", "a", "--sink", "b"];
        let Command::Backfill(args) = parse(&arguments).unwrap().command else { panic!("another command") };
        assert_eq!((args.from, args.to), (Micros::from_secs(86_400), Micros::from_secs(86_401)));
        assert_eq!(args.sinks, ["a", "b"]);
    }

    #[test]
    fn search_takes_words_and_conditions() {
        let arguments = ["search", "time out", "--kind", "tool_call", "--kind", "message", "--status", "failed", "--limit", "0"];
        let Command::Search(args) = parse(&arguments).unwrap().command else { panic!("another command") };
        assert_eq!(args.kinds, [Kind::ToolCall, Kind::Message]);
        assert_eq!((args.text.as_slice(), args.limit), (&["time out".to_owned()][..], 0));
    }

    #[test]
    fn export_knows_every_kind_that_comes_from_the_database() {
        for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Log).map(|kind| kind.as_str()).chain(["usage"]) {
            assert!(parse(&["export", "--kind", kind]).is_ok(), "{kind}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for arguments in [
            &["backfill", "--from", "beginning", "--to", "now"][..],
            &["backfill", "--to", "2026-01-31"],
            &["search", "--kind", "dance"],
            &["search", "--run", "7"],
            &["export"],
            &["export", "--kind", "log"],
            &["export", "--kind", "usage", "--format", "xlsx"],
            &["dance"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }
}
