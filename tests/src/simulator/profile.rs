//! How a release of Dify behaves: everything that differs between versions, derived from the version number.

use std::{fmt, str::FromStr};

use anyhow::{Context, bail};

/// A release of Dify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Always 1 so far.
    pub major: u16,
    /// The middle number.
    pub minor: u16,
    /// The last number.
    pub patch: u16,
}

impl Version {
    /// The releases whose schemas are part of the test set.
    pub const TESTED: [Self; 6] =
        [Self::new(1, 2, 0), Self::new(1, 8, 1), Self::new(1, 11, 4), Self::new(1, 12, 1), Self::new(1, 14, 2), Self::new(1, 17, 1)];

    /// A version from its numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(|part| part.parse::<u16>().context("a version looks like 1.12.1"));
        let mut next = || numbers.next().unwrap_or(Ok(0));
        let version = Self::new(next()?, next()?, next()?);
        if version.major == 0 {
            bail!("a version looks like 1.12.1, not {text:?}");
        }
        Ok(version)
    }
}

/// How a failed attempt of a node with retries shows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// A row of its own with status `retry` (up to 1.8.1).
    OwnRows,
    /// No trace but a moving `index` and `created_at` (1.9.2 to 1.13.2).
    MovingStart,
    /// The row is `retry` for a moment; its error stays after success (1.9.0, 1.9.1, and from 1.13.3).
    MomentaryStatus,
}

/// What a user's stop leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStop {
    /// The run is `stopped`, its running nodes are `failed`.
    Stopped,
    /// Run and node stay `running` for ever.
    StaysRunning,
}

/// The behaviour of one release.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The release.
    pub version: Version,
    /// How retries show.
    pub retries: Retries,
    /// What a user's stop leaves.
    pub user_stop: UserStop,
    /// Empty inputs, process data and outputs are NULL; later versions store `{}`.
    pub empty_is_null: bool,
    /// Nodes are saved a second time a few milliseconds after their final state.
    pub second_save: bool,
    /// `predecessor_node_id` is filled.
    pub predecessors: bool,
    /// The row id is the node execution id.
    pub node_id_is_execution_id: bool,
    /// Engine of up to 1.8.1: parallel ids, iteration durations, container totals without a price.
    pub old_engine: bool,
    /// A failed run ends with `outputs` NULL.
    pub failed_outputs_null: bool,
    /// A plain failure counts in `exceptions_count`; a helpful retry makes the run partial-succeeded.
    pub failures_are_exceptions: bool,
    /// The app log is written at the start of the run, not at its end.
    pub app_log_at_start: bool,
    /// Runs carry a `sequence_number`.
    pub sequence_numbers: bool,
    /// `sys.timestamp` is among the inputs.
    pub system_timestamp: bool,
    /// The start node repeats only what the author declared.
    pub start_projected: bool,
    /// Model usage has time_to_first_token and time_to_generate.
    pub first_token: bool,
    /// Knowledge retrieval nodes carry usage and totals.
    pub retrieval_usage: bool,
    /// LLM outputs have reasoning_content and no files.
    pub reasoning: bool,
    /// Chatflow messages repeat the run's usage in their metadata.
    pub message_usage: bool,
    /// Chatflow messages count the tokens of iterations and loops this many times.
    pub container_token_factor: i64,
    /// `messages.updated_at` moves with the final update.
    pub message_updated_at: bool,
    /// A client that hangs up leaves run and node running; later the run finishes and only its message stays empty.
    pub hang_up_stops_run: bool,
    /// The type of end users that come through the service API.
    pub service_user: &'static str,
    /// Triggers exist.
    pub triggers: bool,
    /// Runs can pause for a human.
    pub pauses: bool,
    /// A resume overwrites the run's `created_at`.
    pub resume_moves_start: bool,
    /// Node indexes start again at 1 after a resume.
    pub resume_restarts_index: bool,
    /// Large values are cut and kept as a file.
    pub offload: bool,
    /// Failed attempts are listed in process_data.
    pub retry_history: bool,
    /// Key of an agent log entry's id.
    pub agent_log_id: &'static str,
    /// A run that was deleted while it ran is inserted again at its end.
    pub reinserts: bool,
}

impl Profile {
    /// The behaviour of a release, by the first release in which each thing was seen.
    pub fn new(version: Version) -> Self {
        let since = |minor, patch| version >= Version::new(1, minor, patch);
        Self {
            version,
            retries: match () {
                () if !since(9, 0) => Retries::OwnRows,
                () if since(9, 2) && !since(13, 3) => Retries::MovingStart,
                () => Retries::MomentaryStatus,
            },
            user_stop: if since(11, 0) && !since(13, 0) { UserStop::StaysRunning } else { UserStop::Stopped },
            empty_is_null: !since(9, 0),
            second_save: since(11, 0),
            predecessors: !since(9, 0),
            node_id_is_execution_id: since(9, 2),
            old_engine: !since(9, 0),
            failed_outputs_null: since(4, 0),
            failures_are_exceptions: since(9, 2),
            app_log_at_start: since(11, 0),
            sequence_numbers: !since(5, 0),
            system_timestamp: since(10, 0),
            start_projected: since(14, 0),
            first_token: since(10, 0),
            retrieval_usage: since(9, 2),
            reasoning: since(9, 0),
            message_usage: since(10, 0),
            container_token_factor: if since(9, 2) && !since(15, 0) { 2 } else { i64::from(since(15, 0)) },
            message_updated_at: since(4, 0),
            hang_up_stops_run: !since(9, 2),
            service_user: if since(9, 2) { "service-api" } else { "service_api" },
            triggers: since(10, 0),
            pauses: since(10, 0),
            resume_moves_start: since(10, 0) && !since(13, 1),
            resume_restarts_index: !since(17, 0),
            offload: since(9, 0),
            retry_history: since(16, 0),
            agent_log_id: if since(9, 2) { "message_id" } else { "id" },
            reinserts: since(4, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviour_follows_the_version() {
        let of = |text: &str| Profile::new(text.parse().unwrap());
        assert_eq!(of("1.2.0").retries, Retries::OwnRows);
        assert_eq!(of("1.8.1").user_stop, UserStop::Stopped);
        assert_eq!(of("1.9.1").retries, Retries::MomentaryStatus);
        assert_eq!(of("1.12.1").retries, Retries::MovingStart);
        assert_eq!(of("1.12.1").user_stop, UserStop::StaysRunning);
        assert_eq!(of("1.14.2").retries, Retries::MomentaryStatus);
        assert!(of("1.17.1").retry_history && !of("1.14.2").retry_history);
        assert!("x".parse::<Version>().is_err());
    }
}
