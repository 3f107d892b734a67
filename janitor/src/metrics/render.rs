//! Prometheus' text format 0.0.4: the one that scrapes, Pushgateway and textfile collector all read.

use std::fmt::{Display, Write as _};

const PREFIX: &str = "dify_janitor_";

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn gauge<L: Display, V: Display>(&mut self, name: &str, help: &str, label: &str, values: impl IntoIterator<Item = (L, V)>) {
        self.family(name, help, "gauge", label, values);
    }

    pub(super) fn counter<L: Display, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.family(name, help, "counter", label, values);
    }

    pub(super) fn single_counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {value}"));
    }

    /// `counts` are of each bucket alone, the last one of what is above all bounds.
    pub(super) fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        self.head(name, help, "histogram");
        let mut total = 0;
        let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            total += count;
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {total}"));
        }
        self.line(format_args!("{name}_sum {sum}"));
        self.line(format_args!("{name}_count {total}"));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, help, kind);
        for (of, value) in values {
            self.line(format_args!("{name}{{{label}=\"{}\"}} {value}", escape(&of.to_string())));
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str("# HELP ");
        self.line(format_args!("{name} {help}"));
        self.0.push_str("# TYPE ");
        self.line(format_args!("{name} {kind}"));
    }

    fn line(&mut self, rest: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{PREFIX}{rest}").expect("a text takes everything");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut page = Page::default();
        page.gauge("g", "Help", "policy", [("a\"b\\c\n", 1.5)]);
        let expected = "# HELP dify_janitor_g Help\n# TYPE dify_janitor_g gauge\ndify_janitor_g{policy=\"a\\\"b\\\\c\\n\"} 1.5\n";
        assert_eq!(page.finish(), expected);
    }
}
