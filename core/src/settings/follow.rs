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
