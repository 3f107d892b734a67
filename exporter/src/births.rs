//! When a series shows its value, and when it may end.
//!
//! Prometheus cannot tell a new series from an old one that it had not scraped, so the first sample of a series is a
//! starting point and never an increase. A counter that is born with the value 5 has lost 5. And an increase that happens
//! between the last scrape and the end of a series is never seen either. So:
//!
//! 1. A new label set is **held**: it is exposed as 0, whatever it has counted, until [`BirthRules::answers`] scrapes of a
//!    Prometheus were answered with that 0 and [`BirthRules::hold`] has passed since the first of these answers.
//! 2. From then on it is **shown**. That it is shown is part of the durable state, and durable *before* the first answer
//!    with the value: otherwise a crash in between would show 5, 0, 5, and the second 5 would be counted again.
//! 3. A label set that has to **end** (its app was renamed) is first shown, and then keeps its last value for as many
//!    answers and as long again, so that every Prometheus has it. Then it is gone.
//! 4. What is counted for an answer is what stood in it: an answer that began before the label set existed does not count.
//!
//! An exposed value therefore never falls while its series lives, and a Prometheus that stored one sample while the series
//! was held and one after its last change has seen all of it. `tests` below checks exactly this by simulation.

use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// How long a label set is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BirthRules {
    /// Scrapes that must have been answered. Two Prometheus replicas that scrape in turn, one of which loses an answer,
    /// need three.
    pub answers: u8,
    /// `exporter.birth_hold`: time since the first of these answers. Two scrapes of the slowest usual interval.
    pub hold: Duration,
}

impl BirthRules {
    /// Three answers and `hold`.
    pub const fn new(hold: Duration) -> Self {
        BirthRules { answers: 3, hold }
    }
}

/// Where a label set stands between birth and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The value is exposed; before, a 0 is.
    shown: bool,
    /// To be removed once every Prometheus has its last value.
    ending: bool,
    /// Answers since the last change of the two above.
    answers: u8,
    /// When the first of these answers was given.
    first_answer: Option<Micros>,
    /// The epoch of the last change of the two above, see [`Epoch`]. Epochs start anew with each process, and everything
    /// in a state file is older than all of them.
    #[serde(skip)]
    since: Epoch,
}

/// Counts the answers that were begun. A label set that changed in epoch 7 is in the answers from epoch 8 on.
pub(crate) type Epoch = u32;

/// What the passing of time did to a label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ripened {
    /// Nothing.
    No,
    /// Its value will be exposed from now on.
    Shown,
    /// It has ended and is to be removed.
    Ended,
}

impl Life {
    /// A label set that did not exist before.
    pub(crate) fn born(now: Epoch) -> Self {
        Life { shown: false, ending: false, answers: 0, first_answer: None, since: now }
    }

    /// Whether the value is exposed; otherwise a 0 is.
    pub(crate) fn is_shown(self) -> bool {
        self.shown
    }

    /// Starts the end. Says whether that is a change.
    pub(crate) fn end(&mut self, now: Epoch) -> bool {
        if self.ending {
            return false;
        }
        self.ending = true;
        if self.shown {
            self.wait_anew(now);
        }
        true
    }

    /// Called when the value changes: whatever is ending has to be seen anew.
    pub(crate) fn changed(&mut self, now: Epoch) {
        if self.ending && self.shown {
            self.wait_anew(now);
        }
    }

    /// Takes the end back. Says whether that is a change.
    pub(crate) fn revive(&mut self) -> bool {
        std::mem::take(&mut self.ending)
    }

    /// A scrape of a Prometheus, begun in epoch `begun`, was answered.
    pub(crate) fn answered(&mut self, begun: Epoch, now: Micros) {
        if (self.shown && !self.ending) || self.since >= begun {
            return;
        }
        self.answers = self.answers.saturating_add(1);
        self.first_answer.get_or_insert(now);
    }

    /// Moves on when the rules allow it.
    pub(crate) fn ripen(&mut self, rules: BirthRules, now: Micros, epoch: Epoch) -> Ripened {
        if (self.shown && !self.ending) || !self.has_waited(rules, now) {
            return Ripened::No;
        }
        if self.shown {
            return Ripened::Ended;
        }
        self.shown = true;
        self.wait_anew(epoch);
        Ripened::Shown
    }

    fn has_waited(&self, rules: BirthRules, now: Micros) -> bool {
        self.answers >= rules.answers && self.first_answer.is_some_and(|first| now.since(first) >= rules.hold)
    }

    fn wait_anew(&mut self, now: Epoch) {
        (self.answers, self.first_answer, self.since) = (0, None, now);
    }
}
