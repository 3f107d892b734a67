//! What a simulation is asked to do.

use super::{
    profile::Version,
    value::{DAY, HOUR, MINUTE, Micros, SECOND},
};

/// Everything that decides what a simulation writes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The release to imitate.
    pub version: Version,
    /// Virtual time of the first arrival.
    pub start: Micros,
    /// How many requests arrive before the simulation comes to its end.
    pub arrivals: u64,
    /// No request arrives after this moment, and the rate is an average over the time until then.
    pub until: Option<Micros>,
    /// Requests per second, on average.
    pub rate: f64,
    /// The rate follows the hours of a day and the days of a week.
    pub daily_curve: bool,
    /// How many apps there are; every kind of app comes before any comes twice.
    pub apps: usize,
    /// How many different users call each app.
    pub users: i64,
    /// Clock errors of the API hosts; each story is told by one of them.
    pub host_clocks: Vec<Micros>,
    /// Multiplies all waiting and working times; small values make dense histories.
    pub time_scale: f64,
    /// Rows go through Celery instead of being written in place.
    pub celery: bool,
    /// Bytes of a large value.
    pub large_value_bytes: usize,
    /// Probabilities of what does not go as it should.
    pub faults: Faults,
    /// Deletions by users and by Dify.
    pub deletions: Deletions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::new(1, 12, 1),
            start: 0,
            arrivals: 200,
            until: None,
            rate: 2.0,
            daily_curve: false,
            apps: 20,
            users: 12,
            host_clocks: vec![0],
            time_scale: 1.0,
            celery: false,
            large_value_bytes: 120_000,
            faults: Faults::default(),
            deletions: Deletions::default(),
        }
    }
}

/// Probabilities, each per thing that can go wrong. Zero switches it off.
#[derive(Debug, Clone)]
pub struct Faults {
    /// A node fails (per node that can fail).
    pub node_failure: f64,
    /// An attempt of a node with retries fails.
    pub attempt_failure: f64,
    /// A message of a chat, completion or agent app fails.
    pub message_failure: f64,
    /// A tool call of an agent fails.
    pub tool_failure: f64,
    /// The user stops the run or the answer.
    pub user_stop: f64,
    /// The worker is killed: run and node stay `running`.
    pub killed: f64,
    /// The client hangs up while the answer streams.
    pub hang_up: f64,
    /// The engine's own limits end the run.
    pub engine_limit: f64,
    /// An http-request that "succeeds" with a status that is not 2xx.
    pub http_status: f64,
    /// A parameter extractor that succeeds without success.
    pub soft_failure: f64,
    /// A retrieval finds nothing.
    pub retrieval_miss: f64,
    /// All rows of a story commit late.
    pub late_story: f64,
    /// The most that a late story is late.
    pub late_by: Micros,
    /// A chatflow message is filled long after its run, instead of within a second.
    pub late_message: f64,
    /// The most that a late message is late.
    pub late_message_by: Micros,
    /// A node's output is large.
    pub large_value: f64,
    /// A JSON text that strict parsers refuse.
    pub odd_json: f64,
    /// A status or node type that nobody has heard of.
    pub unknown_word: f64,
    /// A node is run alone in the editor (per arrival).
    pub single_step: f64,
    /// A run of the editor's draft (per arrival of a workflow or chatflow).
    pub debugging: f64,
    /// A trigger is refused before it starts a run.
    pub rate_limited_trigger: f64,
    /// A paused run is never answered.
    pub never_resumed: f64,
    /// The longest wait for a human.
    pub longest_pause: Micros,
    /// A message gets feedback.
    pub feedback: f64,
    /// A document is added to a knowledge base (per arrival).
    pub document: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            node_failure: 0.02,
            attempt_failure: 0.25,
            message_failure: 0.03,
            tool_failure: 0.08,
            user_stop: 0.01,
            killed: 0.005,
            hang_up: 0.01,
            engine_limit: 0.004,
            http_status: 0.05,
            soft_failure: 0.08,
            retrieval_miss: 0.12,
            late_story: 0.0,
            late_by: 10 * MINUTE,
            late_message: 0.02,
            late_message_by: 90 * SECOND,
            large_value: 0.003,
            odd_json: 0.003,
            unknown_word: 0.002,
            single_step: 0.02,
            debugging: 0.05,
            rate_limited_trigger: 0.05,
            never_resumed: 0.1,
            longest_pause: 10 * MINUTE,
            feedback: 0.12,
            document: 0.01,
        }
    }
}

