//! Which format and encoding a request asks for.

/// A format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0 text, with exemplars.
    OpenMetrics,
    /// Prometheus' own text, 0.0.4; what a browser gets.
    Text,
    /// Prometheus' protobuf, length-delimited: classic and native histograms, with exemplars.
    Protobuf,
}

impl Format {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::Protobuf => "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        }
    }
}

/// The format that an `Accept` header likes best: by weight, then by its own order. Without a header, or where it names
/// nothing that we have, it is the classic text.
pub fn negotiate(accept: Option<&str>) -> Format {
    let mut best = (0, Format::Text);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let Some(format) = format_of(media_type, &parameters) else { continue };
        let weight = weight(&parameters);
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

/// Whether an `Accept-Encoding` header allows gzip.
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    accept_encoding.unwrap_or_default().split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        is_gzip && weight(&parameters) > 0
    })
}

fn format_of(media_type: &str, parameters: &[(&str, &str)]) -> Option<Format> {
    let has = |name: &str, allowed: &[&str]| match value(parameters, name) {
        Some(value) => allowed.contains(&value),
        None => true,
    };
    match media_type.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => has("version", &["1.0.0", "0.0.1"]).then_some(Format::OpenMetrics),
        "application/vnd.google.protobuf" => {
            let is_ours = value(parameters, "proto") == Some("io.prometheus.client.MetricFamily") && has("encoding", &["delimited"]);
            is_ours.then_some(Format::Protobuf)
        }
        "text/plain" => has("version", &["0.0.4"]).then_some(Format::Text),
        "text/*" | "*/*" => Some(Format::Text),
        _ => None,
    }
}

fn value<'a>(parameters: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().trim_matches('"'))
}

/// `q` in thousandths; 1000 when there is none, 0 when it is not a weight.
fn weight(parameters: &[(&str, &str)]) -> u32 {
    match value(parameters, "q").map(str::parse::<f64>) {
        None => 1000,
        Some(Ok(q)) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u32,
        Some(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_with_native_histograms_gets_protobuf() {
        let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiate(Some(accept)), Format::Protobuf);
    }

    #[test]
    fn prometheus_without_gets_openmetrics() {
        let accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiate(Some(accept)), Format::OpenMetrics);
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(negotiate(Some(prometheus_3)), Format::OpenMetrics);
    }

    #[test]
    fn everybody_else_gets_text() {
        for accept in
            [None, Some(""), Some("*/*"), Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some("nonsense;;q=")]
        {
            assert_eq!(negotiate(accept), Format::Text, "{accept:?}");
        }
    }

    #[test]
    fn the_weight_decides_not_the_order() {
        assert_eq!(negotiate(Some("text/plain;q=0.2, application/openmetrics-text; q=0.9")), Format::OpenMetrics);
        assert_eq!(negotiate(Some("application/openmetrics-text;q=0, text/plain;q=0.1")), Format::Text);
        assert_eq!(negotiate(Some("application/openmetrics-text;version=2.0.0, text/plain;q=0.1")), Format::Text);
        assert_eq!(negotiate(Some("application/vnd.google.protobuf;proto=other.Thing, text/plain;q=0.1")), Format::Text);
    }

    #[test]
    fn gzip_is_an_offer_not_a_guess() {
        assert!(accepts_gzip(Some("gzip")) && accepts_gzip(Some("deflate, GZIP;q=0.5")));
        assert!(!accepts_gzip(None) && !accepts_gzip(Some("identity")) && !accepts_gzip(Some("gzip;q=0")));
    }
}
