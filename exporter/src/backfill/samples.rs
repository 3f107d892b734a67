//! Samples out of totals: what moved since the last time, as OpenMetrics lines with timestamps.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use dify_observe_core::dify::time::Micros;

use crate::births::BirthRules;
use crate::encode::{Answer, Format};
use crate::store::{GaugeSet, Totals};

/// A series that does not move has a sample at least this often while anything moves.
const KEEP_ALIVE: i64 = 6 * 3600 * 1_000_000;
/// What the exporter says about itself is not of the past.
const OWN: &str = "dify_exporter_";

/// The writer of one file.
pub(super) struct Samples<W> {
    out: W,
    /// `name="value",…` of every series, or nothing.
    labels: String,
    step: i64,
    last: HashMap<String, Last>,
    text: Vec<u8>,
    lines: u64,
}

/// What a series had when it was last written.
struct Last {
    value: String,
    at: i64,
}

impl<W: Write> Samples<W> {
    pub(super) fn new(out: W, labels: &[(String, String)], step: Duration) -> Self {
        let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1_000_000);
        Samples { out, labels: labels.join(","), step, last: HashMap::new(), text: Vec::new(), lines: 0 }
    }

    /// Samples written.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The end of the step in which a time lies. Steps begin at multiples of their length, so that two files fit together.
    pub(super) fn end_of_step(&self, at: Micros) -> Micros {
        Micros((at.0.div_euclid(self.step) + 1).saturating_mul(self.step))
    }

    /// Writes what moved in the step that ends at `end`.
    pub(super) fn write(&mut self, end: Micros, totals: &mut Totals) -> io::Result<()> {
        show_all(totals, end);
        self.text.clear();
        let nothing = GaugeSet::new(totals.scheme().clone());
        Answer { totals, gauges: &nothing }.encode(Format::Text, &mut self.text);
        let text = std::mem::take(&mut self.text);
        for line in text.split(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(line).map_err(io::Error::other)?;
            if let Some((series, value)) = sample(line) {
                self.write_sample(series, value, end.0)?;
            }
        }
        self.text = text;
        Ok(())
    }

    fn write_sample(&mut self, series: &str, value: &str, at: i64) -> io::Result<()> {
        let before = at - self.step;
        let Some(last) = self.last.get_mut(series) else {
            // Prometheus ignores the first value of a series, so each begins at 0, one step earlier.
            self.last.insert(series.to_owned(), Last { value: value.to_owned(), at });
            self.line(series, "0", before)?;
            return self.line(series, value, at);
        };
        let moved = last.value != value;
        if !moved && at - last.at < KEEP_ALIVE {
            return Ok(());
        }
        let previous = (moved && last.at < before).then(|| std::mem::replace(&mut last.value, value.to_owned()));
        if moved && previous.is_none() {
            value.clone_into(&mut last.value);
        }
        last.at = at;
        if let Some(previous) = previous {
            self.line(series, &previous, before)?;
        }
        self.line(series, value, at)
    }

    fn line(&mut self, series: &str, value: &str, at: i64) -> io::Result<()> {
        self.lines += 1;
        let seconds = format_args!("{}.{:03}", at.div_euclid(1_000_000), at.rem_euclid(1_000_000) / 1000).to_string();
        let extra = &self.labels;
        match series.split_once('{') {
            Some((name, rest)) if !extra.is_empty() => writeln!(self.out, "{name}{{{extra},{rest} {value} {seconds}"),
            None if !extra.is_empty() => writeln!(self.out, "{series}{{{extra}}} {value} {seconds}"),
            _ => writeln!(self.out, "{series} {value} {seconds}"),
        }
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(b"# EOF\n")?;
        self.out.flush()
    }
}

/// In the past nobody has to be waited for: every label set shows its value.
fn show_all(totals: &mut Totals, now: Micros) {
    let ticket = totals.begin_answer();
    totals.answered(ticket, now);
    totals.ripen(BirthRules { answers: 1, hold: Duration::ZERO }, now);
}

/// Series and value of a line; `None` for comments and for what the exporter says about itself.
fn sample(line: &str) -> Option<(&str, &str)> {
    if line.starts_with('#') || line.starts_with(OWN) {
        return None;
    }
    line.rsplit_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::store::{Labels, Scheme};

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hour: i64) -> Micros {
        Micros::from_secs(hour * 3600)
    }

    fn text(samples: Samples<Vec<u8>>) -> String {
        String::from_utf8(samples.out).unwrap()
    }

    #[test]
    fn a_series_begins_at_zero_and_keeps_the_increase_in_its_step() {
        let mut totals = Totals::new(Scheme::default());
        let mut samples = Samples::new(Vec::new(), &[("job".into(), "dify".into())], HOUR);
        let labels = Labels::global(["runs"]);
        totals.add(&catalogue::VANISHED_RECORDS, &labels, 2);
        let family = &catalogue::DOCUMENT_INDEXING;
        totals.observe(family, Labels::global(["a"]), 1.0, None);
        samples.write(at(1), &mut totals).unwrap();
        totals.observe(family, Labels::global(["a"]), 1.0, None);
        samples.write(at(4), &mut totals).unwrap();
        samples.finish().unwrap();
        let text = text(samples);
        let counts: Vec<&str> = text.lines().filter(|line| line.starts_with("dify_document_indexing_seconds_count")).collect();
        let series = "dify_document_indexing_seconds_count{job=\"dify\",dataset=\"a\"}";
        let expected = ["0 0.000", "1 3600.000", "1 10800.000", "2 14400.000"].map(|sample| format!("{series} {sample}"));
        assert_eq!(counts, expected);
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("dify_exporter_"), "{text}");
    }

    #[test]
    fn steps_lie_on_a_grid() {
        let samples = Samples::new(Vec::new(), &[], HOUR);
        assert_eq!(samples.end_of_step(Micros(at(1).0 - 1)), at(1));
        assert_eq!(samples.end_of_step(at(1)), at(2));
    }

    #[test]
    fn what_stands_still_is_kept_alive() {
        let mut samples = Samples::new(Vec::new(), &[], HOUR);
        for hour in 1..=8 {
            samples.write_sample("x", "1", at(hour).0).unwrap();
        }
        assert_eq!(text(samples), "x 0 0.000\nx 1 3600.000\nx 1 25200.000\n");
    }
}
