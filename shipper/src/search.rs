//! `dify-shipper search`: finds documents in the files of an ndjson sink, with nothing else installed.

mod query;
mod scan;
mod show;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use anyhow::Context as _;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::content::PersonIds;
use dify_observe_core::exit::{Exit, ResultExt as _, WithExit};
use dify_observe_core::settings::{Settings, SinkSettings, SinkType};
use dify_observe_core::store::StoreError;

use crate::cli::{SearchArgs, SearchFormat};
use crate::ndjson::place::Place;
use crate::run::STATE;
use query::{FieldValue, Query};
use scan::Scan;

/// So many rows are made into one table, whose columns are as wide as it needs.
const TABLE_ROWS: usize = 500;

/// Finds documents and prints them, newest first. What it took is said on standard error.
pub async fn run(context: Context, args: SearchArgs) -> anyhow::Result<Exit> {
    let sinks = context.settings.shipper.sinks();
    let (name, sink) = chosen(sinks.iter().map(|(name, sink)| (name.as_str(), sink)), args.sink.as_deref()).or_exit(Exit::Configuration)?;
    let place = Place::of(name, sink, &context.settings.state_dir.join(STATE)).map_err(anyhow::Error::msg).or_exit(Exit::Configuration)?;
    let query = query_of(&args, &context.settings)?;
    find(&place, &query, &args, &mut io::stdout().lock()).await
}

/// The only ndjson sink, or the one that is named.
fn chosen<'a>(
    sinks: impl Iterator<Item = (&'a str, &'a SinkSettings)>,
    wanted: Option<&str>,
) -> anyhow::Result<(&'a str, &'a SinkSettings)> {
    let mut ours: Vec<_> = sinks.filter(|(_, sink)| sink.r#type == SinkType::Ndjson).collect();
    if let Some(wanted) = wanted {
        let found = ours.into_iter().find(|(name, _)| *name == wanted);
        return found.with_context(|| format!("there is no ndjson sink `{wanted}`: see [shipper.sinks] in the configuration"));
    }
    match (ours.pop(), ours.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => anyhow::bail!("no ndjson sink is configured: search in the engine, see docs/searching.md"),
        _ => anyhow::bail!("there are several ndjson sinks: name one with --sink"),
    }
}

fn query_of(args: &SearchArgs, settings: &Settings) -> anyhow::Result<Query> {
    let mut query = Query::new(args.kinds.clone(), args.from, args.to);
    args.text.iter().for_each(|text| query.text(text));
    let values = |paths: &[&str], values: Vec<String>| {
        values.iter().flat_map(|value| paths.iter().map(move |path| FieldValue::new(path, value))).collect::<Vec<_>>()
    };
    let texts = |ids: &[uuid::Uuid]| ids.iter().map(ToString::to_string).collect();
    query.any_of(values(&["dify.app.id", "dify.app.name"], args.apps.clone()));
    query.any_of(values(&["dify.status"], args.statuses.clone()));
    query.any_of(values(&["dify.conversation_id"], texts(&args.conversations)));
    query.any_of(values(&["dify.workflow_run_id"], texts(&args.runs)));
    query.any_of(values(&["error.fingerprint"], args.fingerprints.clone()));
    // Documents of before and after a change of shipper.user_ids are in the same files.
    let people = PersonIds::new(&settings.shipper);
    let both = |ids: &[String]| ids.iter().flat_map(|id| [id.clone(), people.id(id)]).collect();
    query.any_of(values(&["user.id"], both(&args.users)));
    query.any_of(values(&["session.id"], both(&args.sessions)));
    for field in &args.fields {
        let (path, value) =
            field.split_once('=').context("--field is written PATH=VALUE, such as dify.node.type=llm").or_exit(Exit::Usage)?;
        query.any_of(values(&[path], vec![value.to_owned()]));
    }
    Ok(query)
}

async fn find(place: &Place, query: &Query, args: &SearchArgs, out: &mut impl io::Write) -> anyhow::Result<Exit> {
    let limit = usize::try_from(args.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let mut scan = Scan::begin(place, query).await.map_err(failed)?;
    let (mut found, mut rows) = (0, Vec::new());
    while found < limit
        && let Some(hit) = scan.next().await.map_err(failed)?
    {
        found += 1;
        match args.format {
            SearchFormat::Ndjson => {
                out.write_all(&hit.line)?;
                out.write_all(b"\n")?;
            }
            SearchFormat::Table => rows.push(hit),
        }
        if rows.len() == TABLE_ROWS {
            show::as_table(out, &rows)?;
            rows.clear();
        }
    }
    if !rows.is_empty() {
        show::as_table(out, &rows)?;
    }
    out.flush()?;
    writeln!(io::stderr(), "{}", show::effort(&scan.effort, found, found == limit))?;
    Ok(Exit::Done)
}

fn failed(error: StoreError) -> anyhow::Error {
    anyhow::Error::new(WithExit::new(error.exit(), error)).context("failed to search")
}
