//! Policies: what goes and what stays, decided from a bundle, its app and the time. Pure, so that what `plan` promises is what `run` does.
//!
//! Of several policies that fit a bundle, the longest age and the largest `keep_last` count, and a hold outranks everything: a policy
//! that is added can only make what it fits stay longer than the other named policies let it. `janitor.age` is for what no policy
//! with an age of its own fits.

mod apps;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::retention::{Bundle, Root};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::{JanitorSettings, PolicySettings};
use uuid::Uuid;

pub use apps::{Apps, PolicyError, check_names};

/// The name under which `janitor.age` stands in reports, metrics and the archive's lists.
pub const DEFAULT: &str = "default";

/// What the configuration says about keeping and letting go.
#[derive(Clone, Debug)]
pub struct Policies {
    default: Arc<str>,
    default_age: Duration,
    rules: Vec<Rule>,
}

/// One `[janitor.policies.<name>]`.
#[derive(Clone, Debug)]
struct Rule {
    name: Arc<str>,
    app_ids: Vec<Uuid>,
    app_names: Vec<String>,
    tags: Vec<String>,
    tenants: Vec<Uuid>,
    statuses: Vec<String>,
    age: Option<Duration>,
    keep_last: Option<u32>,
    hold: bool,
}

/// What policies ask about an app.
#[derive(Clone, Debug)]
pub struct AppFacts {
    /// Its names and tags.
    pub app: Arc<App>,
    /// For each question of [`Policies::questions`]: when the last of the newest so many began; `None` where there are fewer. An answer
    /// that is missing counts as "fewer", so that everything stays.
    pub newest: HashMap<Question, Option<Micros>>,
}

/// "When did the last of the newest `count` begin?", about the runs (with these statuses) or the conversations of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Runs or conversations.
    pub root: Root,
    /// How many.
    pub count: u32,
    /// Only runs with one of these statuses; empty: all.
    pub statuses: Vec<String>,
}

/// Whether a bundle goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes, by the age that this policy (or [`DEFAULT`]) says.
    Goes {
        /// Its name.
        policy: Arc<str>,
    },
    /// It stays.
    Stays(Stay),
}

/// Why a bundle stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stay {
    /// Younger than the age that this policy says.
    Young {
        /// Its name.
        policy: Arc<str>,
    },
    /// This policy holds it.
    Held {
        /// Its name.
        policy: Arc<str>,
    },
    /// It is among the newest that this policy keeps.
    KeptLast {
        /// Its name.
        policy: Arc<str>,
    },
}

impl Stay {
    /// A fixed word, for reports.
    pub const fn reason(&self) -> &'static str {
        match self {
            Stay::Young { .. } => "young",
            Stay::Held { .. } => "held",
            Stay::KeptLast { .. } => "kept_last",
        }
    }
}

impl Policies {
    /// Takes the policies from the configuration, which has been checked. That the apps and tags they name exist is looked up by
    /// [`check_names`].
    pub fn new(settings: &JanitorSettings) -> Policies {
        let rules = settings.policies.0.iter().map(|(name, policy)| Rule::new(name, policy)).collect();
        Policies { default: DEFAULT.into(), default_age: settings.age, rules }
    }

    /// The names of all policies, [`DEFAULT`] first.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.default).chain(self.rules.iter().map(|rule| &rule.name))
    }

    /// What ended at or after this time stays, whatever it is.
    pub fn loosest_cutoff(&self, now: Micros) -> Micros {
        let ages = self.rules.iter().filter_map(|rule| rule.age).chain([self.default_age]);
        ages.min().map_or(now, |age| now.minus(age))
    }

    /// What has to be known of an app, beside names and tags, before bundles of it can be decided.
    pub fn questions(&self, app: &App, tenant_id: Uuid) -> Vec<Question> {
        let mut questions = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.fits_app(app, tenant_id)) {
            for root in [Root::Run, Root::Conversation] {
                questions.extend(rule.question(root));
            }
        }
        questions
    }

    /// Whether a bundle goes now.
    pub fn decide(&self, bundle: &Bundle, facts: &AppFacts, now: Micros) -> Decision {
        let fitting: Vec<&Rule> = self.rules.iter().filter(|rule| rule.fits(bundle, &facts.app)).collect();
        if let Some(rule) = fitting.iter().find(|rule| rule.hold) {
            return Decision::Stays(Stay::Held { policy: rule.name.clone() });
        }
        let longest = fitting.iter().filter_map(|rule| Some((rule.age?, &rule.name))).max_by_key(|(age, _)| *age);
        let (age, policy) = longest.unwrap_or((self.default_age, &self.default));
        if bundle.ended_at >= now.minus(age) {
            return Decision::Stays(Stay::Young { policy: policy.clone() });
        }
        if let Some(rule) = fitting.iter().find(|rule| rule.keeps_as_last(bundle, facts)) {
            return Decision::Stays(Stay::KeptLast { policy: rule.name.clone() });
        }
        Decision::Goes { policy: policy.clone() }
    }
}

impl Rule {
    fn new(name: &str, settings: &PolicySettings) -> Rule {
        let (app_ids, app_names) = split_apps(&settings.apps);
        Rule {
            name: name.into(),
            app_ids,
            app_names,
            tags: settings.tags.clone(),
            tenants: settings.tenants.iter().filter_map(|tenant| Uuid::try_parse(tenant).ok()).collect(),
            statuses: settings.statuses.clone(),
            age: settings.age,
            keep_last: settings.keep_last,
            hold: settings.hold,
        }
    }

    fn fits_app(&self, app: &App, tenant_id: Uuid) -> bool {
        let named = || self.app_ids.contains(&app.id) || self.app_names.iter().any(|name| !app.is_deleted() && **name == *app.name);
        let any_app = self.app_ids.is_empty() && self.app_names.is_empty();
        (any_app || named())
            && (self.tags.is_empty() || app.tags.iter().any(|tag| self.tags.iter().any(|wanted| **wanted == **tag)))
            && (self.tenants.is_empty() || self.tenants.contains(&app.tenant_id.unwrap_or(tenant_id)))
    }

    fn fits(&self, bundle: &Bundle, app: &App) -> bool {
        let status_fits = || bundle.status.as_ref().is_some_and(|status| self.statuses.contains(status));
        self.fits_app(app, bundle.tenant_id) && (self.statuses.is_empty() || status_fits())
    }

    /// Conversations have no status.
    fn question(&self, root: Root) -> Option<Question> {
        let statuses = match root {
            Root::Run => self.statuses.clone(),
            Root::Conversation if self.statuses.is_empty() => Vec::new(),
            Root::Conversation => return None,
        };
        Some(Question { root, count: self.keep_last?, statuses })
    }

    /// Nothing ends before it begins, so that whatever is among the newest by its end has ended after the last of those that are the
    /// newest by their beginning began. That may keep a few more, never fewer.
    fn keeps_as_last(&self, bundle: &Bundle, facts: &AppFacts) -> bool {
        let Some(question) = self.question(bundle.root) else { return false };
        match facts.newest.get(&question) {
            Some(Some(began)) => bundle.ended_at >= *began,
            Some(None) | None => true,
        }
    }
}

/// Ids and names of a list of apps as people write it.
fn split_apps(apps: &[String]) -> (Vec<Uuid>, Vec<String>) {
    let (ids, names): (Vec<_>, Vec<_>) = apps.iter().map(|app| (app, Uuid::try_parse(app))).partition(|(_, id)| id.is_ok());
    (ids.into_iter().filter_map(|(_, id)| id.ok()).collect(), names.into_iter().map(|(name, _)| name.clone()).collect())
}
