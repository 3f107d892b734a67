//! `dify-janitor plan`: what would go, what stays and why, and how long it would take. Reads only.

mod exact;
mod figures;
mod look;
mod observed;
mod sampled;
mod text;
mod time;

use std::io::Write as _;
use std::time::{Duration, Instant};

use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_core::settings::{JanitorSettings, PolicySettings, Settings};
use serde::{Serialize, Serializer};

pub use figures::{AppFigures, Figures, TableFigures};
pub use time::Time;

use crate::cli::{PlanArgs, TableFormat};
use crate::policy::DEFAULT;
use crate::refuse;
use look::Look;
use observed::Observed;

/// What would go, what stays and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The database's name.
    pub database: String,
    /// The server's clock when the plan was begun; ages count to it.
    #[serde(serialize_with = "shown")]
    pub as_of: Micros,
    /// How long it took to look.
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    pub took: Duration,
    /// Whether every row was looked at, instead of samples of the large tables.
    pub exact: bool,
    /// Everything.
    pub total: Figures,
    /// By app, those with most rows first.
    pub apps: Vec<AppFigures>,
    /// By table, the largest first.
    pub tables: Vec<TableFigures>,
    /// The policies, and what each lets go.
    pub policies: Vec<PolicyFigures>,
    /// How long a run would take.
    pub time: Time,
    /// `janitor.archive.url`
    pub archive: String,
    /// What else is to be known, in sentences without a full stop.
    pub notes: Vec<String>,
}

/// A policy and what it lets go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyFigures {
    /// Its name.
    pub name: String,
    /// How it keeps, in words.
    pub keeps: String,
    /// Bundles that it lets go now.
    pub go_bundles: u64,
}

impl Plan {
    fn archive_sentence(&self) -> String {
        if self.archive == "none" {
            return "would delete it without keeping it, because janitor.archive.url is none".to_owned();
        }
        format!("would archive it, read it back, compare, and only then delete it.\nArchive: {}", self.archive)
    }
}

/// What is asked of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Look at every row.
    pub exact: bool,
    /// Only these apps, by id or name; empty: all.
    pub apps: Vec<String>,
}

/// Prints the plan.
pub async fn run(context: Context, args: PlanArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let options = settings.postgres.connect_options()?.application_name("dify-janitor plan");
    let db = Database::new(options, settings.postgres.connect_timeout);
    let plan = make(&db, settings, Question { exact: args.exact, apps: args.apps }).await?;
    let mut out = std::io::stdout().lock();
    match args.format {
        TableFormat::Json => writeln!(out, "{:#}", serde_json::to_value(&plan)?)?,
        TableFormat::Table => text::write(&mut out, &plan)?,
    }
    Ok(Exit::Done)
}

/// Looks at a database and makes the plan.
pub async fn make(db: &Database, settings: &Settings, question: Question) -> anyhow::Result<Plan> {
    let began = Instant::now();
    let mut look = Look::begin(db, settings, &question.apps).await?;
    let mut observed = if question.exact { exact::observe(&mut look).await? } else { sampled::observe(&mut look).await? };
    look.name(&mut observed).await?;
    let (apps, tables, total) = figures::figures(&observed, look.only());
    let mut plan = Plan {
        database: look.database().to_owned(),
        as_of: look.now(),
        took: began.elapsed(),
        exact: question.exact,
        time: Time::of(total.go_rows, &settings.janitor),
        policies: policies(&settings.janitor, &observed),
        archive: settings.janitor.archive.url.clone(),
        notes: look.notes(&observed),
        total,
        apps,
        tables,
    };
    // Of a few apps, a policy may well take everything.
    if look.only().is_none() {
        let refusal = refuse::shares(&plan, settings.janitor.max_share);
        plan.notes.extend(refusal.map(|finding| format!("run --execute refuses: {}", finding.message)));
    }
    Ok(plan)
}

fn policies(settings: &JanitorSettings, observed: &Observed) -> Vec<PolicyFigures> {
    let figures = |name: &str, keeps: String| {
        let go_bundles = observed.policies.get(name).copied().unwrap_or_default().round() as u64;
        PolicyFigures { name: name.to_owned(), keeps, go_bundles }
    };
    let default = figures(DEFAULT, short(settings.age));
    let named = settings.policies.0.iter().map(|(name, policy)| figures(name, keeps(policy)));
    std::iter::once(default).chain(named).collect()
}

/// How a policy keeps, in words.
fn keeps(policy: &PolicySettings) -> String {
    if policy.hold {
        return "held".to_owned();
    }
    let last = policy.keep_last.map(|count| format!("the last {count}"));
    policy.age.map(short).into_iter().chain(last).collect::<Vec<_>>().join(", ")
}

/// `30d` where humantime writes `30days`.
fn short(age: Duration) -> String {
    let days = age.as_secs() / 86_400;
    if days > 0 && age.as_secs().is_multiple_of(86_400) { format!("{days}d") } else { humantime::format_duration(age).to_string() }
}

fn shown<S: Serializer>(time: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
