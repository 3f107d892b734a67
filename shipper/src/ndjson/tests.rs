//! The sink against deaths at every operation, full disks, and damage.

mod crash;
mod sink;

use std::sync::Arc;

use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use crate::document::{Document, Kind, Scope};

/// A document with these fields.
pub(crate) fn document(kind: Kind, id: &str, revision: u64, time: i64, source: &serde_json::Value) -> Document {
    let app = App { id: Uuid::nil(), tenant_id: None, name: "app".into(), mode: "chat".into(), status: "normal".into(), tags: Vec::new() };
    Document {
        kind,
        id: id.to_owned(),
        revision,
        time: Micros(time),
        source: source.to_string().into(),
        scope: Scope { app: Arc::new(app), status: None },
    }
}
