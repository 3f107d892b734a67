//! How the rows of each table are found.

use std::collections::BTreeMap;

use dify_observe_core::dify::ddl::create_index;
use dify_observe_core::dify::retention::{Member, Ownership, Parent, Path, Prefix};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::finding::{Finding, Level, Report};

/// Below this a pass over a whole table is no burden.
pub(crate) const SMALL: i64 = 50_000;

pub(super) fn look(ownership: &Ownership, schema: &Schema, report: &mut Report) {
    report.add(roots(schema));
    let mut ways: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for member in members(ownership) {
        match &member.path {
            Path::PrimaryKey => {}
            Path::Index { columns, prefix } => {
                let way = way(&columns.join(", "), *prefix);
                let ways = ways.entry(&member.shape.table).or_default();
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            Path::Prefetch => report.add(prefetched(member, schema)),
        }
    }
    for (table, ways) in ways {
        report.add(Finding::new(Level::Ok, "access", format!("{table}: by its index on {}", ways.join(", and on "))));
    }
}

/// Members, each column of a table once.
pub(crate) fn members(ownership: &Ownership) -> Vec<&Member> {
    let mut members: Vec<&Member> = Vec::new();
    for member in ownership.run.iter().chain(&ownership.conversation) {
        if !members.iter().any(|known| known.shape.table == member.shape.table && known.column == member.column) {
            members.push(member);
        }
    }
    members
}

fn way(columns: &str, prefix: Prefix) -> String {
    match prefix {
        Prefix::None | Prefix::App => format!("({columns})"),
        Prefix::Run => format!("({columns}), with all of the run's keys"),
    }
}

/// How the runs that are old enough are found.
fn roots(schema: &Schema) -> Finding {
    match schema.index_on("workflow_runs", &["created_at", "id"]) {
        Some(index) => Finding::new(Level::Ok, "access", format!("workflow_runs: by age through {}", index.name)),
        None => {
            let message = "workflow_runs: no index on their time, so old ones are found in one pass over the table for each run of the \
                           janitor, in ranges of blocks";
            Finding::new(Level::Note, "access", message).mended_by(create_index("workflow_runs", &["created_at", "id"]))
        }
    }
}

fn prefetched(member: &Member, schema: &Schema) -> Finding {
    let table = &member.shape.table;
    let parent = match member.parent {
        Parent::Run => "run",
        Parent::Message => "message",
        _ => "conversation",
    };
    let rows = schema.table(table).and_then(|table| table.rows_estimate);
    let shown = rows.map_or_else(|| "an unknown number of".to_owned(), |rows| format!("about {rows}"));
    let message = format!(
        "{table} ({shown} rows): no index leads from a {parent} to its rows, so their keys are collected in a pass over the table, once for \
         many batches"
    );
    let level = if rows.is_some_and(|rows| rows < SMALL) { Level::Ok } else { Level::Note };
    Finding::new(level, "access", message).mended_by((level > Level::Ok).then(|| create_index(table, &[&member.column])))
}
