//! What passes by itself, or when a person mends it: the engine is away, busy, full, blocked, or lets us do nothing. It is waited for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::answer::Answer;

/// Why something could not be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setback {
    /// One word for a label.
    pub(crate) reason: &'static str,
    /// One sentence: what, where, how to mend it. No content and no credential.
    pub(crate) sentence: String,
}

impl Setback {
    pub(crate) fn new(reason: &'static str, sentence: impl Into<String>) -> Self {
        Setback { reason, sentence: sentence.into() }
    }

    /// What an answer means that is no success. `what` reads on after "failed to".
    pub(crate) fn of(answer: &Answer, what: &str) -> Self {
        let (reason, mend) = match answer.status {
            401 => ("security", "check the credentials of the sink"),
            403 if answer.error_type() == "cluster_block_exception" => ("blocked", "free space or lift the block; it is tried again"),
            403 => ("security", "give the sink's user the rights that docs/search-engines.md lists"),
            429 => ("throttled", "it is tried again"),
            500..=599 => ("unavailable", "it is tried again"),
            300..=399 => ("redirected", "name the engine itself in the sink's url"),
            _ => ("refused", "see the engine's log"),
        };
        Setback::new(reason, format!("failed to {what}: the engine answered {} {}; {mend}", answer.status, answer.error_type()))
    }

    /// Whether fewer requests at a time would help.
    pub(crate) fn is_overload(&self) -> bool {
        matches!(self.reason, "throttled" | "timeout" | "unavailable")
    }
}

/// What those who wait have to say.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: BTreeMap<u64, String>,
}

/// One who may have to wait; has nothing more to say when dropped.
#[derive(Debug)]
pub(crate) struct Trouble<'a> {
    all: &'a Troubles,
    number: u64,
}

impl Troubles {
    pub(crate) fn one(&self) -> Trouble<'_> {
        self.with(|state| {
            state.last += 1;
            Trouble { all: self, number: state.last }
        })
    }

    /// The sentence of whoever waits longest.
    pub(crate) fn first(&self) -> Option<String> {
        self.with(|state| state.waiting.values().next().cloned())
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Trouble<'_> {
    /// Says it, in the log too when nobody said the same before.
    pub(crate) fn say(&self, sink: &str, setback: &Setback) {
        let sentence = setback.sentence.clone();
        let new = self.all.with(|state| {
            let said = state.waiting.values().any(|other| *other == sentence);
            state.waiting.insert(self.number, sentence);
            !said
        });
        if new {
            tracing::warn!(sink, reason = setback.reason, "waiting for the search engine: {}", setback.sentence);
        }
    }

    /// It passed.
    pub(crate) fn over(&self) {
        self.all.with(|state| state.waiting.remove(&self.number));
    }
}

impl Drop for Trouble<'_> {
    fn drop(&mut self) {
        self.over();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(status: u16, body: &'static str) -> Setback {
        Setback::of(&Answer { status, body: Bytes::from_static(body.as_bytes()) }, "write")
    }

    #[test]
    fn a_block_is_told_from_missing_rights() {
        assert_eq!(of(403, r#"{"error":{"type":"cluster_block_exception"},"status":403}"#).reason, "blocked");
        assert_eq!(of(403, r#"{"error":{"type":"security_exception","reason":"secret of mine"},"status":403}"#).reason, "security");
        assert_eq!(of(503, "<html>").reason, "unavailable");
    }

    #[test]
    fn what_an_engine_quotes_is_not_repeated() {
        assert!(!of(403, r#"{"error":{"type":"security_exception","reason":"secret of mine"}}"#).sentence.contains("secret"));
    }

    #[test]
    fn the_sentence_is_gone_with_whoever_said_it() {
        let troubles = Troubles::default();
        let one = troubles.one();
        one.say("s", &Setback::new("blocked", "full"));
        assert_eq!(troubles.first().as_deref(), Some("full"));
        drop(one);
        assert_eq!(troubles.first(), None);
    }
}
