//! Which documents a sink is given.

use std::collections::BTreeSet;

use dify_observe_core::dify::catalog::App;
use dify_observe_core::settings::SinkSettings;
use uuid::Uuid;

use crate::document::{Document, Kind};

/// The conditions of one sink. Every one that is set must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    kinds: Vec<Kind>,
    apps: BTreeSet<String>,
    tags: BTreeSet<String>,
    tenants: BTreeSet<Uuid>,
    statuses: BTreeSet<String>,
}

impl Filter {
    /// The filter of a sink, whose settings were checked.
    pub(crate) fn new(settings: &SinkSettings) -> Self {
        let set = |list: &[String]| list.iter().cloned().collect();
        Filter {
            kinds: settings.kinds.iter().filter_map(|kind| Kind::parse(kind)).collect(),
            // Ids are compared in the one form in which they are written here.
            apps: settings.apps.iter().map(|app| Uuid::parse_str(app).map_or_else(|_| app.clone(), |id| id.to_string())).collect(),
            tags: set(&settings.tags),
            tenants: settings.tenants.iter().filter_map(|tenant| Uuid::parse_str(tenant).ok()).collect(),
            statuses: set(&settings.statuses),
        }
    }

    /// Whether documents of the kind are wanted at all.
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether records of the app are wanted, as far as its name and id say.
    pub(crate) fn takes_app(&self, app: &App) -> bool {
        self.apps.is_empty() || self.apps.contains(&*app.name) || self.apps.contains(&app.id.to_string())
    }

    /// Whether the sink is given this document.
    pub(crate) fn passes(&self, document: &Document) -> bool {
        let app = &document.scope.app;
        self.wants(document.kind)
            && self.takes_app(app)
            && (self.tags.is_empty() || app.tags.iter().any(|tag| self.tags.contains(&**tag)))
            && (self.tenants.is_empty() || app.tenant_id.is_some_and(|tenant| self.tenants.contains(&tenant)))
            && (self.statuses.is_empty() || document.scope.status.as_ref().is_some_and(|status| self.statuses.contains(&**status)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use dify_observe_core::dify::time::Micros;

    use super::*;
    use crate::document::Scope;

    fn document(kind: Kind, status: Option<&str>) -> Document {
        let app = App {
            id: Uuid::from_u128(7),
            tenant_id: Some(Uuid::from_u128(8)),
            name: "Support".into(),
            mode: "chat".into(),
            status: "normal".into(),
            tags: vec!["gold".into(), "beta".into()],
        };
        let scope = Scope { app: Arc::new(app), status: status.map(Into::into) };
        Document { kind, id: "x".to_owned(), revision: 1, time: Micros(0), source: Bytes::from_static(b"{}"), scope }
    }

    fn passes(change: impl FnOnce(&mut SinkSettings), document: &Document) -> bool {
        let mut settings = SinkSettings::default();
        change(&mut settings);
        Filter::new(&settings).passes(document)
    }

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn an_empty_filter_lets_everything_pass() {
        assert!(passes(|_| {}, &document(Kind::Feedback, None)));
    }

    #[test]
    fn each_condition_is_met_by_any_of_its_entries() {
        let failed = document(Kind::Message, Some("failed"));
        assert!(passes(|s| s.kinds = list(&["message", "feedback"]), &failed));
        assert!(!passes(|s| s.kinds = list(&["workflow_run"]), &failed));
        assert!(passes(|s| s.apps = list(&["Support"]), &failed));
        assert!(passes(|s| s.apps = list(&["00000000-0000-0000-0000-000000000007"]), &failed));
        assert!(passes(|s| s.apps = list(&["00000000000000000000000000000007"]), &failed));
        assert!(!passes(|s| s.apps = list(&["support"]), &failed));
        assert!(passes(|s| s.tags = list(&["silver", "beta"]), &failed));
        assert!(!passes(|s| s.tags = list(&["silver"]), &failed));
        assert!(passes(|s| s.tenants = list(&["00000000-0000-0000-0000-000000000008"]), &failed));
        assert!(!passes(|s| s.tenants = list(&["00000000-0000-0000-0000-000000000009"]), &failed));
        assert!(passes(|s| s.statuses = list(&["failed"]), &failed));
        assert!(!passes(|s| s.statuses = list(&["succeeded"]), &failed));
    }

    #[test]
    fn what_has_no_status_does_not_pass_a_condition_on_it() {
        assert!(!passes(|s| s.statuses = list(&["failed"]), &document(Kind::Feedback, None)));
    }

    #[test]
    fn every_condition_must_hold() {
        let both = |s: &mut SinkSettings| (s.kinds, s.statuses) = (list(&["message"]), list(&["failed"]));
        assert!(passes(both, &document(Kind::Message, Some("failed"))));
        assert!(!passes(both, &document(Kind::Message, Some("succeeded"))));
    }

    #[test]
    fn settings_and_documents_know_the_same_kinds() {
        assert_eq!(Kind::ALL.map(Kind::as_str), dify_observe_core::settings::DOCUMENT_KINDS);
    }
}
