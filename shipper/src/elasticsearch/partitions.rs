//! The indices: made before they are used, and only from our template; removed when all that they hold is older than is kept.
//!
//! Elasticsearch has a template of its own for `logs-*-*`, by which a document that is sent into a partition that does not exist makes a data
//! stream of that name. So nothing is sent before the partition is there and carries the mark of our mapping.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dify_observe_core::clock::Clock;
use dify_observe_core::dify::time::Micros;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::client::Client;
use super::partition::{Partition, Schedule, alias, day_of_index};
use super::setback::Setback;
use crate::document::Kind;

/// The name, in `_meta` of templates and mappings, of what is ours.
pub(crate) const MARK: &str = "dify_observe";

/// The schedule is read again so often; see `partition`.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// The next partition is made so long before it is needed.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The partitions of one sink.
#[derive(Debug)]
pub(crate) struct Partitions {
    client: Arc<Client>,
    namespace: String,
    keep: Duration,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    schedules: HashMap<Kind, (Schedule, Instant)>,
    /// Indices that are known to be there, and to be ours.
    ready: HashSet<String>,
}

/// Where a record belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In this index, which is there.
    Index(String),
    /// Nowhere: it is older than is kept.
    Expired,
}

impl Partitions {
    pub(crate) fn new(client: Arc<Client>, namespace: &str, keep: Duration, clock: Clock) -> Self {
        Partitions { client, namespace: namespace.to_owned(), keep, clock, state: Mutex::default() }
    }

    /// The home of a record; its index is made where it is missing.
    pub(crate) async fn home(&self, kind: Kind, time: Micros) -> Result<Home, Setback> {
        let mut state = self.state.lock().await;
        let partition = self.schedule(&mut state, kind).await?.partition(time);
        if partition.is_expired(self.now(), self.keep) {
            return Ok(Home::Expired);
        }
        self.make(&mut state, kind, partition).await.map(Home::Index)
    }

    /// As `home`, of a document whose index was decided before.
    pub(crate) async fn home_of(&self, kind: Kind, index: &str) -> Result<Home, Setback> {
        let Some(day) = day_of_index(index, kind, &self.namespace) else {
            return Err(Setback::new("no_template", format!("{index} is no index of this sink's namespace")));
        };
        let mut state = self.state.lock().await;
        let partition = self.schedule(&mut state, kind).await?.partition_of_day(day);
        if partition.is_expired(self.now(), self.keep) {
            return Ok(Home::Expired);
        }
        self.make(&mut state, kind, Partition { start: day, ..partition }).await.map(Home::Index)
    }

    /// An index was not there after all.
    pub(crate) async fn forget(&self, index: &str) {
        self.state.lock().await.ready.remove(index);
    }

    /// Makes the partitions that are needed within a day, of kinds that were seen; removes those that are past retention. How many it removed.
    pub(crate) async fn look_after(&self) -> Result<usize, Setback> {
        let kinds: Vec<Kind> = self.state.lock().await.schedules.keys().copied().collect();
        for kind in &kinds {
            self.home(*kind, self.now().plus(AHEAD)).await?;
        }
        let mut removed = 0;
        for kind in kinds {
            removed += self.remove_expired(kind).await?;
        }
        Ok(removed)
    }

    async fn remove_expired(&self, kind: Kind) -> Result<usize, Setback> {
        let mut removed = 0;
        for (index, partition) in self.existing(kind).await? {
            if !partition.is_expired(self.now(), self.keep) {
                continue;
            }
            let answer = self.client.delete(&format!("/{index}")).await?;
            if !answer.is_success() && answer.status != 404 {
                return Err(Setback::of(&answer, &format!("delete {index}, which is past shipper.sinks.<name>.delete_after")));
            }
            self.forget(&index).await;
            tracing::info!(index, "deleted an index that is past retention");
            removed += 1;
        }
        Ok(removed)
    }

