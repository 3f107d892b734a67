//! The plan for people: tables that fit a terminal.

use std::collections::BTreeMap;
use std::io::{self, Write};

use dify_observe_core::dify::time::Micros;
use dify_observe_core::output;

use super::Plan;
use super::figures::{AppFigures, Figures, TableFigures, sum};
use crate::progress::spoken;

/// Apps that get a line of their own.
const SHOWN: usize = 20;
/// Tables that get a line of their own.
const SHOWN_TABLES: usize = 12;
/// Columns of an app's name.
const NAME_WIDTH: usize = 24;
/// Reasons in the line of an app; all of them stand below the table.
const REASONS: usize = 2;

/// Writes the plan.
pub(super) fn write(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    heading(out, plan)?;
    if plan.total.rows == 0 && plan.total.bundles == 0 {
        return writeln!(out, "\nThere are no workflow runs and no conversations: nothing to keep and nothing to let go.");
    }
    writeln!(out)?;
    apps(out, plan)?;
    writeln!(out)?;
    tables(out, plan)?;
    writeln!(out)?;
    outlook(out, plan)?;
    for note in &plan.notes {
        writeln!(out, "Note: {note}.")?;
    }
    Ok(())
}

fn heading(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let how = if plan.exact { "every bundle was counted" } else { "~ marks estimates, --exact counts" };
    let time = plan.as_of.to_string();
    let minute = time.split_at_checked(16).map_or(time.as_str(), |(minute, _)| minute).replace('T', " ");
    writeln!(out, "Database {} at {minute} UTC, looked at in {}; {how}.", plan.database, spoken(plan.took))?;
    let ages: Vec<String> = plan.policies.iter().map(|policy| format!("{} {}", policy.name, policy.keeps)).collect();
    writeln!(out, "Policies: {}.", ages.join("; "))
}

fn apps(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let mut rows: Vec<Vec<String>> = plan.apps.iter().take(SHOWN).map(|app| line(&name(app), &app.figures)).collect();
    if let Some(more) = plan.apps.get(SHOWN..).filter(|more| !more.is_empty()) {
        rows.push(line(&format!("{} more apps", more.len()), &sum(more.iter().map(|app| &app.figures))));
    }
    if plan.apps.len() > 1 {
        rows.push(line("all", &plan.total));
    }
    output::table(out, &["app", "oldest", "bundles", "rows", "size", "going", "rows", "size", "what stays"], &rows)?;
    writeln!(out, "A bundle is a workflow run, or a conversation with its messages and their runs, with every row that hangs on it.")
}

fn line(name: &str, figures: &Figures) -> Vec<String> {
    vec![
        name.to_owned(),
        day(figures.oldest),
        count(figures.bundles, figures.estimated),
        count(figures.rows, figures.rows_estimated),
        size(figures.bytes),
        count(figures.go_bundles, figures.estimated),
        count(figures.go_rows, figures.go_rows_estimated),
        size(figures.go_bytes),
        stays(&figures.stay, REASONS, figures.estimated),
    ]
}

fn tables(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let line = |table: &TableFigures| {
        vec![
            table.table.clone(),
            day(table.oldest),
            count(table.rows, table.rows_estimated),
            size(table.bytes),
            count(table.go_rows, table.go_rows_estimated),
            size(table.go_bytes),
        ]
    };
    let mut rows: Vec<Vec<String>> = plan.tables.iter().take(SHOWN_TABLES).map(line).collect();
    if let Some(more) = plan.tables.get(SHOWN_TABLES..).filter(|more| !more.is_empty()) {
        rows.push(line(&together(more)));
    }
    output::table(out, &["table", "oldest", "rows", "size", "rows going", "size"], &rows)
}

/// Several tables in one line.
fn together(tables: &[TableFigures]) -> TableFigures {
    TableFigures {
        table: format!("{} more tables", tables.len()),
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes: tables.iter().map(|table| table.bytes).sum(),
        oldest: tables.iter().filter_map(|table| table.oldest).min(),
        go_rows: tables.iter().map(|table| table.go_rows).sum(),
        go_bytes: tables.iter().map(|table| table.go_bytes).sum(),
        rows_estimated: tables.iter().any(|table| table.rows_estimated),
        go_rows_estimated: tables.iter().any(|table| table.go_rows_estimated),
    }
}

