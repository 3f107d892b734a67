//! What policies ask the database: that the apps and tags they name exist, and facts about apps.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::catalog::{Catalog, Wanted};
use dify_observe_core::dify::retention::survey;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, DatabaseError};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use uuid::Uuid;

use super::{AppFacts, Policies, Question};

/// A policy names what is not there. Going on would delete what it was meant to keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// An app.
    #[error("janitor.policies.{policy}.apps names {name:?}, and no app bears this name: write its name as the console shows it, or its id")]
    UnknownApp {
        /// The policy.
        policy: Arc<str>,
        /// What it names.
        name: String,
    },
    /// A tag.
    #[error("janitor.policies.{policy}.tags names {name:?}, and there is no such tag for apps: write it as the console shows it")]
    UnknownTag {
        /// The policy.
        policy: Arc<str>,
        /// What it names.
        name: String,
    },
    /// Tags cannot be seen.
    #[error(
        "janitor.policies.{policy}.tags cannot be looked up: the database role may not read the tables tags and tag_bindings; GRANT SELECT ON tags, tag_bindings TO <role>"
    )]
    NoTags {
        /// The policy.
        policy: Arc<str>,
    },
}

/// Looks up every app name and tag that the policies name. One that is not there is an error (exit 64): it may be a slip of the pen in what
/// was meant to hold something.
pub async fn check_names(db: &Database, schema: &Schema, policies: &Policies, timeout: Duration) -> anyhow::Result<()> {
    let mut tx = db.read(timeout).await?;
    for rule in policies.rules.iter().filter(|rule| !rule.app_names.is_empty()) {
        let known = survey::known_app_names(&mut tx, &rule.app_names).await?;
        if let Some(name) = rule.app_names.iter().find(|name| !known.contains(*name)) {
            return Err(PolicyError::UnknownApp { policy: rule.name.clone(), name: name.clone() }).or_exit(Exit::Configuration);
        }
    }
    for rule in policies.rules.iter().filter(|rule| !rule.tags.is_empty()) {
        let policy = rule.name.clone();
        let Some(known) = survey::known_tags(&mut tx, schema, &rule.tags).await? else {
            return Err(PolicyError::NoTags { policy }).or_exit(Exit::Configuration);
        };
        if let Some(name) = rule.tags.iter().find(|name| !known.contains(*name)) {
            return Err(PolicyError::UnknownTag { policy, name: name.clone() }).or_exit(Exit::Configuration);
        }
    }
    tx.end().await?;
    Ok(())
}

/// Facts about apps, read when they are first needed. Names and tags are read again when they are minutes old, so that a hold that is
/// set during a long run counts; what `keep_last` asks is read once, which keeps no fewer: later runs only push the mark up.
#[derive(Debug, Default)]
pub struct Apps {
    catalog: Catalog,
    answers: HashMap<Uuid, HashMap<Question, Option<Micros>>>,
    /// Apps of which a question took longer than its timeout: `keep_last` keeps everything of them.
    unanswered: BTreeSet<Uuid>,
}

impl Apps {
    /// Reads what is not known of these apps, given with the tenant that their runs name. `now` only ages names and tags.
    pub async fn read(
        &mut self,
        db: &Database,
        schema: &Schema,
        policies: &Policies,
        apps: &BTreeSet<(Uuid, Uuid)>,
        now: Micros,
        timeout: Duration,
    ) -> Result<(), DatabaseError> {
        self.read_names(db, schema, &apps.iter().map(|(app, _)| *app).collect(), now, timeout).await?;
        for (app_id, tenant_id) in apps {
            for question in policies.questions(&self.catalog.app(*app_id), *tenant_id) {
                self.ask(db, *app_id, *tenant_id, question, timeout).await?;
            }
        }
        Ok(())
    }

    /// Reads only what apps are called and tagged with.
    pub async fn read_names(
        &mut self,
        db: &Database,
        schema: &Schema,
        apps: &BTreeSet<Uuid>,
        now: Micros,
        timeout: Duration,
    ) -> Result<(), DatabaseError> {
        let wanted = Wanted { apps: apps.clone(), ..Wanted::default() };
        let mut tx = db.read(timeout).await?;
        self.catalog.read(&mut tx, schema, &wanted, now).await?;
        tx.end().await
    }

    /// What is known of an app; one that was not read is taken for deleted.
    pub fn facts(&self, app_id: Uuid) -> AppFacts {
        AppFacts { app: self.catalog.app(app_id), newest: self.answers.get(&app_id).cloned().unwrap_or_default() }
    }

    /// Apps of which everything stays, because finding the newest of theirs took too long.
    pub fn unanswered(&self) -> &BTreeSet<Uuid> {
        &self.unanswered
    }

    async fn ask(
        &mut self,
        db: &Database,
        app_id: Uuid,
        tenant_id: Uuid,
        question: Question,
        timeout: Duration,
    ) -> Result<(), DatabaseError> {
        let known = self.answers.get(&app_id).is_some_and(|answers| answers.contains_key(&question));
        if known || self.unanswered.contains(&app_id) {
            return Ok(());
        }
        let tenant_id = self.catalog.app(app_id).tenant_id.unwrap_or(tenant_id);
        let mut tx = db.read(timeout).await?;
        match survey::newest(&mut tx, question.root, tenant_id, app_id, question.count, &question.statuses).await {
            Ok(began) => {
                self.answers.entry(app_id).or_default().insert(question, began);
            }
            Err(DatabaseError::Timeout) => {
                tracing::warn!(app_id = %app_id, "finding the newest runs of an app took too long: keep_last keeps everything of it");
                self.unanswered.insert(app_id);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
