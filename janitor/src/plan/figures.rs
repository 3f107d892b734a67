//! The plan as figures: from what was seen to what would go. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dify_observe_core::dify::time::Micros;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::observed::{AppSeen, HangsOn, Observed, Share, TableSeen};

/// An app, with its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppFigures {
    /// `apps.id`
    pub app_id: Uuid,
    /// Its name; `None` when the app is gone.
    pub app: Option<String>,
    /// Its bundles and their rows.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Bundles, and the rows of all tables, of an app or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Workflow runs and conversations, each kept or deleted as a whole.
    pub bundles: u64,
    /// Rows that hang on them, their own included.
    pub rows: u64,
    /// Bytes on disk, with indexes.
    pub bytes: u64,
    /// When the oldest began.
    #[serde(serialize_with = "time")]
    pub oldest: Option<Micros>,
    /// Bundles that would go now.
    pub go_bundles: u64,
    /// Rows that would go now.
    pub go_rows: u64,
    /// Bytes that new rows could use again.
    pub go_bytes: u64,
    /// Bundles that stay, by the reason.
    pub stay: BTreeMap<&'static str, u64>,
    /// Whether the figures of bundles are estimates.
    pub estimated: bool,
    /// Whether `rows` is one.
    pub rows_estimated: bool,
    /// Whether `go_rows` is one.
    pub go_rows_estimated: bool,
}

/// A table, with its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableFigures {
    /// Its name.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk, with indexes.
    pub bytes: u64,
    /// The oldest row, where rows have a time and an app.
    #[serde(serialize_with = "time")]
    pub oldest: Option<Micros>,
    /// Rows that would go now.
    pub go_rows: u64,
    /// Bytes that new rows could use again.
    pub go_bytes: u64,
    /// Whether `rows` is an estimate.
    pub rows_estimated: bool,
    /// Whether `go_rows` is an estimate.
    pub go_rows_estimated: bool,
}

/// What an app has in a table or in all of them, and what of it goes.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    rows_estimated: bool,
    go_rows_estimated: bool,
    rows: f64,
    bytes: f64,
    go_rows: f64,
    go_bytes: f64,
}

/// Figures by app, those with most rows first; by table; and of everything. With `only`, of these apps.
pub(super) fn figures(observed: &Observed, only: Option<&BTreeSet<Uuid>>) -> (Vec<AppFigures>, Vec<TableFigures>, Figures) {
    let asked = |app_id: &Uuid| only.is_none_or(|only| only.contains(app_id));
    let mut by_app: HashMap<Uuid, Part> = HashMap::new();
    let mut tables = Vec::new();
    for table in observed.tables.iter().filter(|table| table.size.blocks > 0) {
        let mut parts = parts(observed, table);
        parts.retain(|app_id, _| asked(app_id));
        tables.push(table_figures(table, &parts, only.is_some()));
        for (app_id, part) in parts {
            let sum = by_app.entry(app_id).or_default();
            sum.rows += part.rows;
            sum.bytes += part.bytes;
            sum.go_rows += part.go_rows;
            sum.go_bytes += part.go_bytes;
            sum.rows_estimated |= part.rows_estimated;
            sum.go_rows_estimated |= part.go_rows_estimated;
        }
    }
    let mut apps: Vec<AppFigures> = observed
        .apps
        .iter()
        .filter(|(app_id, _)| asked(app_id))
        .map(|(app_id, seen)| {
            let part = by_app.get(app_id).copied().unwrap_or_default();
            let name = seen.app.as_ref().filter(|app| !app.is_deleted()).map(|app| app.name.to_string());
            AppFigures { app_id: *app_id, app: name, figures: app_figures(seen, part, observed.estimated) }
        })
        .collect();
    apps.sort_by(|a, b| b.figures.rows.cmp(&a.figures.rows).then(a.app_id.cmp(&b.app_id)));
    tables.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.table.cmp(&b.table)));
    let total = sum(apps.iter().map(|app| &app.figures));
    (apps, tables, total)
}

