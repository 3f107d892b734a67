//! Names and configuration that records refer to: apps, tags, data sets, and the models and tools of workflow graphs.
//!
//! Records hold ids; what people read stands in other tables, which may be gone, renamed or not readable. The catalogue
//! keeps what was asked for, in bounds, and is asked without waiting: whoever has new records calls [`Catalog::prepare`]
//! with them first, inside the transaction that it has open anyway.

mod cache;
mod graph;
mod queries;
mod wanted;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::follow::Event;
use super::records::{Node, Run, Word};
use super::schema::Schema;
use super::session::{DatabaseError, ReadTx};
use super::time::Micros;
use crate::labels::LabelRules;

use cache::Cache;
pub use graph::{GraphModel, GraphNode, GraphTool, parse_graph};
pub use wanted::Wanted;

/// The name and mode of an app that has no row.
pub const DELETED: &str = "deleted";

/// Names and tags may change: they are read again after this time.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// A published workflow never changes, a draft does all the time.
const FRESH_DRAFT: Duration = Duration::from_secs(60);
/// A row that is not there may come (an app that is being made), so it is looked for again soon.
const FRESH_ABSENCE: Duration = Duration::from_secs(60);
/// Published versions are looked at again all the same, once in a while: the row may have been edited by hand.
const FRESH_PUBLISHED: Duration = Duration::from_secs(24 * 3600);

/// An app, or what takes an app's place for a run: a knowledge pipeline, a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// `apps.id`
    pub id: Uuid,
    /// `tenant_id`; `None` when the row is gone
    pub tenant_id: Option<Uuid>,
    /// `name`, or [`DELETED`]
    pub name: Word,
    /// `mode`, or [`DELETED`]
    pub mode: Word,
    /// `status`, or [`DELETED`]
    pub status: Word,
    /// Names of its tags, sorted.
    pub tags: Vec<Word>,
}

impl App {
    fn deleted(id: Uuid) -> Self {
        App { id, tenant_id: None, name: DELETED.into(), mode: DELETED.into(), status: DELETED.into(), tags: Vec::new() }
    }

    /// Whether its row is gone.
    pub fn is_deleted(&self) -> bool {
        self.tenant_id.is_none()
    }
}

/// A data set (knowledge base).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// `datasets.name`, or [`DELETED`]
    pub name: Word,
    /// `tenant_id`; `None` when the row is gone
    pub tenant_id: Option<Uuid>,
}

/// A person, as one app knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndUser {
    /// `session_id`: the `user` that callers of the API pass
    pub session_id: Word,
    /// `created_at`: the first contact
    pub first_seen: Micros,
}

/// What is known of the things that records refer to.
#[derive(Debug)]
pub struct Catalog {
    apps: Cache<Arc<App>>,
    datasets: Cache<Dataset>,
    end_users: Cache<Option<EndUser>>,
    graphs: Cache<HashMap<Word, GraphNode>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog { apps: Cache::new(20_000), datasets: Cache::new(5_000), end_users: Cache::new(20_000), graphs: Cache::new(1_000) }
    }
}

impl Catalog {
    /// Reads what these events refer to, as far as the label rules need it, and is not known freshly enough.
    /// Before the first probe of the schema there are no events.
    pub async fn prepare(
        &mut self,
        tx: &mut ReadTx,
        events: &[Event],
        schema: Option<&Arc<Schema>>,
        labels: &LabelRules,
    ) -> Result<(), DatabaseError> {
        let Some(schema) = schema else { return Ok(()) };
        let wanted = Wanted::of(events, labels.needs_end_user() || labels.needs_user_age());
        self.read(tx, schema, &wanted, Micros::now()).await
    }

    /// Reads what is wanted and not known, or not known freshly enough. Optional tables and columns that are not there, or
    /// not readable, are left out. `now` only ages entries.
    pub async fn read(&mut self, tx: &mut ReadTx, schema: &Schema, wanted: &Wanted, now: Micros) -> Result<(), DatabaseError> {
        self.prepare_apps(tx, schema, self.apps.missing(wanted.apps.iter().copied(), now), now).await?;
        self.prepare_datasets(tx, schema, wanted, now).await?;
        self.prepare_end_users(tx, schema, wanted, now).await?;
        self.prepare_graphs(tx, schema, wanted, now).await
    }

    /// Reads every app again, up to the cache's bound: for facts about all apps, those without records included.
    pub async fn refresh_all_apps(&mut self, tx: &mut ReadTx, schema: &Schema, now: Micros) -> Result<(), DatabaseError> {
        let ids = queries::app_ids(tx, schema, self.apps.bound()).await?;
        let gone: Vec<Uuid> = self.apps.keys().filter(|id| !ids.contains(id)).collect();
        self.prepare_apps(tx, schema, ids.into_iter().chain(gone).collect(), now).await
    }

