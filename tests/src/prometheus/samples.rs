//! Raw samples, and sums of them that know about resets.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;

/// The raw samples of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Time in seconds and value, in the order of time.
    pub samples: Vec<(f64, f64)>,
    /// Native histogram samples as the API shows them.
    pub histograms: Vec<Value>,
}

impl Series {
    pub(super) fn from_json(entry: &Value) -> anyhow::Result<Self> {
        let values = entry["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            labels: labels(&entry["metric"])?,
            samples: values.iter().map(sample).collect::<anyhow::Result<_>>()?,
            histograms: entry["histograms"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        self.label("__name__")
    }

    /// The value of a label; empty where the series does not have it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// How much the counter grew between its first and last sample.
    pub fn increase(&self) -> f64 {
        increase(&self.samples)
    }
}

/// How much a counter grew from the first to the last sample: a smaller value is a reset, after which it began at 0.
///
/// The value of the first sample itself does not count, as in PromQL's `increase`: a series has to be born at 0 to be counted in
/// full. Unlike `increase` nothing is extrapolated.
pub fn increase(samples: &[(f64, f64)]) -> f64 {
    samples
        .windows(2)
        .map(|pair| {
            let (before, after) = (pair[0].1, pair[1].1);
            if after < before { after } else { after - before }
        })
        .sum()
}

/// The increases of many series, summed by some of their labels.
pub fn sums(series: &[Series], by: &[&str]) -> BTreeMap<Vec<String>, f64> {
    let mut sums = BTreeMap::new();
    for one in series {
        let key = by.iter().map(|label| one.label(label).to_owned()).collect();
        *sums.entry(key).or_insert(0.0) += one.increase();
    }
    sums
}

pub(super) fn labels(metric: &Value) -> anyhow::Result<BTreeMap<String, String>> {
    serde_json::from_value(metric.clone()).context("labels that are not text")
}

/// `[seconds, "value"]`
pub(super) fn sample(value: &Value) -> anyhow::Result<(f64, f64)> {
    let time = value[0].as_f64().context("a sample without a time")?;
    let text = value[1].as_str().context("a sample without a value")?;
    // Rust reads `NaN`, `+Inf` and `-Inf` as Prometheus writes them.
    Ok((time, text.parse().with_context(|| format!("a sample of `{text}`"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_value_is_a_reset() {
        assert_eq!(increase(&[(0.0, 0.0), (1.0, 5.0), (2.0, 2.0), (3.0, 4.0)]), 9.0);
    }

    #[test]
    fn the_first_value_does_not_count() {
        assert_eq!(increase(&[(0.0, 7.0), (1.0, 8.0)]), 1.0);
        assert_eq!(increase(&[(0.0, 7.0)]), 0.0);
    }

    #[test]
    fn infinities_are_read() {
        assert_eq!(sample(&serde_json::json!([1.5, "+Inf"])).unwrap(), (1.5, f64::INFINITY));
    }
}
