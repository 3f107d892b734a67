//! Documents that no database has.

use std::sync::Arc;

use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use dify_shipper::document::{Document, Kind, Scope};
use dify_shipper::sink::Checkpoint;
use serde_json::Value;
use uuid::Uuid;

/// A document with these fields.
pub(crate) fn document(kind: Kind, id: &str, revision: u64, time: Micros, source: &Value) -> Document {
    let word = |text: &str| text.into();
    let app = App { id: Uuid::nil(), tenant_id: None, name: word("shop"), mode: word("chat"), status: word("normal"), tags: Vec::new() };
    let scope = Scope { app: Arc::new(app), status: None };
    Document { kind, id: id.to_owned(), revision, time, source: source.to_string().into_bytes().into(), scope }
}

/// A position that is equal to no other of these.
pub(crate) fn checkpoint(number: i64) -> Checkpoint {
    Checkpoint { follow: FollowState::for_tests(number) }
}

/// The time of a record that is made now.
pub(crate) fn now() -> Micros {
    Micros::now()
}
