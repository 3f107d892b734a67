//! Delivering documents: bulk requests until each document is written, known, or in the dead letters, however long that takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use elasticsearch::http::Method;

use super::answer::Answer;
use super::backoff::Backoff;
use super::client::{Client, Content};
use super::item::{self, Item};
use super::observer::Observer;
use super::partitions::Partitions;
use super::pressure::Pressure;
use super::setback::{Setback, Trouble, Troubles};
use super::verdict::{Outcome, Verdict, judge};
use crate::dead_letters::{DeadLetters, Letter};
use crate::sink::Delivered;

/// What of an answer is read. The rest is most of its bytes.
const PATH: &str = "/_bulk?filter_path=errors,error,status,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason,items.*.error.caused_by";

/// What all deliveries of a sink share.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) sink: String,
    pub(crate) client: Arc<Client>,
    pub(crate) partitions: Partitions,
    pub(crate) pressure: Pressure,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) troubles: Troubles,
    pub(crate) compression: bool,
}

/// Documents of one request.
struct Group {
    items: Vec<Item>,
    /// Made once, however often it is sent.
    body: Option<Bytes>,
}

impl Delivery {
    /// Delivers them. Their indices are there.
    pub(crate) async fn deliver(&self, items: Vec<Item>) -> Delivered {
        let mut delivered = Delivered::default();
        let trouble = self.troubles.one();
        let mut backoff = Backoff::new();
        let mut groups = vec![Group { items, body: None }];
        while let Some(mut group) = groups.pop() {
            if group.items.is_empty() {
                continue;
            }
            match self.send(&mut group).await {
                Outcome::Items(verdicts) => {
                    let (again, setback) = self.settle(group.items, verdicts, &mut delivered, &trouble).await;
                    if again.is_empty() {
                        trouble.over();
                        backoff.reset();
                    }
                    groups.push(Group { items: again, body: None });
                    if let Some(setback) = setback {
                        self.wait(&setback, groups.last().map_or(0, |group| group.items.len()), &mut backoff, &trouble).await;
                    }
                }
                Outcome::Again(setback) => {
                    self.wait(&setback, group.items.len(), &mut backoff, &trouble).await;
                    groups.push(group);
                }
                Outcome::TooMuch { reason, detail } if group.items.len() == 1 => {
                    let rejected = group.items.into_iter().map(|item| (item, reason.clone(), detail.clone())).collect();
                    self.bury(rejected, &mut delivered, &trouble).await;
                }
                Outcome::TooMuch { .. } => groups.extend(halves(group.items)),
            }
        }
        delivered
    }

    /// Sleeps, and says why.
    async fn wait(&self, setback: &Setback, documents: usize, backoff: &mut Backoff, trouble: &Trouble<'_>) {
        self.observer.retried(setback.reason, documents as u64);
        trouble.say(&self.sink, setback);
        tokio::time::sleep(backoff.next()).await;
    }

    async fn send(&self, group: &mut Group) -> Outcome {
        let compression = self.compression;
        let items = &group.items;
        let body = group.body.get_or_insert_with(|| {
            let body = item::body(items.iter());
            if compression { item::compressed(&body) } else { body }
        });
        let content = Content::Lines { bytes: body.clone(), compressed: compression };
        let permit = self.pressure.permit().await;
        let started = Instant::now();
        let answer = self.client.send(Method::Post, PATH, &content).await;
        let code = answer.as_ref().map_or_else(|setback| setback.reason.to_owned(), |answer: &Answer| answer.status.to_string());
        self.observer.bulk(&code, started.elapsed(), body.len() as u64);
        let outcome = answer.map_or_else(Outcome::Again, |answer| judge(&answer, group.items.len()));
        match &outcome {
            _ if is_overload(&outcome) => permit.was_too_much(),
            Outcome::Items(_) => permit.went_well(),
            // It says nothing of what the engine can take.
            _ => drop(permit),
        }
        outcome
    }

    /// Counts what is done, keeps what was rejected; what has to be sent again, and why.
    async fn settle(
        &self,
        items: Vec<Item>,
        verdicts: Vec<Verdict>,
        delivered: &mut Delivered,
        trouble: &Trouble<'_>,
    ) -> (Vec<Item>, Option<Setback>) {
        let (mut again, mut rejected, mut setback) = (Vec::new(), Vec::new(), None);
        for (item, verdict) in items.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Written => delivered.written += 1,
                Verdict::Known => delivered.known += 1,
                Verdict::Again(why) => {
                    setback = Some(why);
                    again.push(item);
                }
                Verdict::Homeless => {
                    self.partitions.forget(&item.index).await;
                    setback = Some(self.make_again(&item).await);
                    again.push(item);
                }
                Verdict::Rejected { reason, detail } => rejected.push((item, reason, detail)),
            }
        }
        self.bury(rejected, delivered, trouble).await;
        (again, setback)
    }

    async fn make_again(&self, item: &Item) -> Setback {
        match self.partitions.home_of(item.kind, &item.index).await {
            Err(setback) => setback,
            Ok(_) => Setback::new("missing_index", format!("the index {} was deleted and is made anew", item.index)),
        }
    }

    /// Keeps what was rejected, and waits while there is no room for it.
    async fn bury(&self, rejected: Vec<(Item, String, String)>, delivered: &mut Delivered, trouble: &Trouble<'_>) {
        if rejected.is_empty() {
            return;
        }
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for (item, reason, _) in &rejected {
            *counts.entry((item.kind, reason.clone())).or_default() += 1;
        }
        delivered.rejected += rejected.len() as u64;
        let letters: Vec<Letter> = rejected.into_iter().map(letter).collect();
        let mut backoff = Backoff::new();
        // A few kilobytes, and seldom: not worth another thread.
        while let Err(error) = self.dead_letters.append(&letters) {
            trouble.say(&self.sink, &Setback::new("dead_letters", error.to_string()));
            tokio::time::sleep(backoff.next()).await;
        }
        for ((kind, reason), count) in counts {
            self.observer.rejected(kind, &reason, count);
            tracing::warn!(
                sink = self.sink,
                kind = kind.as_str(),
                reason,
                documents = count,
                "documents were rejected and are kept for `replay`"
            );
        }
    }
}

fn letter((item, reason, detail): (Item, String, String)) -> Letter {
    let time = dify_observe_core::dify::time::Micros::now().0 / 1000;
    let Item { kind, index, id, revision, source } = item;
    Letter { time, kind, index, id, revision, reason, detail, source }
}

fn halves(mut items: Vec<Item>) -> [Group; 2] {
    let second = items.split_off(items.len() / 2);
    [Group { items: second, body: None }, Group { items, body: None }]
}

fn is_overload(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Items(verdicts) => verdicts.iter().any(|verdict| matches!(verdict, Verdict::Again(setback) if setback.is_overload())),
        Outcome::Again(setback) => setback.is_overload(),
        Outcome::TooMuch { .. } => false,
    }
}
