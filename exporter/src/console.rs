//! `dify-exporter console`: Dify's own Monitoring page for one day.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use chrono::NaiveDate;
use chrono_tz::Tz;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::console::{self, App, Day, Endpoint, Rules, Window};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::output;
use dify_observe_core::settings::Settings;
use serde_json::{Map, Value, json};

use crate::cli::{ConsoleArgs, TableFormat};

/// What is asked, with nothing left to default.
struct Question {
    date: NaiveDate,
    time_zone: Tz,
    apps: Vec<String>,
}

/// Prints the page of one day, read at this moment.
pub async fn run(context: Context, args: ConsoleArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let time_zone = args.time_zone.or_else(|| settings.exporter.console_time_zone.parse().ok()).unwrap_or(Tz::UTC);
    let today = || chrono::Utc::now().with_timezone(&time_zone).date_naive();
    let question = Question { date: args.date.unwrap_or_else(today), time_zone, apps: args.apps };
    let options = settings.postgres.connect_options()?.application_name("dify-exporter console");
    let database = Database::new(options, settings.postgres.connect_timeout);
    let pages = read(&database, settings, &question).await?;
    let mut out = std::io::stdout().lock();
    match args.format {
        TableFormat::Json => writeln!(out, "{:#}", as_json(&pages, &question))?,
        TableFormat::Table => print(&mut out, &pages, &question)?,
    }
    Ok(Exit::Done)
}

/// One app's page.
struct Page {
    app: App,
    rules: Rules,
    day: Day,
}

impl Page {
    /// The answers that Dify has for this app, each with its day's entry where the day has one.
    fn answers(&self) -> impl Iterator<Item = (Endpoint, Option<Map<String, Value>>)> {
        let has = |endpoint: &Endpoint| endpoint.applies_to(&self.app.mode) && self.rules.can_answer(*endpoint);
        Endpoint::ALL.into_iter().filter(has).map(|endpoint| (endpoint, self.day.answer(endpoint)))
    }
}

async fn read(database: &Database, settings: &Settings, question: &Question) -> anyhow::Result<Vec<Page>> {
    let timeout = settings.postgres.statement_timeout.max(std::time::Duration::from_secs(30));
    let mut tx = database.read(timeout).await.or_exit(Exit::Unavailable)?;
    let schema = Schema::probe(&mut tx).await.or_exit(Exit::Unavailable)?;
    schema.require_dify().or_exit(Exit::NotDify)?;
    let rules = Rules::of(&schema);
    let apps = chosen(console::apps(&mut tx).await?, &question.apps)?;
    let window = Window::of_day(question.date, question.time_zone.name());
    let mut pages = Vec::new();
    for app in apps {
        let mut figures =
            console::read(&mut tx, rules, &app, &window).await.with_context(|| format!("failed to read the day of {}", app.name))?;
        pages.push(Page { app, rules, day: figures.0.remove(&question.date).unwrap_or_default() });
    }
    tx.end().await?;
    Ok(pages)
}

/// The apps that were named by id or name; all of them when none was.
fn chosen(apps: Vec<App>, named: &[String]) -> anyhow::Result<Vec<App>> {
    let is = |app: &App, name: &String| app.id.to_string() == name.to_lowercase() || app.name == *name;
    if let Some(unknown) = named.iter().find(|name| !apps.iter().any(|app| is(app, name))) {
        bail!("no app has the id or name {unknown:?}; `dify-exporter console` without --app lists all of them");
    }
    Ok(apps.into_iter().filter(|app| named.is_empty() || named.iter().any(|name| is(app, name))).collect())
}

/// The answers under the paths of Dify's own API.
fn as_json(pages: &[Page], question: &Question) -> Value {
    let apps = pages.iter().map(|page| {
        let answers: Map<String, Value> = page.answers().map(|(endpoint, answer)| (endpoint.path().to_owned(), json!(answer))).collect();
        json!({ "app_id": page.app.id, "app": page.app.name, "mode": page.app.mode, "answers": answers })
    });
    json!({ "date": question.date.to_string(), "time_zone": question.time_zone.name(), "apps": apps.collect::<Vec<_>>() })
}

/// Columns of the table: heading, endpoints that can fill it, key in the answer. No app has two of the endpoints of a column
/// but chatflows, whose messages and runs have columns of their own.
const COLUMNS: [(&str, Endpoint, &str); 13] = [
    ("messages", Endpoint::DailyMessages, "message_count"),
    ("conversations", Endpoint::DailyConversations, "conversation_count"),
    ("users", Endpoint::DailyEndUsers, "terminal_count"),
    ("tokens", Endpoint::TokenCosts, "token_count"),
    ("price (\"USD\")", Endpoint::TokenCosts, "total_price"),
    ("per conversation", Endpoint::AverageSessionInteractions, "interactions"),
    ("likes ‰", Endpoint::UserSatisfactionRate, "rate"),
    ("response ms", Endpoint::AverageResponseTime, "latency"),
    ("tokens/s", Endpoint::TokensPerSecond, "tps"),
    ("runs", Endpoint::WorkflowDailyConversations, "runs"),
    ("run users", Endpoint::WorkflowDailyTerminals, "terminal_count"),
    ("run tokens", Endpoint::WorkflowTokenCosts, "token_count"),
    ("runs per user", Endpoint::WorkflowAverageAppInteractions, "interactions"),
];

fn print(out: &mut impl std::io::Write, pages: &[Page], question: &Question) -> std::io::Result<()> {
    writeln!(out, "Dify's Monitoring page, {} ({}); apps without anything on that day are left out", question.date, question.time_zone)?;
    let active = pages.iter().filter(|page| page.day != Day::default());
    let rows: Vec<Vec<String>> = active.map(row).collect();
    if rows.is_empty() {
        return writeln!(out, "nothing on that day");
    }
    let mut header = vec!["app", "mode"];
    header.extend(COLUMNS.iter().map(|(heading, ..)| *heading));
    output::table(out, &header, &rows)
}

fn row(page: &Page) -> Vec<String> {
    let answers: Vec<_> = page.answers().collect();
    let cell = |(_, wanted, key): &(&str, Endpoint, &str)| {
        let answer = answers.iter().find(|(endpoint, _)| endpoint == wanted).and_then(|(_, answer)| answer.as_ref());
        match answer.and_then(|answer| answer.get(*key)) {
            // Prices come as Python writes decimals, "0E-7" among them; a table is for people.
            Some(Value::String(text)) => {
                rust_decimal::Decimal::from_scientific(text).map_or_else(|_| text.clone(), |price| price.to_string())
            }
            Some(Value::Null) | None => "-".to_owned(),
            Some(value) => value.to_string(),
        }
    };
    let mut cells = vec![page.app.name.clone(), page.app.mode.clone()];
    cells.extend(COLUMNS.iter().map(cell));
    cells
}
