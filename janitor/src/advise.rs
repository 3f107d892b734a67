//! `dify-janitor advise`: statements that help this database, each with its reason in figures of this database and its price. Executes none.

mod autovacuum;
mod dify;
mod indexes;
mod space;
mod wal;

use std::io::{self, Write};

use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::retention::health::{
    OurIndex, PastCleaner, ServerHealth, TableHealth, our_indexes, past_cleaners, server_health, table_health,
};
use dify_observe_core::dify::retention::{Ownership, Path};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::settings::Settings;
use serde::Serialize;

use crate::check::members;
use crate::cli::{AdviseArgs, TextFormat};
use crate::refuse;

/// What an advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// An index that is missing, or no longer needed.
    Index,
    /// When dead rows are removed, and what keeps them from it.
    Vacuum,
    /// Disk space that PostgreSQL does not give back by itself.
    Space,
    /// The log of changes.
    Wal,
    /// Dify's own settings.
    Dify,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What it is about.
    pub topic: Topic,
    /// The table, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What to do, in one sentence.
    pub advice: String,
    /// Why, in figures of this database.
    pub why: String,
    /// What it costs: locks, time, space.
    pub price: String,
    /// Statements or settings, ready to be copied.
    pub statements: Vec<String>,
}

/// What all advice is made of.
struct Facts<'a> {
    settings: &'a Settings,
    schema: &'a Schema,
    /// Table and column of rows that no index finds.
    without_index: Vec<(String, String)>,
    server: ServerHealth,
    tables: Vec<TableHealth>,
    indexes: Vec<OurIndex>,
    cleaners: Vec<PastCleaner>,
}

/// Looks and prints.
pub async fn run(context: Context, args: AdviseArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let options = settings.postgres.connect_options()?.application_name("dify-janitor advise");
    let database = Database::new(options, settings.postgres.connect_timeout);
    let advice = match advise(&database, settings).await.or_exit(Exit::Unavailable)? {
        Ok(advice) => advice,
        Err(not_known) => return Err(anyhow::anyhow!(not_known)).or_exit(Exit::NotDify),
    };
    let mut out = io::stdout().lock();
    match args.format {
        TextFormat::Text => print(&advice, &mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&serde_json::json!({ "advice": advice }))?)?,
    }
    Ok(Exit::Done)
}

/// All advice for a database; the inner error says why this is no Dify that is understood.
pub async fn advise(database: &Database, settings: &Settings) -> Result<Result<Vec<Advice>, String>, DatabaseError> {
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let schema = Schema::probe(&mut tx).await?;
    if let Err(error) = schema.require_dify() {
        return Ok(Err(error.to_string()));
    }
    let ownership = match Ownership::resolve(&schema) {
        Ok(ownership) => ownership,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let names = refuse::tables(&ownership);
    let facts = Facts {
        settings,
        schema: &schema,
        without_index: without_index(&ownership),
        server: server_health(&mut tx).await?,
        tables: table_health(&mut tx, &names).await?,
        indexes: our_indexes(&mut tx, &names).await?,
        cleaners: past_cleaners(&mut tx).await?.unwrap_or_default(),
    };
    tx.end().await?;
    Ok(Ok(facts.advice()))
}

fn without_index(ownership: &Ownership) -> Vec<(String, String)> {
    let members = members(ownership).into_iter().filter(|member| member.path == Path::Prefetch);
    members.map(|member| (member.shape.table.clone(), member.column.clone())).collect()
}

impl Facts<'_> {
    /// What is to be done first comes first.
    fn advice(&self) -> Vec<Advice> {
        let mut advice: Vec<Advice> = self.about_dify().into_iter().collect();
        advice.extend(self.about_indexes());
        advice.extend(self.about_vacuum());
        advice.extend(self.about_wal());
        advice.extend(self.about_space());
        advice
    }

    fn table(&self, name: &str) -> Option<&TableHealth> {
        self.tables.iter().find(|table| table.name == name)
    }
}

fn print(advice: &[Advice], out: &mut impl Write) -> io::Result<()> {
    for (number, advice) in advice.iter().enumerate() {
        writeln!(out, "{}. {}", number + 1, advice.advice)?;
        writeln!(out, "   why    {}", advice.why)?;
        writeln!(out, "   price  {}", advice.price)?;
        for line in advice.statements.iter().flat_map(|statement| statement.lines()) {
            writeln!(out, "     {line}")?;
        }
        writeln!(out)?;
    }
    match advice.len() {
        0 => writeln!(out, "nothing to advise: indexes, autovacuum and space are as they should be"),
        1 => writeln!(out, "1 piece of advice; nothing was executed"),
        count => writeln!(out, "{count} pieces of advice; nothing was executed"),
    }
}

/// Bytes as people say them.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes.max(0) as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// A duration that was worked out, so: about.
fn about(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 10.0 => "some seconds".to_owned(),
        seconds if seconds < 90.0 => format!("about {:.0} seconds", (seconds / 10.0).ceil() * 10.0),
        seconds if seconds < 5400.0 => format!("about {:.0} minutes", (seconds / 60.0).ceil()),
        seconds => format!("about {:.0} hours", (seconds / 3600.0).ceil()),
    }
}

#[cfg(test)]
mod tests;
