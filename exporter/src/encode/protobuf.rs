//! Prometheus' protobuf, one length-delimited `io.prometheus.client.MetricFamily` after the other. Only one family is
//! built at a time, so the memory that an answer needs does not grow with the number of families.

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as model;
use prost::Message;

use super::{Answer, number};
use crate::catalogue;
use crate::store::{Exemplar, Exposed, ExposedSeries, FamilyDef, FamilyKind, Histogram, Native, ZERO_THRESHOLD};

/// Writes a whole answer.
pub(super) fn write(answer: &Answer<'_>, out: &mut Vec<u8>) {
    for family in catalogue::all() {
        let names: Vec<&str> = answer.totals.scheme().label_names(family).collect();
        let totals = answer.totals.exposed(family).map(|series| total(family, &names, series));
        let gauges = answer.gauges.series(family).map(|(labels, value)| {
            let labels = label_pairs(&names, labels.iter().map(|label| &**label));
            found_anew(family, labels, value)
        });
        let metric: Vec<model::Metric> = totals.chain(gauges).collect();
        if !metric.is_empty() {
            let encoded = head(family, metric).encode_length_delimited(out);
            encoded.expect("a vector has room for any message");
        }
    }
}

fn head(family: &FamilyDef, metric: Vec<model::Metric>) -> model::MetricFamily {
    let kind = match family.kind {
        FamilyKind::Counter | FamilyKind::DecimalCounter => model::MetricType::Counter,
        FamilyKind::Histogram(_) => model::MetricType::Histogram,
        FamilyKind::Gauge | FamilyKind::Info => model::MetricType::Gauge,
    };
    model::MetricFamily {
        name: family.exposed_name(),
        help: family.help.to_owned(),
        r#type: kind.into(),
        metric,
        unit: family.unit.unwrap_or_default().to_owned(),
    }
}

fn label_pairs<'a>(names: &[&str], values: impl Iterator<Item = &'a str>) -> Vec<model::LabelPair> {
    names.iter().zip(values).map(|(name, value)| model::LabelPair { name: (*name).to_owned(), value: value.to_owned() }).collect()
}

fn total(family: &FamilyDef, names: &[&str], series: ExposedSeries<'_>) -> model::Metric {
    let mut metric = model::Metric { label: label_pairs(names, series.label_values()), ..model::Metric::default() };
    match series.value() {
        Exposed::Counter(total, last) => {
            metric.counter = Some(model::Counter { value: total as f64, exemplar: last.map(exemplar), start_timestamp: None });
        }
        Exposed::Decimal(total) => metric.counter = Some(counter(number::float_of(total))),
        Exposed::Histogram(shown) => metric.histogram = Some(histogram(family, shown)),
    }
    metric
}

fn found_anew(family: &FamilyDef, label: Vec<model::LabelPair>, value: f64) -> model::Metric {
    let mut metric = model::Metric { label, ..model::Metric::default() };
    match family.kind {
        FamilyKind::Counter | FamilyKind::DecimalCounter => metric.counter = Some(counter(value)),
        FamilyKind::Gauge | FamilyKind::Info | FamilyKind::Histogram(_) => metric.gauge = Some(model::Gauge { value }),
    }
    metric
}

/// Without a start time: totals go on across restarts, so there is none that would be right.
fn counter(value: f64) -> model::Counter {
    model::Counter { value, exemplar: None, start_timestamp: None }
}

fn exemplar(exemplar: &Exemplar) -> model::Exemplar {
    let trace_id = model::LabelPair { name: "trace_id".to_owned(), value: exemplar.trace_id.simple().to_string() };
    let mut message = model::Exemplar { label: vec![trace_id], value: exemplar.value, timestamp: None };
    let timestamp = message.timestamp.get_or_insert_default();
    timestamp.seconds = exemplar.timestamp.0.div_euclid(1_000_000);
    timestamp.nanos = i32::try_from(exemplar.timestamp.0.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    message
}

/// Classic and native buckets together: a server stores what it was told to.
fn histogram(family: &FamilyDef, shown: Option<&Histogram>) -> model::Histogram {
    let FamilyKind::Histogram(bounds) = family.kind else { return model::Histogram::default() };
    let none = Native::default();
    let native = shown.map_or(&none, Histogram::native);
    let (positive_span, positive_delta) = spans(&native.positive);
    let (negative_span, negative_delta) = spans(&native.negative);
    model::Histogram {
        sample_count: shown.map_or(0, Histogram::count),
        sample_sum: shown.map_or(0.0, Histogram::sum),
        bucket: classic_buckets(bounds, shown),
        schema: i32::from(shown.map_or(Native::FINEST_SCHEMA, |_| native.schema)),
        // Set even where no bucket is, because it is what says that there are native buckets.
        zero_threshold: ZERO_THRESHOLD,
        zero_count: native.zero,
        negative_span,
        negative_delta,
        positive_span,
        positive_delta,
        ..model::Histogram::default()
    }
}

fn classic_buckets(bounds: &[f64], shown: Option<&Histogram>) -> Vec<model::Bucket> {
    let mut cumulative_count = 0;
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let bucket = |(at, upper_bound)| {
        cumulative_count += shown.and_then(|histogram| histogram.buckets().get(at)).copied().unwrap_or(0);
        let exemplar = shown.and_then(|histogram| histogram.exemplar(at)).map(exemplar);
        model::Bucket { cumulative_count, upper_bound, exemplar, ..model::Bucket::default() }
    };
    bounds.enumerate().map(bucket).collect()
}

/// Sparse buckets as Prometheus has them: runs of neighbours, and the difference from one count to the next.
fn spans(buckets: &[(i32, u64)]) -> (Vec<model::BucketSpan>, Vec<i64>) {
    let mut spans: Vec<model::BucketSpan> = Vec::new();
    let mut deltas = Vec::with_capacity(buckets.len());
    let (mut next_index, mut last_count) = (0, 0);
    for (index, count) in buckets {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        match spans.last_mut() {
            Some(span) if *index == next_index => span.length += 1,
            _ => spans.push(model::BucketSpan { offset: index - next_index, length: 1 }),
        }
        deltas.push(count - last_count);
        (next_index, last_count) = (index + 1, count);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_runs_of_neighbours() {
        let (spans, deltas) = spans(&[(-3, 2), (-2, 5), (4, 1), (5, 1)]);
        let spans: Vec<(i32, u32)> = spans.iter().map(|span| (span.offset, span.length)).collect();
        assert_eq!(spans, [(-3, 2), (5, 2)]);
        assert_eq!(deltas, [2, 3, -4, 0]);
    }
}