    async fn prepare_apps(&mut self, tx: &mut ReadTx, schema: &Schema, ids: Vec<Uuid>, now: Micros) -> Result<(), DatabaseError> {
        for page in ids.chunks(queries::PAGE) {
            let mut found = queries::apps(tx, schema, page).await?;
            let absent: Vec<Uuid> = page.iter().copied().filter(|id| !found.contains_key(id)).collect();
            found.extend(queries::substitutes(tx, schema, &absent).await?);
            let mut tags = queries::tags(tx, schema, page).await?;
            for id in page {
                let (app, fresh) = match found.remove(id) {
                    Some(app) => (App { tags: tags.remove(id).unwrap_or_default(), ..app }, FRESH),
                    None => (App::deleted(*id), FRESH_ABSENCE),
                };
                self.apps.insert(*id, Arc::new(app), now, fresh);
            }
        }
        Ok(())
    }

    async fn prepare_datasets(&mut self, tx: &mut ReadTx, schema: &Schema, wanted: &Wanted, now: Micros) -> Result<(), DatabaseError> {
        for page in self.datasets.missing(wanted.datasets.iter().copied(), now).chunks(queries::PAGE) {
            let mut found = queries::datasets(tx, schema, page).await?;
            for id in page {
                let fresh = if found.contains_key(id) { FRESH } else { FRESH_ABSENCE };
                let dataset = found.remove(id).unwrap_or(Dataset { name: DELETED.into(), tenant_id: None });
                self.datasets.insert(*id, dataset, now, fresh);
            }
        }
        Ok(())
    }

    async fn prepare_end_users(&mut self, tx: &mut ReadTx, schema: &Schema, wanted: &Wanted, now: Micros) -> Result<(), DatabaseError> {
        for page in self.end_users.missing(wanted.end_users.iter().copied(), now).chunks(queries::PAGE) {
            let mut found = queries::end_users(tx, schema, page).await?;
            for id in page {
                let end_user = found.remove(id);
                let fresh = if end_user.is_some() { FRESH_PUBLISHED } else { FRESH_ABSENCE };
                self.end_users.insert(*id, end_user, now, fresh);
            }
        }
        Ok(())
    }

    /// One canvas at a time: each may have megabytes, and only a few words of it are kept.
    async fn prepare_graphs(&mut self, tx: &mut ReadTx, schema: &Schema, wanted: &Wanted, now: Micros) -> Result<(), DatabaseError> {
        for id in self.graphs.missing(wanted.workflows.iter().copied(), now) {
            let (nodes, fresh) = match queries::graph(tx, schema, id).await? {
                Some((version, graph)) => (parse_graph(&graph), if version == "draft" { FRESH_DRAFT } else { FRESH_PUBLISHED }),
                None => (HashMap::new(), FRESH_ABSENCE),
            };
            self.graphs.insert(id, nodes, now, fresh);
        }
        Ok(())
    }

    /// The app; one that is not known is taken for deleted.
    pub fn app(&self, id: Uuid) -> Arc<App> {
        self.apps.get(id).cloned().unwrap_or_else(|| Arc::new(App::deleted(id)))
    }

    /// All apps that are known and not deleted.
    pub fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values().filter(|app| !app.is_deleted())
    }

    /// The data set, where it is known.
    pub fn dataset(&self, id: Uuid) -> Option<&Dataset> {
        self.datasets.get(id)
    }

    /// The end user, where it was asked for and is there.
    pub fn end_user(&self, id: Uuid) -> Option<&EndUser> {
        self.end_users.get(id)?.as_ref()
    }

    /// What the canvas says about a node of a run.
    pub fn graph_node(&self, run: &Run, node: &Node) -> Option<&GraphNode> {
        self.graphs.get(run.key.workflow_id)?.get(&node.node_id)
    }

    /// Puts an app in by hand. For tests, and for callers that have the row already.
    pub fn insert_app(&mut self, app: App, now: Micros) {
        self.apps.insert(app.id, Arc::new(app), now, FRESH);
    }

    /// Puts a canvas in by hand. For tests, and for callers that have the row already.
    pub fn insert_graph(&mut self, workflow_id: Uuid, graph: &str, now: Micros) {
        self.graphs.insert(workflow_id, parse_graph(graph), now, FRESH_PUBLISHED);
    }

    /// Puts an end user in by hand. For tests, and for callers that have the row already.
    pub fn insert_end_user(&mut self, id: Uuid, end_user: EndUser, now: Micros) {
        self.end_users.insert(id, Some(end_user), now, FRESH_PUBLISHED);
    }

    /// Forgets everything: another database stands under the same URL.
    pub fn clear(&mut self) {
        *self = Catalog::default();
    }
}

/// A set of ids in a fixed order.
type Ids = BTreeSet<Uuid>;
