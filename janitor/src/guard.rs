//! What exporter and shipper have not taken in yet may not go: their `/position` says up to where they have.
//!
//! Fails closed: a position that cannot be had, or is old, guards everything.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dify_observe_core::dify::retention::Bundle;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::secret::{Secret, scrub};
use dify_observe_core::settings::JanitorSettings;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

/// A position written longer ago than this says nothing about now.
const STALE: Duration = Duration::from_secs(15 * 60);
/// Positions are asked for again after this time.
const FRESH: Duration = Duration::from_secs(60);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than half a million open ids; a larger answer is not a position.
const LARGEST_ANSWER: usize = 24 << 20;

/// What all positions together cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    until: Micros,
    open: HashSet<Uuid>,
}

impl Covered {
    /// Everything: nobody is waited for.
    pub fn everything() -> Self {
        Covered { until: Micros(i64::MAX), open: HashSet::new() }
    }

    /// Whether every record of the bundle has been taken in by everybody.
    pub fn covers(&self, bundle: &Bundle) -> bool {
        let runs = bundle.runs.iter().map(|run| &run.id);
        bundle.newest < self.until && !std::iter::once(&bundle.id).chain(runs).chain(&bundle.messages).any(|id| self.open.contains(id))
    }

    /// Up to where, at best.
    pub fn until(&self) -> Micros {
        self.until
    }

    fn and(&mut self, part: Part) {
        self.until = self.until.min(part.covered_until);
        self.open.extend(part.open);
    }
}

/// Why nothing may be deleted now.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// No answer.
    #[error("{url} (janitor.wait_for) cannot be reached: {reason}; start it, or take it out of janitor.wait_for")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// Why there is none.
        reason: String,
    },
    /// An answer that is no position.
    #[error("{url} (janitor.wait_for) does not say what it has taken in: {reason}")]
    NoPosition {
        /// Who was asked.
        url: String,
        /// What it said instead.
        reason: String,
    },
    /// An answer that is too old.
    #[error(
        "{url} (janitor.wait_for) was last up to date at {written_at}, {minutes} minutes from now: nothing is deleted before it is again \
         (the exporter reads when Prometheus asks it; or the clocks of the two hosts differ)"
    )]
    Stale {
        /// Who was asked.
        url: String,
        /// What it said.
        written_at: Micros,
        /// How long ago, or ahead.
        minutes: u64,
    },
}

/// Asks for positions, and remembers the answers for a minute.
#[derive(Debug)]
pub struct Guard {
    client: reqwest::Client,
    urls: Vec<Url>,
    credentials: Option<(String, Secret)>,
    last: Option<(Instant, Covered)>,
}

impl Guard {
    /// Waits for those whom `janitor.wait_for` names.
    pub fn new(settings: &JanitorSettings) -> anyhow::Result<Self> {
        let mut client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy();
        if let Some(path) = &settings.wait_for_ca_file {
            let read = || anyhow::Ok(reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?);
            let authorities =
                read().with_context(|| format!("janitor.wait_for_ca_file names {}, which holds no certificate", path.display()));
            for authority in authorities.or_exit(Exit::Configuration)? {
                client = client.add_root_certificate(authority);
            }
        }
        let urls: Vec<Url> = settings
            .wait_for
            .iter()
            .map(|url| url.parse().map(with_path))
            .collect::<Result<_, _>>()
            .context("janitor.wait_for holds an address that is none")
            .or_exit(Exit::Configuration)?;
        let credentials = settings.wait_for_username.clone().zip(settings.wait_for_password.clone());
        Ok(Guard { client: client.build()?, urls, credentials, last: None })
    }

    /// What is covered, as said at most a minute ago.
    pub async fn covered(&mut self, now: Micros) -> Result<&Covered, GuardError> {
        let fresh = self.last.take().filter(|(read_at, _)| read_at.elapsed() < FRESH);
        let last = match fresh {
            Some(last) => last,
            None => (Instant::now(), self.read(now).await?),
        };
        Ok(&self.last.insert(last).1)
    }

    async fn read(&self, now: Micros) -> Result<Covered, GuardError> {
        let mut covered = Covered::everything();
        for url in &self.urls {
            let shown = scrub(url.as_str());
            let position = self.ask(url, &shown).await?;
            position.fresh(&shown, now)?;
            position.parts().for_each(|part| covered.and(part));
        }
        Ok(covered)
    }

    async fn ask(&self, url: &Url, shown: &str) -> Result<Position, GuardError> {
        let unreachable = |error: reqwest::Error| GuardError::Unreachable { url: shown.to_owned(), reason: cause(error) };
        let no_position = |reason: String| GuardError::NoPosition { url: shown.to_owned(), reason };
        let mut request = self.client.get(url.clone());
        if let Some((username, password)) = &self.credentials {
            request = request.basic_auth(username, Some(password.expose()));
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        if !answer.status().is_success() {
            return Err(no_position(format!("it answers {}", answer.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(no_position("its answer is larger than any position".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| no_position(error.to_string()))
    }
}

fn with_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/position");
    }
    url
}

/// The innermost reason: the outer ones repeat the URL, with what stands before its `@`.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The answer of `/position`. What else it says is none of our business.
#[derive(Debug, Deserialize)]
struct Position {
    #[serde(flatten)]
    whole: Part,
    #[serde(deserialize_with = "time")]
    written_at: Micros,
    #[serde(default)]
    sinks: BTreeMap<String, Part>,
}

/// Up to where, and except which.
#[derive(Debug, Deserialize)]
struct Part {
    #[serde(deserialize_with = "time")]
    covered_until: Micros,
    open: Vec<Uuid>,
}

impl Position {
    fn fresh(&self, url: &str, now: Micros) -> Result<(), GuardError> {
        let off = now.since(self.written_at).max(self.written_at.since(now));
        if off > STALE {
            return Err(GuardError::Stale { url: url.to_owned(), written_at: self.written_at, minutes: off.as_secs() / 60 });
        }
        Ok(())
    }

    fn parts(self) -> impl Iterator<Item = Part> {
        std::iter::once(self.whole).chain(self.sinks.into_values())
    }
}

fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
    Ok(Micros(time.timestamp_micros()))
}

#[cfg(test)]
mod tests;