impl Faults {
    /// Nothing goes wrong and nothing is odd.
    pub fn none() -> Self {
        Self {
            node_failure: 0.0,
            attempt_failure: 0.0,
            message_failure: 0.0,
            tool_failure: 0.0,
            user_stop: 0.0,
            killed: 0.0,
            hang_up: 0.0,
            engine_limit: 0.0,
            http_status: 0.0,
            soft_failure: 0.0,
            retrieval_miss: 0.0,
            late_story: 0.0,
            late_message: 0.0,
            large_value: 0.0,
            odd_json: 0.0,
            unknown_word: 0.0,
            single_step: 0.0,
            debugging: 0.0,
            rate_limited_trigger: 0.0,
            never_resumed: 0.0,
            ..Self::default()
        }
    }

    /// Everything goes wrong far more often than in life, so that short histories hold every shape.
    pub fn many() -> Self {
        Self {
            node_failure: 0.08,
            attempt_failure: 0.4,
            message_failure: 0.12,
            tool_failure: 0.2,
            user_stop: 0.05,
            killed: 0.03,
            hang_up: 0.04,
            engine_limit: 0.02,
            http_status: 0.15,
            soft_failure: 0.2,
            retrieval_miss: 0.25,
            late_story: 0.03,
            late_message: 0.1,
            large_value: 0.01,
            odd_json: 0.03,
            unknown_word: 0.02,
            single_step: 0.04,
            debugging: 0.1,
            feedback: 0.3,
            document: 0.03,
            ..Self::default()
        }
    }
}

/// What disappears, and how often.
#[derive(Debug, Clone)]
pub struct Deletions {
    /// A user deletes a conversation (per arrival).
    pub conversation: f64,
    /// An app is deleted, first its row and then the rest (per arrival).
    pub app: f64,
    /// A run that is running is deleted; Dify inserts it again at its end (per arrival).
    pub running_run: f64,
    /// Dify's own cleaners.
    pub cleaners: Vec<Cleaner>,
}

impl Default for Deletions {
    fn default() -> Self {
        Self { conversation: 0.002, app: 0.0, running_run: 0.0, cleaners: Vec::new() }
    }
}

impl Deletions {
    /// Nothing is deleted.
    pub fn none() -> Self {
        Self { conversation: 0.0, app: 0.0, running_run: 0.0, cleaners: Vec::new() }
    }

    /// Users and cleaners delete all the time, with short ages.
    pub fn many() -> Self {
        let cleaner = |kind| Cleaner { kind, age: 3 * MINUTE, every: MINUTE, batch: 20 };
        Self {
            conversation: 0.03,
            app: 0.003,
            running_run: 0.01,
            cleaners: vec![cleaner(CleanerKind::Precise), cleaner(CleanerKind::Runs), cleaner(CleanerKind::Messages)],
        }
    }
}

/// One of Dify's clean-up tasks.
#[derive(Debug, Clone)]
pub struct Cleaner {
    /// Which one.
    pub kind: CleanerKind,
    /// What is older goes.
    pub age: Micros,
    /// How often it runs.
    pub every: Micros,
    /// Runs or messages of one transaction.
    pub batch: usize,
}

impl Default for Cleaner {
    fn default() -> Self {
        Self { kind: CleanerKind::Runs, age: 30 * DAY, every: 24 * HOUR, batch: 100 }
    }
}

/// Dify's clean-up tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanerKind {
    /// `clean_workflow_runlogs_precise`: runs of any status with their messages and whole conversations.
    Precise,
    /// `clean-workflow-runs`: ended runs with all that hangs on them, messages stay.
    Runs,
    /// `clean-expired-messages`: messages and their children; runs and empty conversations stay.
    Messages,
}