/// The sum of several.
pub(super) fn sum<'a>(figures: impl IntoIterator<Item = &'a Figures>) -> Figures {
    let mut total = Figures::default();
    for one in figures {
        total.bundles += one.bundles;
        total.rows += one.rows;
        total.bytes += one.bytes;
        total.oldest = [total.oldest, one.oldest].into_iter().flatten().min();
        total.go_bundles += one.go_bundles;
        total.go_rows += one.go_rows;
        total.go_bytes += one.go_bytes;
        total.estimated |= one.estimated;
        total.rows_estimated |= one.rows_estimated;
        total.go_rows_estimated |= one.go_rows_estimated;
        for (reason, count) in &one.stay {
            *total.stay.entry(reason).or_default() += count;
        }
    }
    total
}

fn app_figures(seen: &AppSeen, part: Part, estimated: bool) -> Figures {
    Figures {
        bundles: whole(seen.bundles()),
        rows: whole(part.rows),
        bytes: whole(part.bytes),
        oldest: seen.oldest,
        go_bundles: whole(seen.go()),
        go_rows: whole(part.go_rows),
        go_bytes: whole(part.go_bytes),
        stay: seen.stay.iter().map(|(reason, count)| (*reason, whole(*count))).filter(|(_, count)| *count > 0).collect(),
        estimated,
        rows_estimated: part.rows_estimated,
        go_rows_estimated: part.go_rows_estimated,
    }
}

fn table_figures(table: &TableSeen, parts: &HashMap<Uuid, Part>, is_part: bool) -> TableFigures {
    let total = |of: fn(&Part) -> f64| whole(parts.values().map(of).sum());
    TableFigures {
        table: table.size.table.clone(),
        rows: total(|part| part.rows),
        bytes: if is_part { total(|part| part.bytes) } else { table.size.bytes },
        oldest: table.weights.iter().flat_map(HashMap::values).filter_map(|share| share.oldest).min(),
        go_rows: total(|part| part.go_rows),
        go_bytes: total(|part| part.go_bytes),
        rows_estimated: table.estimated,
        go_rows_estimated: table.counted.is_none(),
    }
}

/// What each app has in a table, and what of it goes.
fn parts(observed: &Observed, table: &TableSeen) -> HashMap<Uuid, Part> {
    let shares = match &table.weights {
        Some(weights) => weights.clone(),
        None => spread(observed, table),
    };
    let stored: f64 = shares.values().map(|share| share.bytes).sum();
    let part = |app_id: &Uuid, share: &Share| {
        let rows = share.rows + share.loose;
        let go_rows = match &table.counted {
            Some(counted) => counted.get(app_id).copied().unwrap_or_default() as f64,
            None => share.rows * going(observed, *app_id, table.hangs_on),
        };
        let bytes = table.size.bytes as f64 * ratio(share.bytes, stored);
        let rows_estimated = rows > 0.0 && (table.estimated || table.weights.is_none());
        let go_rows_estimated = go_rows > 0.0 && table.counted.is_none();
        Part { rows_estimated, go_rows_estimated, rows, bytes, go_rows, go_bytes: bytes * ratio(go_rows, rows) }
    };
    shares.iter().map(|(app_id, share)| (*app_id, part(app_id, share))).collect()
}

/// Rows that bear no app are spread over apps as what they hang on.
fn spread(observed: &Observed, table: &TableSeen) -> HashMap<Uuid, Share> {
    let parents = rows_of(observed, table.hangs_on);
    let all: f64 = parents.values().sum();
    let rows = table.size.rows.unwrap_or_default() as f64;
    let share = |parents: f64| Share { rows: rows * ratio(parents, all), bytes: parents, ..Share::default() };
    parents.into_iter().map(|(app_id, parents)| (app_id, share(parents))).collect()
}

/// How many runs, messages or conversations each app has.
fn rows_of(observed: &Observed, hangs_on: HangsOn) -> HashMap<Uuid, f64> {
    let name = match hangs_on {
        HangsOn::Runs => "workflow_runs",
        HangsOn::Messages => "messages",
        HangsOn::Conversations => "conversations",
    };
    let table = observed.tables.iter().find(|table| table.size.table == name);
    let shares = table.and_then(|table| table.weights.as_ref()).into_iter().flatten();
    shares.map(|(app_id, share)| (*app_id, share.rows)).collect()
}

