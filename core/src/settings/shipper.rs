//! `[shipper]`: which documents are made, and where they go.

mod sink;
mod sink_checks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use sink::{SinkSettings, SinkType};

use super::{SettingsError, Start};
use crate::secret::Secret;

/// Which documents are made of Dify's records, and where they go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShipperSettings {
    /// Address and port of `/metrics`, `/livez`, `/readyz`, `/position` and the status page. `0.0.0.0:9811` is reachable from other
    /// hosts: think of `shipper.web_config_file` then.
    pub listen: String,
    /// A file with TLS and basic authentication in the format of Prometheus' exporter-toolkit; see `web-config.md`.
    pub web_config_file: Option<PathBuf>,
    /// Where shipping begins when a sink has no position yet: `now`, `beginning` (all that is stored), or a time such as `2026-01-31` or
    /// `2026-01-31T08:00:00Z`. Older records belong to `backfill`.
    pub start: Start,
    /// The last part of every name: `logs-dify.<kind>-<namespace>`. One for each Dify that ships into the same engine.
    pub namespace: String,
    /// How much of inputs, outputs, prompts and answers documents carry.
    #[serde(deserialize_with = "super::word")]
    pub content: ContentMode,
    /// Most bytes of one content field where `content` is `truncated`.
    #[serde(with = "super::size")]
    pub content_bytes: u32,
    /// What documents carry as `user.id` and `session.id`.
    #[serde(deserialize_with = "super::word")]
    pub user_ids: UserIds,
    /// The key of the hashes, where `user_ids` is `hashed`: any text of 16 bytes or more. Whoever has it can find a person's documents.
    pub user_ids_key: Option<Secret>,
    /// A file that holds `shipper.user_ids_key`.
    pub user_ids_key_file: Option<PathBuf>,
    /// How long to wait before looking again when there was nothing new.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How often feedback is compared with what was shipped: it changes and is withdrawn at any age.
    #[serde(with = "humantime_serde")]
    pub slow_interval: Duration,
    /// Feedback is followed while its table has no more estimated rows than this.
    pub slow_max_rows: u64,
    /// How often the position is made durable while documents flow. After a crash, what was sent since is sent again, under the same ids.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
    /// Most bytes of documents in memory, over all sinks. Reading waits while they are used up.
    #[serde(with = "super::size")]
    pub queue_bytes: u32,
    /// The length of an index by kind (`workflow_run`, `node_execution`, `message`, `tool_call`, `retrieval`, `feedback`, `log`): `day`, `week` (from
    /// Monday) or `month`. A change takes effect at the next boundary. What is not named here is `week`.
    pub partition: BTreeMap<String, PartitionLength>,
    /// Where documents go. Without any: into files below `state_dir`.
    pub sinks: BTreeMap<String, SinkSettings>,
}

impl Default for ShipperSettings {
    fn default() -> Self {
        ShipperSettings {
            listen: "127.0.0.1:9811".to_owned(),
            web_config_file: None,
            start: Start::Now,
            namespace: "default".to_owned(),
            content: ContentMode::Truncated,
            content_bytes: 4096,
            user_ids: UserIds::Plain,
            user_ids_key: None,
            user_ids_key_file: None,
            poll_interval: Duration::from_secs(1),
            slow_interval: Duration::from_secs(5 * 60),
            slow_max_rows: 500_000,
            checkpoint_interval: Duration::from_secs(2),
            queue_bytes: 32 * 1024 * 1024,
            partition: BTreeMap::new(),
            sinks: BTreeMap::new(),
        }
    }
}

/// How much content documents carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentMode {
    /// None.
    Off,
    /// The beginning of each field.
    Truncated,
    /// All that was fetched: see `follow.value_bytes`.
    Full,
}

/// How documents name people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserIds {
    /// As Dify stores them.
    Plain,
    /// By keyed hashes, which are equal for equal ids.
    Hashed,
}

/// The time that one index covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionLength {
    /// A UTC day.
    Day,
    /// Seven UTC days from Monday.
    Week,
    /// A UTC month.
    Month,
}

