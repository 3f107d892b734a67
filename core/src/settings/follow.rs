//! `[follow]`: how the follower reads what is new.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the follower reads what is new in Dify's tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FollowSettings {
    /// How far behind the database's clock the live position stays (default 2m). Rows that commit later than this after
    /// their own time are found by the trailing walks. Grows by itself to twice the lateness seen, at most 30m.
    #[serde(with = "humantime_serde")]
    pub overlap: Duration,
    /// Delays at which the same walk is repeated for rows that committed late (default 10m, 1h, 6h, 24h).
    #[serde(with = "durations")]
    pub trail: Vec<Duration>,
    /// How long ids are remembered, and how late a row may commit after its own time (default 24h).
    #[serde(with = "humantime_serde")]
    pub horizon: Duration,
    /// Age at which a run that still says "running" is closed as abandoned (default 24h). Paused runs never are.
    #[serde(with = "humantime_serde")]
    pub abandon_after: Duration,
    /// How long a record must have been seen final before it is taken (default 5s): Dify writes some rows twice.
    #[serde(with = "humantime_serde")]
    pub settle: Duration,
    /// How long a closed run waits for node executions that still say "running", and a message for its content, before
    /// they are taken as they are (default 60s).
    #[serde(with = "humantime_serde")]
    pub interrupt_after: Duration,
    /// Most records read in one step (default 1000); catching up takes many steps. Larger is a little faster and holds more memory.
    pub page_rows: u32,
    /// Most bytes of one text or JSON value that are fetched; what is longer is cut (default 256 KiB).
    #[serde(with = "super::size")]
    pub value_bytes: u32,
    /// Where `workflow_runs` has no index on its time (before Dify 1.11.3): pages of 8 KiB that may be read per second
    /// (default 4096, about 1 % of one core). Lower is gentler, and new runs are seen later.
    pub scan_pages_per_second: u32,
}

impl Default for FollowSettings {
    fn default() -> Self {
        FollowSettings {
            overlap: Duration::from_secs(2 * 60),
            trail: [10 * 60, 3600, 6 * 3600, 24 * 3600].map(Duration::from_secs).to_vec(),
            horizon: Duration::from_secs(24 * 3600),
            abandon_after: Duration::from_secs(24 * 3600),
            settle: Duration::from_secs(5),
            interrupt_after: Duration::from_secs(60),
            page_rows: 1000,
            value_bytes: 256 * 1024,
            scan_pages_per_second: 4096,
        }
    }
}

impl FollowSettings {
    /// The first key whose value cannot be followed by, and why.
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        let ascending = self.trail.first().is_some_and(|first| !first.is_zero()) && self.trail.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending {
            let problem = "needs delays above 0, each longer than the one before, such as \"10m, 1h, 6h, 24h\"";
            return Err(("trail", problem.to_owned()));
        }
        let zero = |what: &str| format!("is 0, which would {what}");
        if self.abandon_after.is_zero() {
            return Err(("abandon_after", zero("give up every run as it begins: write a duration such as \"24h\"")));
        }
        if self.page_rows == 0 {
            return Err(("page_rows", zero("read nothing: write 1 or more")));
        }
        if self.value_bytes == 0 {
            return Err(("value_bytes", zero("cut everything away: write a size such as \"256KiB\"")));
        }
        if self.scan_pages_per_second == 0 {
            return Err(("scan_pages_per_second", zero("never find a run in older versions of Dify: write 1 or more")));
        }
        Ok(())
    }
}

/// A list of durations as people write them, as a list or as one comma-separated text (for environment variables).
mod durations {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = durations.iter().map(|d| humantime::format_duration(*d).to_string()).collect();
        texts.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrList {
            Text(String),
            List(Vec<String>),
        }
        let texts = match TextOrList::deserialize(deserializer)? {
            TextOrList::Text(text) => text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
            TextOrList::List(list) => list,
        };
        texts
            .iter()
            .map(|text| humantime::parse_duration(text).map_err(|e| D::Error::custom(format!("{text:?} is not a duration: {e}"))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_followed_by_is_named() {
        let key = |change: fn(&mut FollowSettings)| {
            let mut settings = FollowSettings::default();
            change(&mut settings);
            settings.validate().err().map(|(key, _)| key)
        };
        assert_eq!(key(|_| {}), None);
        assert_eq!(key(|settings| settings.overlap = Duration::ZERO), None);
        assert_eq!(key(|settings| settings.trail.clear()), Some("trail"));
        assert_eq!(key(|settings| settings.trail.swap(0, 1)), Some("trail"));
        assert_eq!(key(|settings| settings.abandon_after = Duration::ZERO), Some("abandon_after"));
        assert_eq!(key(|settings| settings.page_rows = 0), Some("page_rows"));
        assert_eq!(key(|settings| settings.value_bytes = 0), Some("value_bytes"));
        assert_eq!(key(|settings| settings.scan_pages_per_second = 0), Some("scan_pages_per_second"));
    }
}