/// The share of an app's runs, messages or conversations that goes.
fn going(observed: &Observed, app_id: Uuid, hangs_on: HangsOn) -> f64 {
    let Some(seen) = observed.apps.get(&app_id) else { return 0.0 };
    let all = rows_of(observed, hangs_on).get(&app_id).copied().unwrap_or_default();
    let go = match hangs_on {
        HangsOn::Runs => seen.runs_go + seen.named_runs_go,
        HangsOn::Messages => seen.messages_go,
        HangsOn::Conversations => seen.conversations_go,
    };
    ratio(go, all).min(1.0)
}

fn ratio(part: f64, of: f64) -> f64 {
    if of > 0.0 { part / of } else { 0.0 }
}

fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

fn time<S: Serializer>(time: &Option<Micros>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dify_observe_core::dify::retention::Shape;
    use dify_observe_core::dify::retention::survey::TableSize;

    use super::*;

    fn id(number: u8) -> Uuid {
        Uuid::from_bytes([number; 16])
    }

    fn table(name: &str, hangs_on: HangsOn, rows: u64, weights: Option<&[(u8, f64, f64)]>) -> TableSeen {
        let share =
            |(app, rows, loose): &(u8, f64, f64)| (id(*app), Share { rows: *rows, loose: *loose, bytes: rows + loose, oldest: None });
        TableSeen {
            shape: Arc::new(Shape { table: name.to_owned(), columns: Vec::new(), key: Vec::new() }),
            size: TableSize { table: name.to_owned(), blocks: 1, bytes: 1000, rows: Some(rows) },
            hangs_on,
            weights: weights.map(|weights| weights.iter().map(share).collect()),
            estimated: true,
            counted: None,
        }
    }

    /// Two apps: of the first, half of a hundred runs go; of the second, none of three hundred.
    fn observed() -> Observed {
        let first = AppSeen { runs: 100.0, runs_go: 50.0, stay: BTreeMap::from([("young", 50.0)]), ..AppSeen::default() };
        let second = AppSeen { runs: 300.0, stay: BTreeMap::from([("held", 300.0), ("open", 0.2)]), ..AppSeen::default() };
        Observed {
            apps: BTreeMap::from([(id(1), first), (id(2), second)]),
            tables: vec![
                table("workflow_runs", HangsOn::Runs, 400, Some(&[(1, 100.0, 0.0), (2, 300.0, 0.0)])),
                table("workflow_node_executions", HangsOn::Runs, 1010, Some(&[(1, 800.0, 10.0), (2, 200.0, 0.0)])),
                table("workflow_pauses", HangsOn::Runs, 40, None),
            ],
            estimated: true,
            ..Observed::default()
        }
    }

    #[test]
    fn rows_go_as_what_they_hang_on() {
        let (apps, tables, total) = figures(&observed(), None);
        let rows = |name: &str| tables.iter().find(|table| table.table == name).map(|table| (table.rows, table.go_rows));
        assert_eq!(rows("workflow_runs"), Some((400, 50)));
        assert_eq!(rows("workflow_node_executions"), Some((1010, 400)), "single steps stay");
        assert_eq!(rows("workflow_pauses"), Some((40, 5)), "spread over apps as runs are");
        assert_eq!((total.bundles, total.go_bundles, total.go_rows), (400, 50, 455));
        assert_eq!(total.stay, BTreeMap::from([("held", 300), ("young", 50)]), "what rounds to nothing is left out");
        assert_eq!(apps[0].app_id, id(1), "most rows first");
        let bytes: u64 = apps.iter().map(|app| app.figures.bytes).sum();
        assert!((2998..=3002).contains(&bytes), "the tables' bytes are the apps': {bytes}");
    }

    #[test]
    fn one_app_has_the_figures_that_it_has_among_all() {
        let (all, ..) = figures(&observed(), None);
        let (one, tables, total) = figures(&observed(), Some(&BTreeSet::from([id(1)])));
        assert_eq!(one, all[..1]);
        assert_eq!(total.rows, all[0].figures.rows);
        assert!(tables.iter().map(|table| table.bytes).sum::<u64>() < 3000);
    }

    #[test]
    fn counted_rows_outrank_estimates() {
        let mut observed = observed();
        observed.tables[1].counted = Some(HashMap::from([(id(1), 7)]));
        let (_, tables, _) = figures(&observed, None);
        let nodes = tables.iter().find(|table| table.table == "workflow_node_executions").expect("nodes");
        assert_eq!((nodes.go_rows, nodes.go_rows_estimated), (7, false));
    }
}