impl ShipperSettings {
    pub(super) fn read_secret_files(&mut self) -> Result<(), SettingsError> {
        super::secret_from_file("shipper.user_ids_key", &mut self.user_ids_key, self.user_ids_key_file.as_deref())?;
        self.sinks.values_mut().try_for_each(SinkSettings::read_secret_files)
    }

    /// The sinks; without any in the configuration, files below `state_dir`.
    pub fn sinks(&self) -> BTreeMap<String, SinkSettings> {
        if self.sinks.is_empty() { BTreeMap::from([(DEFAULT_SINK.to_owned(), SinkSettings::default())]) } else { self.sinks.clone() }
    }

    /// The first key that cannot work, and why.
    pub(super) fn validate(&self) -> Result<(), (String, String)> {
        super::validate_listen(&self.listen).map_err(|problem| ("listen".to_owned(), problem))?;
        self.validate_names()?;
        self.validate_user_ids()?;
        self.validate_amounts()?;
        for (name, sink) in &self.sinks {
            let problem = |(key, problem): (&str, String)| (format!("sinks.{name}.{key}"), problem);
            sink.validate(self.queue_bytes).map_err(problem)?;
        }
        self.validate_neighbours()
    }

    fn validate_names(&self) -> Result<(), (String, String)> {
        let letters = |name: &str, more: &str| {
            (1..=50).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !letters(&self.namespace, "_") {
            let problem = format!(
                "is {:?}: it becomes a part of index names, so write 1 to 50 lower-case letters, digits and underscores, such as \"production\"",
                self.namespace
            );
            return Err(("namespace".to_owned(), problem));
        }
        if let Some(kind) = self.partition.keys().find(|kind| !DOCUMENT_KINDS.contains(&kind.as_str())) {
            return Err((format!("partition.{kind}"), format!("names no kind of documents: there are {}", DOCUMENT_KINDS.join(", "))));
        }
        if let Some(name) = self.sinks.keys().find(|name| !letters(name, "_-")) {
            let problem = "is no name for a sink: write 1 to 50 lower-case letters, digits, underscores and hyphens, such as \"search\"";
            return Err((format!("sinks.{name}"), problem.to_owned()));
        }
        Ok(())
    }

    fn validate_user_ids(&self) -> Result<(), (String, String)> {
        let problem = |problem: &str| Err(("user_ids_key".to_owned(), problem.to_owned()));
        match (self.user_ids, &self.user_ids_key) {
            (UserIds::Hashed, None) => problem("is not set: shipper.user_ids = \"hashed\" needs it, any text of 16 bytes or more"),
            (UserIds::Hashed, Some(key)) if key.expose().len() < 16 => {
                problem("has less than 16 bytes, which somebody could find by trying: `openssl rand -hex 32` makes a good one")
            }
            (UserIds::Plain, Some(_)) => problem(
                "is set, and documents would carry people's ids as they are all the same: set shipper.user_ids = \"hashed\", or remove it",
            ),
            _ => Ok(()),
        }
    }

    fn validate_amounts(&self) -> Result<(), (String, String)> {
        let problem = |key: &str, problem: String| Err((key.to_owned(), problem));
        let intervals = [("poll_interval", self.poll_interval, "1s"), ("slow_interval", self.slow_interval, "5m")];
        if let Some((key, _, example)) = intervals.into_iter().find(|(_, interval, _)| interval.as_millis() == 0) {
            return problem(
                key,
                format!("is 0, so that the database would be asked without a pause: write a duration such as {example:?}"),
            );
        }
        if self.content_bytes == 0 {
            return problem("content_bytes", "is 0: for documents without content, set shipper.content = \"off\"".to_owned());
        }
        if self.queue_bytes < LEAST_QUEUE {
            return problem(
                "queue_bytes",
                "is less than 1 MiB, less than one large record takes: write a size such as \"32MiB\"".to_owned(),
            );
        }
        Ok(())
    }

    /// Sinks that would get in each other's way.
    fn validate_neighbours(&self) -> Result<(), (String, String)> {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for (name, sink) in &self.sinks {
            let Some(place) = sink.place() else { continue };
            if let Some(other) = taken.insert(place, name) {
                let problem = format!("writes to the same place as shipper.sinks.{other}: give each sink a place of its own");
                return Err((format!("sinks.{name}"), problem));
            }
        }
        Ok(())
    }
}

/// The sink that there is when the configuration names none.
pub const DEFAULT_SINK: &str = "files";

/// The kinds of documents, as settings name them.
pub const DOCUMENT_KINDS: [&str; 7] = ["workflow_run", "node_execution", "message", "tool_call", "retrieval", "feedback", "log"];

/// A queue that takes one large record.
const LEAST_QUEUE: u32 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut ShipperSettings)) -> (String, String) {
        let mut settings = ShipperSettings::default();
        change(&mut settings);
        settings.validate().expect_err("refused")
    }

    fn sink(settings: &mut ShipperSettings, name: &str, r#type: SinkType, url: Option<&str>) {
        let sink = SinkSettings { r#type, url: url.map(str::to_owned), ..SinkSettings::default() };
        settings.sinks.insert(name.to_owned(), sink);
    }

    #[test]
    fn the_defaults_are_fine_and_ship_into_files() {
        let settings = ShipperSettings::default();
        assert_eq!(settings.validate(), Ok(()));
        let sinks = settings.sinks();
        assert_eq!(sinks.keys().collect::<Vec<_>>(), ["files"]);
        assert_eq!(sinks["files"].r#type, SinkType::Ndjson);
    }

    #[test]
    fn configured_sinks_take_the_place_of_the_default_one() {
        let mut settings = ShipperSettings::default();
        sink(&mut settings, "out", SinkType::Stdout, None);
        assert_eq!(settings.sinks().keys().collect::<Vec<_>>(), ["out"]);
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        for namespace in ["", "Production", "a-b", "a b", "_a", "a/b", "*"] {
            assert_eq!(refused(|s| s.namespace = namespace.to_owned()).0, "namespace", "{namespace}");
        }
        assert_eq!(refused(|s| s.partition = [("dance".to_owned(), PartitionLength::Day)].into()).0, "partition.dance");
        assert_eq!(refused(|s| s.poll_interval = Duration::ZERO).0, "poll_interval");
        assert_eq!(refused(|s| s.slow_interval = Duration::ZERO).0, "slow_interval");
        assert_eq!(refused(|s| s.content_bytes = 0).0, "content_bytes");
        assert_eq!(refused(|s| s.queue_bytes = 1000).0, "queue_bytes");
        assert_eq!(refused(|s| s.listen = "9811".to_owned()).0, "listen");
        assert_eq!(refused(|s| sink(s, "Main", SinkType::Stdout, None)).0, "sinks.Main");
        assert_eq!(refused(|s| sink(s, "es", SinkType::Elasticsearch, None)).0, "sinks.es.url");
    }

    #[test]
    fn hashes_need_a_key_that_cannot_be_guessed_and_a_key_needs_hashes() {
        let key = |text: &str| Some(Secret::new(text));
        assert_eq!(refused(|s| s.user_ids = UserIds::Hashed).0, "user_ids_key");
        let (name, problem) = refused(|s| (s.user_ids, s.user_ids_key) = (UserIds::Hashed, key("hunter2")));
        assert_eq!(name, "user_ids_key");
        assert!(!problem.contains("hunter2"), "{problem}");
        assert_eq!(refused(|s| s.user_ids_key = key("0123456789abcdef")).0, "user_ids_key");
        let settings = ShipperSettings { user_ids: UserIds::Hashed, user_ids_key: key("0123456789abcdef"), ..ShipperSettings::default() };
        assert_eq!(settings.validate(), Ok(()));
    }

    #[test]
    fn two_sinks_do_not_write_to_one_place() {
        let two = |r#type, url: Option<&str>, other: Option<&str>| {
            refused(|s| {
                sink(s, "a", r#type, url);
                sink(s, "b", r#type, other);
            })
        };
        assert_eq!(two(SinkType::Stdout, None, None).0, "sinks.b");
        assert_eq!(two(SinkType::Ndjson, Some("file:///x"), Some("file:///x/")).0, "sinks.b");
        let mut settings = ShipperSettings::default();
        sink(&mut settings, "a", SinkType::Ndjson, None);
        sink(&mut settings, "b", SinkType::Ndjson, None);
        assert_eq!(settings.validate(), Ok(()), "each has a folder of its own name");
    }
}
