//! The two text formats: OpenMetrics 1.0.0 and Prometheus' classic 0.0.4.

use super::{Answer, number};
use crate::catalogue;
use crate::store::{Exemplar, Exposed, ExposedSeries, FamilyDef, FamilyKind, Histogram};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    OpenMetrics,
    Classic,
}

/// Writes a whole answer.
pub(super) fn write(answer: &Answer<'_>, flavor: Flavor, out: &mut Vec<u8>) {
    for family in catalogue::all() {
        let names: Vec<&str> = answer.totals.scheme().label_names(family).collect();
        let mut text = FamilyText { family, flavor, names, has_head: false, labels: Vec::with_capacity(256), out };
        for series in answer.totals.exposed(family) {
            text.total(series);
        }
        for (labels, value) in answer.gauges.series(family) {
            text.series(labels.iter().map(|label| &**label));
            text.sample(family.suffix());
            number::float(text.out, value);
            text.out.push(b'\n');
        }
    }
    if flavor == Flavor::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// The text of one family.
struct FamilyText<'a> {
    family: &'static FamilyDef,
    flavor: Flavor,
    names: Vec<&'a str>,
    has_head: bool,
    /// The labels of the series that is being written, without braces.
    labels: Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl FamilyText<'_> {
    fn total(&mut self, series: ExposedSeries<'_>) {
        self.series(series.label_values());
        match series.value() {
            Exposed::Counter(total, exemplar) => {
                self.sample(self.family.suffix());
                number::display(self.out, total);
                self.exemplar(exemplar);
            }
            Exposed::Decimal(total) => {
                self.sample(self.family.suffix());
                number::display(self.out, total);
                self.exemplar(None);
            }
            Exposed::Histogram(histogram) => self.histogram(histogram),
        }
    }

    /// Begins a series: writes the family's head if it is the first, and keeps the labels.
    fn series<'v>(&mut self, values: impl Iterator<Item = &'v str>) {
        if !self.has_head {
            self.has_head = true;
            self.head();
        }
        self.labels.clear();
        for (name, value) in self.names.iter().zip(values) {
            if !self.labels.is_empty() {
                self.labels.push(b',');
            }
            self.labels.extend_from_slice(name.as_bytes());
            self.labels.extend_from_slice(b"=\"");
            escape(&mut self.labels, value);
            self.labels.push(b'"');
        }
    }

    fn head(&mut self) {
        let (family, out) = (self.family, &mut *self.out);
        let open_metrics = self.flavor == Flavor::OpenMetrics;
        let (suffix, kind) = match family.kind {
            FamilyKind::Counter | FamilyKind::DecimalCounter => ("_total", "counter"),
            FamilyKind::Histogram(_) => ("", "histogram"),
            FamilyKind::Gauge => ("", "gauge"),
            FamilyKind::Info => ("_info", if open_metrics { "info" } else { "gauge" }),
        };
        // OpenMetrics names the family, the classic format the sample.
        let suffix = if open_metrics { "" } else { suffix };
        line(out, &["# HELP ", family.name, suffix, " ", family.help]);
        line(out, &["# TYPE ", family.name, suffix, " ", kind]);
        if let (true, Some(unit)) = (open_metrics, family.unit) {
            line(out, &["# UNIT ", family.name, " ", unit]);
        }
    }

    /// Writes the name and labels of a sample, up to its value.
    fn sample(&mut self, suffix: &str) {
        self.name(suffix);
        if !self.labels.is_empty() {
            self.out.push(b'{');
            self.out.extend_from_slice(&self.labels);
            self.out.push(b'}');
        }
        self.out.push(b' ');
    }

    fn name(&mut self, suffix: &str) {
        self.out.extend_from_slice(self.family.name.as_bytes());
        self.out.extend_from_slice(suffix.as_bytes());
    }

    fn bucket(&mut self, bound: Option<f64>) {
        self.name("_bucket{");
        self.out.extend_from_slice(&self.labels);
        self.out.extend_from_slice(if self.labels.is_empty() { b"le=\"" } else { b",le=\"" });
        match bound {
            Some(bound) => number::bound(self.out, bound),
            None => self.out.extend_from_slice(b"+Inf"),
        }
        self.out.extend_from_slice(b"\"} ");
    }

    fn histogram(&mut self, histogram: Option<&Histogram>) {
        let FamilyKind::Histogram(bounds) = self.family.kind else { return };
        let mut cumulated = 0;
        for bucket in 0..=bounds.len() {
            cumulated += histogram.and_then(|histogram| histogram.buckets().get(bucket)).copied().unwrap_or(0);
            self.bucket(bounds.get(bucket).copied());
            number::display(self.out, cumulated);
            self.exemplar(histogram.and_then(|histogram| histogram.exemplar(bucket)));
        }
        self.sample("_sum");
        number::float(self.out, histogram.map_or(0.0, Histogram::sum));
        self.out.push(b'\n');
        self.sample("_count");
        number::display(self.out, cumulated);
        self.out.push(b'\n');
    }

    /// Ends the line of a sample, with its exemplar where the format has them.
    fn exemplar(&mut self, exemplar: Option<&Exemplar>) {
        if let (Some(exemplar), Flavor::OpenMetrics) = (exemplar, self.flavor) {
            self.out.extend_from_slice(b" # {trace_id=\"");
            number::display(self.out, exemplar.trace_id.simple());
            self.out.extend_from_slice(b"\"} ");
            number::float(self.out, exemplar.value);
            self.out.push(b' ');
            number::float(self.out, exemplar.timestamp.as_secs_f64());
        }
        self.out.push(b'\n');
    }
}

fn line(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.push(b'\n');
}

fn escape(out: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(br"\\"),
            b'"' => out.extend_from_slice(br#"\""#),
            b'\n' => out.extend_from_slice(br"\n"),
            _ => out.push(byte),
        }
    }
}
