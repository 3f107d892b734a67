//! `[exporter]`: the metrics and how they are served.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::dify::time::Micros;

/// The metrics of dify-exporter and how they are served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExporterSettings {
    /// Address and port of `/metrics`, `/livez`, `/readyz`, `/position` and the landing page. `0.0.0.0:9810` is reachable from
    /// other hosts: think of `exporter.web_config_file` then.
    pub listen: String,
    /// A file with TLS and basic authentication in the format of Prometheus' exporter-toolkit; see `web-config.md`.
    pub web_config_file: Option<PathBuf>,
    /// Where counting begins at the very first start: `now`, `beginning` (all that is stored), or a time such as
    /// `2026-01-31` or `2026-01-31T08:00:00Z`. Later starts go on where they stopped. Older records belong to `backfill`.
    pub start: Start,
    /// The database is asked at most this often, however many scrapes arrive. `0s` asks at every scrape.
    #[serde(with = "humantime_serde")]
    pub min_interval: Duration,
    /// How long a new series stays at 0 before its first value is shown: Prometheus ignores the first value it sees. At least two of
    /// the longest scrape intervals. Longer delays the first values; `0s` loses them for rates.
    #[serde(with = "humantime_serde")]
    pub birth_hold: Duration,
    /// How often families that no index serves by time are read (feedback of old messages, documents, active users, table statistics).
    #[serde(with = "humantime_serde")]
    pub slow_interval: Duration,
    /// A table with more estimated rows than this is left out of the slow families; `check` names it. Larger costs the database more.
    pub slow_max_rows: u64,
    /// Age from which an open run counts as `stale` in `dify_workflow_runs_open`.
    #[serde(with = "humantime_serde")]
    pub stale_after: Duration,
    /// How many failures in a row make a streak (`dify_failure_streaks_total`).
    pub streak_length: u32,
    /// Label sets kept per family. What is new beyond them is counted under `other`, and in `dify_exporter_series_folded_total`. Each
    /// costs memory here and in Prometheus.
    pub max_series_per_family: usize,
    /// Whether app metrics carry the label `app`, the app's name, beside `app_id`. Without it a renamed app keeps its series.
    pub app_name_label: bool,
    /// Whether to publish the numbers of Dify's own Monitoring page as `dify_console_*`. They cost one pass over the day's messages per
    /// `exporter.slow_interval`.
    pub console_statistics: bool,
    /// The time zone in which a day begins for `dify_console_*`, by its IANA name such as `Asia/Shanghai`: the one of the Dify account.
    pub console_time_zone: String,
}

impl Default for ExporterSettings {
    fn default() -> Self {
        ExporterSettings {
            listen: "127.0.0.1:9810".to_owned(),
            web_config_file: None,
            start: Start::Now,
            min_interval: Duration::from_secs(1),
            birth_hold: Duration::from_secs(2 * 60),
            slow_interval: Duration::from_secs(5 * 60),
            slow_max_rows: 500_000,
            stale_after: Duration::from_secs(3600),
            streak_length: 3,
            max_series_per_family: 2000,
            app_name_label: true,
            console_statistics: false,
            console_time_zone: "UTC".to_owned(),
        }
    }
}

impl ExporterSettings {
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        super::validate_listen(&self.listen).map_err(|message| ("listen", message))?;
        if self.streak_length == 0 {
            return Err(("streak_length", "is 0: at least one failure makes a streak, so write 1 or more".to_owned()));
        }
        if self.max_series_per_family == 0 {
            return Err(("max_series_per_family", "is 0, which would fold everything into `other`: write 1 or more".to_owned()));
        }
        if self.slow_interval.is_zero() {
            return Err(("slow_interval", "is 0, which would read whole tables without pause: write a duration such as \"5m\"".to_owned()));
        }
        if self.console_time_zone.parse::<chrono_tz::Tz>().is_err() {
            let message =
                format!("is {:?}, which is not an IANA time zone: write a name such as \"Europe/Berlin\"", self.console_time_zone);
            return Err(("console_time_zone", message));
        }
        Ok(())
    }
}

/// Where counting begins at the very first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is created from now on.
    #[default]
    Now,
    /// With the oldest stored record.
    Beginning,
    /// With what was created at or after this time.
    At(Micros),
}

impl Start {
    /// Reads `now`, `beginning`, a date (its first moment in UTC) or a time with its offset.
    pub fn parse(text: &str) -> Option<Start> {
        match text.trim() {
            "now" => Some(Start::Now),
            "beginning" => Some(Start::Beginning),
            text => {
                let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
                let date = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc());
                time.ok().or_else(date).map(|time| Start::At(Micros(time.timestamp_micros())))
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Now => f.write_str("now"),
            Start::Beginning => f.write_str("beginning"),
            Start::At(time) => time.fmt(f),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// TOML has times of its own, without quotes.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrTime {
            Text(String),
            Time(toml::value::Datetime),
        }
        let message = "write \"now\", \"beginning\", or a time such as \"2026-01-31\" or \"2026-01-31T08:00:00Z\"";
        let text = match TextOrTime::deserialize(deserializer) {
            Ok(TextOrTime::Text(text)) => text,
            Ok(TextOrTime::Time(time)) => time.to_string(),
            Err(_) => return Err(D::Error::custom(message)),
        };
        Start::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a start: {message}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_a_date_or_a_time() {
        assert_eq!(Start::parse("now"), Some(Start::Now));
        assert_eq!(Start::parse("beginning"), Some(Start::Beginning));
        assert_eq!(Start::parse("1970-01-02"), Some(Start::At(Micros::from_secs(86_400))));
        assert_eq!(Start::parse("1970-01-01T02:00:00.5+02:00"), Some(Start::At(Micros(500_000))));
        for wrong in ["", "yesterday", "1970-13-01", "1970-01-01T00:00:00"] {
            assert_eq!(Start::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_start_reads_toml_text_and_toml_dates() {
        for text in ["start = \"1970-01-02\"", "start = 1970-01-02", "start = 1970-01-02T00:00:00Z"] {
            assert_eq!(toml::from_str::<ExporterSettings>(text).unwrap().start, Start::At(Micros::from_secs(86_400)), "{text}");
        }
        let error = toml::from_str::<ExporterSettings>("start = 3").unwrap_err();
        assert!(error.message().contains("beginning"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_way_out() {
        let refused = |change: fn(&mut ExporterSettings)| {
            let mut settings = ExporterSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().0
        };
        assert_eq!(refused(|s| s.listen = "9810".to_owned()), "listen");
        assert_eq!(refused(|s| s.streak_length = 0), "streak_length");
        assert_eq!(refused(|s| s.max_series_per_family = 0), "max_series_per_family");
        assert_eq!(refused(|s| s.slow_interval = Duration::ZERO), "slow_interval");
        assert_eq!(refused(|s| s.console_time_zone = "Mars".to_owned()), "console_time_zone");
        assert_eq!(ExporterSettings::default().validate(), Ok(()));
    }
}
