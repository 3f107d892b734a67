//! Rows found by their parents, for many bundles in one statement: the parents travel as arrays, and the statement walks them in their
//! order, so that bundles in the order of time touch pages in the order of time.

use uuid::Uuid;

use super::bundle::Bundle;
use super::ownership::{NODE_TRIGGERS, Parent, Path, Prefix};
use super::rows::Key;
use crate::dify::session::Query;

/// Parents, column by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parents {
    /// Position of the bundle.
    bundles: Vec<i32>,
    ids: Vec<Uuid>,
    second: Vec<Uuid>,
    tenants: Vec<Uuid>,
    apps: Vec<Uuid>,
    workflows: Vec<Uuid>,
}

impl Parents {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds the parents of one bundle that a bundle names itself; those that are rows of it come by [`Parents::add_key`].
    pub(super) fn add_bundle(&mut self, position: i32, bundle: &Bundle, parent: Parent) {
        match parent {
            Parent::Root | Parent::Conversation => self.add(position, bundle, bundle.id, Uuid::nil()),
            Parent::Run => bundle.runs.iter().for_each(|run| self.add(position, bundle, run.id, run.workflow_id)),
            Parent::Message => bundle.messages.iter().for_each(|message| self.add(position, bundle, *message, Uuid::nil())),
            Parent::Node | Parent::Pause | Parent::Form | Parent::Delivery => {}
        }
    }

    /// Adds a row of a bundle: as a parent, or to be found by its own key.
    pub(super) fn add_key(&mut self, position: i32, bundle: &Bundle, key: Key) {
        self.add(position, bundle, key.id, Uuid::nil());
        self.second.extend(key.second);
    }

    fn add(&mut self, position: i32, bundle: &Bundle, id: Uuid, workflow: Uuid) {
        self.bundles.push(position);
        self.ids.push(id);
        self.tenants.push(bundle.tenant_id);
        self.apps.push(bundle.app_id);
        self.workflows.push(workflow);
    }

    /// Binds what [`relation`] names.
    pub(super) fn bind<'q>(&'q self, query: Query<'q>, find: &Find) -> Query<'q> {
        let query = query.bind(&self.bundles).bind(&self.ids);
        match find {
            Find::By(Prefix::None) | Find::Key { second: None } => query,
            Find::By(Prefix::App) => query.bind(&self.apps),
            Find::By(Prefix::Run) => query.bind(&self.tenants).bind(&self.apps).bind(&self.workflows),
            Find::Key { second: Some(_) } => query.bind(&self.second),
        }
    }
}

/// How rows `t` are matched with parents `p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// By the column that names the parent, behind what stands before it in the index.
    By(Prefix),
    /// By their own primary key.
    Key {
        /// The second column of the key.
        second: Option<String>,
    },
}

impl Find {
    /// How the rows of a path are found. Without an index by parent it is the rows themselves that are known.
    pub(super) fn new(path: &Path, second: Option<&str>) -> Find {
        match path {
            Path::PrimaryKey => Find::By(Prefix::None),
            Path::Index { prefix, .. } => Find::By(*prefix),
            Path::Prefetch => Find::Key { second: second.map(str::to_owned) },
        }
    }

    /// The parents as a table `p`.
    pub(super) fn relation(&self) -> &'static str {
        match self {
            Find::By(Prefix::None) | Find::Key { second: None } => "unnest($1::int4[], $2::uuid[]) AS p(bundle, id)",
            Find::By(Prefix::App) => "unnest($1::int4[], $2::uuid[], $3::uuid[]) AS p(bundle, id, app_id)",
            Find::By(Prefix::Run) => {
                "unnest($1::int4[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[]) AS p(bundle, id, tenant_id, app_id, workflow_id)"
            }
            Find::Key { second: Some(_) } => "unnest($1::int4[], $2::uuid[], $3::uuid[]) AS p(bundle, id, second)",
        }
    }

    /// What makes a row `t` one of a parent `p`, by `column`.
    pub(super) fn condition(&self, column: &str) -> String {
        match self {
            Find::By(Prefix::None) => format!("t.{column} = p.id"),
            Find::By(Prefix::App) => format!("t.app_id = p.app_id AND t.{column} = p.id"),
            Find::By(Prefix::Run) => format!(
                "t.tenant_id = p.tenant_id AND t.app_id = p.app_id AND t.workflow_id = p.workflow_id \
                 AND t.triggered_from IN ('{}') AND t.{column} = p.id",
                NODE_TRIGGERS.join("', '")
            ),
            Find::Key { second: None } => "t.id = p.id".to_owned(),
            Find::Key { second: Some(second) } => format!("t.id = p.id AND t.{second} = p.second"),
        }
    }

    /// That a row of `table` has a parent `p`: looked up parent by parent, whatever the planner thinks of the table's size.
    pub(super) fn exists(&self, table: &str, column: &str) -> String {
        format!("EXISTS (SELECT FROM {table} t WHERE {} OFFSET 0)", self.condition(column))
    }
}
