//! `/metrics` and `/position`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use dify_observe_core::dify::time::Micros;
use serde::Serialize;
use uuid::Uuid;

use crate::board::Covered;
use crate::metrics;
use crate::pipeline::Shared;

/// The routes.
pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/position", get(position)).with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.redactor.counts().for_each(|(rule, total)| shared.metrics.redacted(rule, total));
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], shared.metrics.render(&shared.board)).into_response()
}

/// What every sink covers, in the shape of the exporter's answer.
#[derive(Debug, Serialize)]
struct PositionAnswer {
    /// Every record created before it, and not among `open`, is in every sink that is given it, durably. RFC 3339, UTC.
    covered_until: String,
    /// Ids of runs and messages that are not final.
    open: Vec<Uuid>,
    /// Since when records are shipped to every sink; `null` for since the beginning.
    start: Option<String>,
    /// Older records that are shipped all the same: they were open at the start.
    open_at_start: Vec<Uuid>,
    /// When this was last brought up to date with the database, by the sink for which that is longest ago. RFC 3339, UTC.
    written_at: String,
    /// The same for each sink.
    sinks: BTreeMap<String, PartAnswer>,
}

#[derive(Debug, Serialize)]
struct PartAnswer {
    covered_until: String,
    open: Vec<Uuid>,
}

impl PositionAnswer {
    fn new(covered: Covered) -> Self {
        let shown = |time: Micros| time.max(Micros(0)).to_string();
        let part = |position: dify_observe_core::dify::follow::Position| PartAnswer {
            covered_until: shown(position.covered_until),
            open: position.open,
        };
        PositionAnswer {
            covered_until: shown(covered.until),
            open: covered.open.into_iter().collect(),
            start: (covered.start != Micros::MIN).then(|| covered.start.to_string()),
            open_at_start: covered.open_at_start.into_iter().collect(),
            written_at: covered.written_at.to_string(),
            sinks: covered.sinks.into_iter().map(|(name, position)| (name, part(position))).collect(),
        }
    }
}

async fn position(State(shared): State<Arc<Shared>>) -> Response {
    match shared.board.covered_by_all() {
        Some(covered) => Json(PositionAnswer::new(covered)).into_response(),
        None => {
            let reason = "no position: not every sink was shipped to since this instance began to ship, or another instance ships\n";
            (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
        }
    }
}