    /// The partitions of a kind that exist.
    async fn existing(&self, kind: Kind) -> Result<BTreeMap<String, Partition>, Setback> {
        let schedule = {
            let mut state = self.state.lock().await;
            self.schedule(&mut state, kind).await?.clone()
        };
        let pattern = format!("{}-*", alias(kind, &self.namespace));
        let path = format!("/{pattern}/_settings/index.creation_date?allow_no_indices=true&ignore_unavailable=true&expand_wildcards=all");
        let answer = self.client.get(&path).await?;
        if !answer.is_success() {
            return Err(Setback::of(&answer, &format!("list the indices {pattern}")));
        }
        let names = answer.json().as_object().map(|indices| indices.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let partition = |name: &String| Some(schedule.partition_of_day(day_of_index(name, kind, &self.namespace)?));
        Ok(names.into_iter().filter_map(|name| Some((name.clone(), partition(&name)?))).collect())
    }

    /// The schedule of a kind, as the template has it now.
    async fn schedule<'a>(&self, state: &'a mut State, kind: Kind) -> Result<&'a Schedule, Setback> {
        let is_fresh = state.schedules.get(&kind).is_some_and(|(_, read)| self.clock.instant().duration_since(*read) < READ_AGAIN);
        if !is_fresh {
            let schedule = read_schedule(&self.client, kind, &self.namespace).await?;
            state.schedules.insert(kind, (schedule, self.clock.instant()));
        }
        let found = state.schedules.get(&kind).map(|(schedule, _)| schedule);
        found.ok_or_else(|| no_template(kind, &self.namespace))
    }

    async fn make(&self, state: &mut State, kind: Kind, partition: Partition) -> Result<String, Setback> {
        let index = partition.index(kind, &self.namespace);
        if !state.ready.contains(&index) {
            create(&self.client, &index).await?;
            must_be_ours(&self.client, &index).await?;
            state.ready.insert(index.clone());
        }
        Ok(index)
    }

    fn now(&self) -> Micros {
        Micros(self.clock.unix_micros())
    }
}

/// The schedule that the template holds.
pub(crate) async fn read_schedule(client: &Client, kind: Kind, namespace: &str) -> Result<Schedule, Setback> {
    let name = alias(kind, namespace);
    let answer = client.get(&format!("/_index_template/{name}")).await?;
    if answer.status == 404 {
        return Err(no_template(kind, namespace));
    }
    if !answer.is_success() {
        return Err(Setback::of(&answer, &format!("read the index template {name}")));
    }
    schedule_of(&answer.json()).ok_or_else(|| no_template(kind, namespace))
}

/// The schedule in the answer to a request for an index template.
pub(crate) fn schedule_of(answer: &Value) -> Option<Schedule> {
    Schedule::parse(&answer["index_templates"][0]["index_template"]["_meta"][MARK]["partitions"])
}

fn no_template(kind: Kind, namespace: &str) -> Setback {
    let name = alias(kind, namespace);
    Setback::new("no_template", format!("the engine has no index template {name} of this program: run `dify-shipper setup`"))
}

async fn create(client: &Client, index: &str) -> Result<(), Setback> {
    let answer = client.put(&format!("/{index}"), &json!({})).await?;
    let is_there = answer.is_success() || answer.error_type() == "resource_already_exists_exception";
    if is_there {
        return Ok(());
    }
    let setback = Setback::of(&answer, &format!("create the index {index}"));
    // No document takes part: what the engine says is about names and limits.
    Err(Setback { sentence: format!("{} ({})", setback.sentence, answer.error_reason()), ..setback })
}

async fn must_be_ours(client: &Client, index: &str) -> Result<(), Setback> {
    let answer = client.get(&format!("/{index}/_mapping")).await?;
    if !answer.is_success() {
        return Err(Setback::of(&answer, &format!("read the mapping of {index}")));
    }
    if answer.json()[index]["mappings"]["_meta"][MARK].is_object() {
        return Ok(());
    }
    Err(Setback::new(
        "no_template",
        format!(
            "the index {index} was not made from this program's template: look for another template with a higher priority, or run `dify-shipper setup` and delete {index}"
        ),
    ))
}
