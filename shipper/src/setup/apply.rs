//! Comparing what there is with what there should be, and changing what differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, WithExit};
use dify_observe_core::settings::{PartitionLength, ShipperSettings, SinkSettings};
use elasticsearch::http::Method;
use serde_json::Value;

use super::object::{Object, Sort};
use super::report::{Report, Step};
use super::{lifecycle, templates};
use crate::document::Kind;
use crate::elasticsearch::client::{Client, Content};
use crate::elasticsearch::partition::{Schedule, alias};
use crate::elasticsearch::setback::Setback;
use crate::elasticsearch::{Distribution, Server, partitions, position};

/// One engine and what is wanted of it.
pub(super) struct Setup<'a> {
    pub(super) client: Arc<Client>,
    pub(super) server: Server,
    pub(super) sink: &'a SinkSettings,
    pub(super) shipper: &'a ShipperSettings,
    pub(super) now: Micros,
    pub(super) dry_run: bool,
}

/// What is there in place of an object.
enum Found {
    Same,
    Nothing,
    /// With the query that a PUT needs to replace it.
    Other(String),
    /// The server knows no such objects.
    Unknown,
}

impl Setup<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<Report> {
        let mut report = Report::new(self.server.clone());
        let schedules = self.schedules().await?;
        let has_policies = self.policies(&schedules, &mut report).await?;
        if !has_policies {
            report.steps.push(Step::Note(self.without_policies().to_owned()));
        }
        self.object(&templates::settings(self.sink, self.shipper), &mut report).await?;
        for (kind, schedule) in &schedules {
            let mapping = templates::mapping(*kind, self.sink, self.shipper);
            let changed = self.object(&mapping, &mut report).await?;
            if changed {
                self.mapping_of_existing(*kind, &mapping.body["template"]["mappings"], &mut report).await?;
            }
            self.object(&templates::index(*kind, self.sink, self.shipper, &self.server, schedule), &mut report).await?;
        }
        self.index_of_positions(&mut report).await?;
        Ok(report)
    }

    /// The schedule of each kind, with a change of length where the settings ask for one.
    async fn schedules(&self) -> anyhow::Result<BTreeMap<Kind, Schedule>> {
        let mut schedules = BTreeMap::new();
        for kind in Kind::ALL {
            let wanted = self.shipper.partition.get(kind.as_str()).copied().unwrap_or(PartitionLength::Week);
            let path = format!("/_index_template/{}", alias(kind, &self.shipper.namespace));
            let answer = self.client.get(&path).await.map_err(unavailable)?;
            let schedule = match answer.status {
                404 => Schedule::new(wanted),
                200 => partitions::schedule_of(&answer.json()).map_or_else(|| Schedule::new(wanted), |now| now.with(wanted, self.now)),
                _ => return Err(refused(Setback::of(&answer, &format!("read {path}")), "")),
            };
            schedules.insert(kind, schedule);
        }
        Ok(schedules)
    }

    /// Whether the server has policies at all.
    async fn policies(&self, schedules: &BTreeMap<Kind, Schedule>, report: &mut Report) -> anyhow::Result<bool> {
        if !self.sink.lifecycle {
            return Ok(true);
        }
        for (kind, schedule) in schedules {
            let policy = lifecycle::policy(*kind, self.sink, self.shipper, &self.server, schedule, self.now);
            if matches!(self.find(&policy).await?, Found::Unknown) {
                return Ok(false);
            }
            self.object(&policy, report).await?;
        }
        Ok(true)
    }

    fn without_policies(&self) -> &'static str {
        match self.server.distribution {
            Distribution::Elasticsearch => {
                "this Elasticsearch has no index lifecycle management: nothing becomes warm or cold; the shipper itself deletes old indices"
            }
            Distribution::OpenSearch => {
                "this OpenSearch has no index state management plugin: nothing becomes warm or cold; the shipper itself deletes old indices"
            }
        }
    }

    /// Whether it had to be changed.
    async fn object(&self, object: &Object, report: &mut Report) -> anyhow::Result<bool> {
        let (step, query) = match self.find(object).await? {
            Found::Same => (Step::Unchanged(object.name.clone()), None),
            Found::Nothing | Found::Unknown => (Step::Created(object.name.clone()), Some(String::new())),
            Found::Other(query) => (Step::Updated(object.name.clone()), Some(query)),
        };
        let changed = query.is_some();
        if let Some(query) = query {
            self.put(&format!("{}{query}", object.path), &object.body, &object.name, report).await?;
        }
        report.steps.push(step);
        Ok(changed)
    }

    async fn find(&self, object: &Object) -> anyhow::Result<Found> {
        let answer = self.client.get(&object.path).await.map_err(unavailable)?;
        let body = answer.json();
        Ok(match answer.status {
            404 => Found::Nothing,
            200 if object.is_same(&body) => Found::Same,
            200 if object.sort == Sort::Policy => {
                Found::Other(format!("?if_seq_no={}&if_primary_term={}", body["_seq_no"], body["_primary_term"]))
            }
            200 => Found::Other(String::new()),
            // "no handler found for uri": a plugin or a module that is not installed.
            400 | 405 if object.path.contains("/polic") => Found::Unknown,
            _ => return Err(refused(Setback::of(&answer, &format!("read the {}", object.name)), &answer.error_reason())),
        })
    }

    async fn put(&self, path: &str, body: &Value, what: &str, report: &mut Report) -> anyhow::Result<()> {
        report.requests.push(("PUT", path.to_owned(), body.clone()));
        if self.dry_run {
            return Ok(());
        }
        let answer = self.client.send(Method::Put, path, &Content::Json(body.clone())).await.map_err(unavailable)?;
        // Another setup, of another namespace, made the index of positions a moment ago.
        if answer.is_success() || answer.error_type() == "resource_already_exists_exception" {
            return Ok(());
        }
        Err(refused(Setback::of(&answer, &format!("put the {what}")), &answer.error_reason()))
    }

    /// Partitions that are there already learn new fields. What cannot be changed in them takes effect with the next partition.
    async fn mapping_of_existing(&self, kind: Kind, mapping: &Value, report: &mut Report) -> anyhow::Result<()> {
        let name = alias(kind, &self.shipper.namespace);
        let exists = self.client.get(&format!("/_alias/{name}")).await.map_err(unavailable)?;
        if exists.status == 404 {
            return Ok(());
        }
        let path = format!("/{name}-*/_mapping");
        report.requests.push(("PUT", path.clone(), mapping.clone()));
        if self.dry_run {
            return Ok(());
        }
        let answer = self.client.put(&path, mapping).await.map_err(unavailable)?;
        report.steps.push(if answer.is_success() {
            Step::Updated(format!("the mapping of existing indices of {name}"))
        } else {
            Step::Note(format!(
                "existing indices of {name} keep their mapping ({}); the new one begins with the next index",
                answer.error_reason()
            ))
        });
        Ok(())
    }

    async fn index_of_positions(&self, report: &mut Report) -> anyhow::Result<()> {
        let (name, path) = (format!("index {}", position::INDEX), format!("/{}", position::INDEX));
        let answer = self.client.get(&path).await.map_err(unavailable)?;
        match answer.status {
            200 => report.steps.push(Step::Unchanged(name)),
            404 => {
                self.put(&path, &position::index_body(), &name, report).await?;
                report.steps.push(Step::Created(name));
            }
            _ => return Err(refused(Setback::of(&answer, &format!("look for the {name}")), &answer.error_reason())),
        }
        Ok(())
    }
}

fn unavailable(setback: Setback) -> anyhow::Error {
    with_exit(Exit::Unavailable, setback.sentence)
}

/// What the engine says is about names, settings and rights here: no document takes part.
fn refused(setback: Setback, reason: &str) -> anyhow::Error {
    let sentence = if reason.is_empty() { setback.sentence } else { format!("{} ({reason})", setback.sentence) };
    with_exit(if setback.reason == "refused" { Exit::Failed } else { Exit::Unavailable }, sentence)
}

fn with_exit(exit: Exit, sentence: String) -> anyhow::Error {
    WithExit::new(exit, anyhow!(sentence)).into()
}
