//! The report for people.

use std::io::{self, Write};

use super::{Report, Stop};

/// Writes the report in sentences and a table, at most 100 columns wide.
pub fn write_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", headline(report))?;
    if let Some(problem) = &report.problem {
        writeln!(out, "{problem}")?;
    }
    tables(report, out)?;
    line(out, "bundles", report.bundles.iter().map(|(result, count)| (result.as_str(), *count)))?;
    line(out, "stay", report.stays.iter().map(|(reason, count)| (reason.as_str(), *count)))?;
    line(out, "by policy", report.policies.iter().map(|(policy, count)| (policy.as_str(), *count)))?;
    recovered(report, out)?;
    if report.revenants > 0 {
        writeln!(out, "came back after their deletion and were made whole: {}", report.revenants)?;
    }
    if !report.throttled.is_empty() {
        let waited: Vec<String> = report.throttled.iter().map(|(reason, time)| format!("{reason} {:.1} s", time.as_secs_f64())).collect();
        writeln!(out, "waited: {}", waited.join(", "))?;
    }
    writeln!(out, "{}", remaining(report))
}

fn headline(report: &Report) -> String {
    let why = match report.outcome {
        Stop::Completed => "everything that is due was looked at",
        Stop::TimeBudget => "the time budget is used up",
        Stop::Window => "janitor.window is closed",
        Stop::MaxRows => "--max-rows is reached",
        Stop::Signal => "asked to end",
        Stop::Paused => "the pause file is there",
        Stop::Throttled => "the database is too busy",
        Stop::Guarded => "janitor.wait_for does not allow more",
        Stop::Locked => "another dify-janitor is at work",
        Stop::Refused => "refused",
        Stop::Database => "the database cannot be had",
        Stop::Archive => "the archive cannot be had",
        Stop::Failed => "failed",
    };
    let rows = number(report.rows_deleted());
    format!("{rows} rows deleted in {:.1} s; stopped: {why}", report.took.as_secs_f64())
}

fn tables(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.tables.is_empty() {
        return Ok(());
    }
    let width = report.tables.keys().map(String::len).max().unwrap_or(0).max(5);
    writeln!(out, "{:width$}  {:>12}  {:>13}  {:>16}  {:>10}", "table", "rows deleted", "rows archived", "archive bytes", "delete s")?;
    for (name, table) in &report.tables {
        let (deleted, archived, bytes) = (number(table.rows_deleted), number(table.rows_archived), number(table.bytes_archived));
        let seconds = table.delete_time.as_secs_f64();
        writeln!(out, "{name:width$}  {deleted:>12}  {archived:>13}  {bytes:>16}  {seconds:>10.1}")?;
    }
    Ok(())
}

fn line<'a>(out: &mut impl Write, title: &str, counts: impl Iterator<Item = (&'a str, u64)>) -> io::Result<()> {
    let counts: Vec<String> = counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {}", number(count))).collect();
    if counts.is_empty() { Ok(()) } else { writeln!(out, "{title}: {}", counts.join(", ")) }
}

fn recovered(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let recovered = &report.recovered;
    if recovered.batches == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "left by an earlier run: {} batches; bundles gone {}, finished {}, put back {}, untouched {}",
        recovered.batches, recovered.gone, recovered.finished, recovered.put_back, recovered.untouched
    )
}

fn remaining(report: &Report) -> String {
    match (report.remaining.bundles, report.remaining.more) {
        (0, false) => "nothing is left that is due".to_owned(),
        (0, true) => "more may be due: the next run goes on".to_owned(),
        (bundles, false) => format!("{} bundles that are due are left to the next run", number(bundles)),
        (bundles, true) => format!("at least {} bundles that are due are left to the next run", number(bundles)),
    }
}

/// Digits in groups of three.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dify_observe_core::dify::time::Micros;

    use super::super::{BundleResult, Recovered, Remaining};
    use super::*;

    #[test]
    fn reads_as_sentences_and_a_table() {
        let mut report = Report::new(Micros(0));
        report.outcome = Stop::TimeBudget;
        report.took = Duration::from_secs(61);
        report.count(BundleResult::Deleted, 1200);
        report.count(BundleResult::Changed, 2);
        report.stay("held", 3);
        report.recovered = Recovered { batches: 1, gone: 5, finished: 1, put_back: 0, untouched: 4 };
        report.waited("replica_lag", Duration::from_millis(1500));
        report.remaining = Remaining { bundles: 2, more: true };
        let table = report.table("workflow_runs");
        (table.rows_deleted, table.rows_archived, table.bytes_archived) = (1200, 1202, 1_234_567);
        let mut out = Vec::new();
        write_text(&report, &mut out).unwrap();
        let expected = "\
1,200 rows deleted in 61.0 s; stopped: the time budget is used up
table          rows deleted  rows archived     archive bytes    delete s
workflow_runs         1,200          1,202         1,234,567         0.0
bundles: deleted 1,200, changed 2
stay: held 3
left by an earlier run: 1 batches; bundles gone 5, finished 1, put back 0, untouched 4
waited: replica_lag 1.5 s
at least 2 bundles that are due are left to the next run
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_run_with_nothing_to_do_says_so_in_two_lines() {
        let mut out = Vec::new();
        write_text(&Report::new(Micros(0)), &mut out).unwrap();
        let expected = "0 rows deleted in 0.0 s; stopped: everything that is due was looked at\nnothing is left that is due\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn digits_stand_in_groups() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
