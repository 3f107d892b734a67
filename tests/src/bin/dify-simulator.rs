//! Writes to a PostgreSQL database as Dify does: days of finished history in minutes, and live traffic.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dify_observe_tests::{
    Schema,
    simulator::{
        Deletions, Faults, Options, Simulation, Target, Version,
        bulk::{self, Load},
        live::{self, Live},
    },
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Write to a database as Dify does.
#[derive(Parser)]
#[command(version = None::<&str>, disable_version_flag = true)]
struct Cli {
    /// The database, for example postgresql://postgres@127.0.0.1:5432/dify.
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// Decides apps and traffic; the same seed gives the same apps to `history` and `live`.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The release to imitate, like 1.12.1; `auto` looks at the database.
    #[arg(long, default_value = "auto")]
    version: String,
    /// Number of apps.
    #[arg(long, default_value_t = 20)]
    apps: usize,
    /// Users of each app.
    #[arg(long, default_value_t = 12)]
    users: i64,
    /// How much goes wrong.
    #[arg(long, value_enum, default_value_t = Wrong::Some)]
    faults: Wrong,
    /// Rows go through Celery: late, out of order, now and then stale.
    #[arg(long)]
    celery: bool,
    /// Create the release's tables if the database is empty.
    #[arg(long)]
    init_schema: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wrong {
    /// Everything succeeds.
    None,
    /// As in life.
    Some,
    /// Far more than in life.
    Many,
}

#[derive(Subcommand)]
enum Command {
    /// Load finished history up to now, through COPY.
    History(History),
    /// Write as time passes, until Ctrl-C.
    Live(LiveArgs),
}

#[derive(Args)]
struct History {
    /// How far back the history goes.
    #[arg(long, default_value_t = 7.0)]
    days: f64,
    /// Requests (runs and messages) in all that time, about.
    #[arg(long, default_value_t = 20_000)]
    runs: u64,
    /// Generator threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// The same rate at all hours.
    #[arg(long)]
    flat: bool,
    /// Leave the indexes where they are; slower for millions of rows.
    #[arg(long)]
    keep_indexes: bool,
}

#[derive(Args)]
struct LiveArgs {
    /// Requests per second.
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// Connections to the database.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Stop by itself after this time.
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Commit some stories up to this late.
    #[arg(long, value_parser = humantime::parse_duration)]
    late_by: Option<Duration>,
    /// Users delete conversations now and then.
    #[arg(long)]
    deletions: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&cli))
}

fn say(text: &str) {
    // Nobody may be listening any more; that is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

async fn run(cli: &Cli) -> Result<()> {
    let mut connection = PgConnection::connect(&cli.database_url).await.context("the database cannot be reached")?;
    let version = prepare(cli, &mut connection).await?;
    connection.close().await?;
    let options = Options {
        version,
        apps: cli.apps,
        users: cli.users.max(1),
        celery: cli.celery,
        faults: match cli.faults {
            Wrong::None => Faults::none(),
            Wrong::Some => Faults::default(),
            Wrong::Many => Faults::many(),
        },
        deletions: Deletions::none(),
        ..Options::default()
    };
    match &cli.command {
        Command::History(history) => load_history(cli, history, options).await,
        Command::Live(args) => write_live(cli, args, options).await,
    }
}

/// Finds out or creates what kind of database this is.
async fn prepare(cli: &Cli, connection: &mut PgConnection) -> Result<Version> {
    let wanted = if cli.version == "auto" { None } else { Some(cli.version.parse::<Version>()?) };
    let target = Target::probe(connection).await?;
    if let Some(found) = target.version() {
        return Ok(wanted.unwrap_or(found));
    }
    if !cli.init_schema {
        bail!("the database has no Dify tables; --init-schema creates them");
    }
    let version = wanted.unwrap_or(Version::new(1, 12, 1));
    say(&format!("creating the tables of Dify {version}"));
    let schema = Schema::load(&version.to_string())?;
    sqlx::raw_sql(AssertSqlSafe(schema.ddl())).execute(connection).await.context("the schema")?;
    Ok(version)
}

async fn load_history(cli: &Cli, history: &History, options: Options) -> Result<()> {
    let span = Duration::from_secs_f64(history.days.max(0.01) * 86_400.0);
    // What the last stories would still write after this moment stays undone: they are the runs that are open now.
    let until = live::now();
    let start = until - span.as_micros() as i64;
    let load = Load {
        url: cli.database_url.clone(),
        seed: cli.seed,
        options: Options {
            start,
            until: Some(until),
            arrivals: u64::MAX,
            rate: history.runs as f64 / span.as_secs_f64(),
            daily_curve: !history.flat,
            ..options
        },
        jobs: history.jobs,
        rebuild_indexes: !history.keep_indexes && history.runs >= 100_000,
    };
    say(&format!("{} requests over {} days as Dify {}", history.runs, history.days, load.options.version));
    let began = Instant::now();
    let loaded = bulk::load(&load, |so_far| say(&format!("  {} of {}", so_far.stories, history.runs))).await?;
    let took = began.elapsed().as_secs_f64();
    say(&format!("{} requests, {} rows in {took:.1} s", loaded.stories, loaded.rows));
    Ok(())
}

async fn write_live(cli: &Cli, args: &LiveArgs, mut options: Options) -> Result<()> {
    options.start = live::now() + 200_000;
    options.rate = args.rate.max(0.001);
    options.arrivals = match args.duration {
        Some(duration) => (duration.as_secs_f64() * options.rate).ceil().max(1.0) as u64,
        None => u64::MAX,
    };
    if let Some(late) = args.late_by {
        options.faults.late_story = 0.02;
        options.faults.late_by = late.as_micros() as i64;
    }
    if args.deletions {
        options.deletions = Deletions::default();
    }
    let simulation = Simulation::new(cli.seed, options.clone());
    let mut connection = PgConnection::connect(&cli.database_url).await?;
    let target = Target::probe(&mut connection).await?;
    for write in simulation.setup(cli.seed) {
        target.apply(&mut connection, &write).await?;
    }
    connection.close().await?;
    say(&format!("{} requests per second as Dify {}; Ctrl-C stops", options.rate, options.version));
    let live = Live { url: cli.database_url.clone(), connections: args.connections };
    let mut shown = Instant::now();
    let written = live::run(&live, simulation, stopped(args.duration), |written, behind| {
        if shown.elapsed() >= Duration::from_secs(10) {
            shown = Instant::now();
            say(&format!("  {written} transactions, {:.1} s behind", behind.as_secs_f64()));
        }
    })
    .await?;
    say(&format!("{written} transactions"));
    Ok(())
}

async fn stopped(duration: Option<Duration>) {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ctrl_c => {}
        () = terminated => {}
        () = over => {}
    }
}