fn outlook(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let total = &plan.total;
    if !total.stay.is_empty() {
        writeln!(out, "Staying: {}.", stays(&total.stay, usize::MAX, total.estimated))?;
    }
    if total.go_bundles == 0 {
        return writeln!(out, "Going: nothing. No bundle is past the age that its policy says.");
    }
    let by_policy: Vec<String> = plan
        .policies
        .iter()
        .filter(|policy| policy.go_bundles > 0)
        .map(|policy| format!("{} by {}", count(policy.go_bundles, total.estimated), policy.name))
        .collect();
    let (bundles, rows) = (count(total.go_bundles, total.estimated), count(total.go_rows, total.go_rows_estimated));
    writeln!(out, "Going: {bundles} bundles ({}), {rows} rows, {}.", by_policy.join(", "), size(total.go_bytes))?;
    writeln!(out, "{}", plan.time.sentence())?;
    writeln!(out, "New rows use the space again; to give it back to the system, see `dify-janitor advise`.")?;
    writeln!(out, "Nothing was changed. `dify-janitor run --execute` {}.", plan.archive_sentence())
}

/// The app's name, as far as there is room; an app that is gone by its id.
fn name(app: &AppFigures) -> String {
    let Some(name) = &app.app else { return format!("(gone) {}", app.app_id.to_string().split_at(8).0) };
    // What people call their apps may hold line breaks and worse.
    let clean: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if output::width(&clean) <= NAME_WIDTH {
        return clean;
    }
    let mut short = String::new();
    for c in clean.chars() {
        short.push(c);
        if output::width(&short) >= NAME_WIDTH {
            short.pop();
            break;
        }
    }
    format!("{}…", short.trim_end())
}

/// The largest reasons first.
fn stays(stay: &BTreeMap<&'static str, u64>, most: usize, estimated: bool) -> String {
    let mut reasons: Vec<(&str, u64)> = stay.iter().map(|(reason, bundles)| (*reason, *bundles)).collect();
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let words = reasons.iter().take(most).map(|(reason, bundles)| format!("{} {}", count(*bundles, estimated), reason.replace('_', " ")));
    let mut text = words.collect::<Vec<_>>().join(", ");
    if reasons.len() > most {
        text.push_str(" …");
    }
    text
}

/// `1,234` up to five digits, `1.23M` beyond.
pub(super) fn count(number: u64, estimated: bool) -> String {
    let scaled = |by: f64, unit: &str| format!("{:.prec$}{unit}", number as f64 / by, prec = usize::from(number as f64 / by < 99.95));
    let text = match number {
        0..100_000 => thousands(number),
        100_000..1_000_000 => scaled(1e3, "K"),
        1_000_000..1_000_000_000 => scaled(1e6, "M"),
        _ => scaled(1e9, "G"),
    };
    if estimated { format!("~{text}") } else { text }
}

fn thousands(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// Sizes are always about: the bytes of an app are its share of the file.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let number = bytes as f64 / (1_u64 << shift) as f64;
            format!("{number:.prec$} {unit}", prec = usize::from(number < 99.95))
        }
        None => format!("{bytes} B"),
    }
}

fn day(time: Option<Micros>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string().split('T').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (12_345, "12,345"),
            (123_456, "123K"),
            (1_234_567, "1.2M"),
            (99_960_000, "100M"),
            (4_200_000_000, "4.2G"),
        ] {
            assert_eq!(count(number, false), text);
        }
        assert_eq!(count(7, true), "~7");
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (12 << 30, "12.0 GiB"), (740 << 30, "740 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn long_names_are_cut_and_gone_apps_have_their_id() {
        let app = |name: Option<&str>| name_of(name.map(str::to_owned));
        assert_eq!(app(Some("Support")), "Support");
        assert_eq!(app(Some("a\nb")), "a b");
        let long = app(Some("An app whose name is much too long for a column"));
        assert!(output::width(&long) <= NAME_WIDTH && long.ends_with('…'), "{long}");
        assert!(output::width(&app(Some("客服机器人客服机器人客服机器人"))) <= NAME_WIDTH);
        assert_eq!(app(None), "(gone) 00000000");
    }

    fn name_of(app: Option<String>) -> String {
        name(&AppFigures { app_id: uuid::Uuid::nil(), app, figures: Figures::default() })
    }

    #[test]
    fn the_largest_reasons_come_first() {
        let stay = BTreeMap::from([("held", 3), ("young", 100), ("kept_last", 7)]);
        assert_eq!(stays(&stay, 2, false), "100 young, 7 kept last …");
        assert_eq!(stays(&stay, 9, true), "~100 young, ~7 kept last, ~3 held");
    }
}
