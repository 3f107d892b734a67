//! `/metrics` and `/position`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use dify_observe_core::dify::time::Micros;
use serde::Serialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::encode::{accepts_gzip, gzip, negotiate};
use crate::engine::Engine;

/// Prometheus says how long it will wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// What somebody gets who does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Kept for encoding and the way back.
const RESERVE: Duration = Duration::from_millis(500);

/// The routes.
pub(super) fn routes(engine: Arc<Mutex<Engine>>) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/position", get(position)).with_state(engine)
}

async fn metrics(State(engine): State<Arc<Mutex<Engine>>>, headers: HeaderMap) -> Response {
    let arrived = Instant::now();
    let timeout = scrape_timeout(&headers);
    let format = negotiate(text(&headers, ACCEPT.as_str()));
    let deadline = arrived + deadline_after(timeout.unwrap_or(DEFAULT_TIMEOUT));
    let mut body = Vec::new();
    engine.lock().await.answer(timeout.is_some(), deadline, format, &mut body).await;
    let mut response_headers = HeaderMap::new();
    response_headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response_headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if accepts_gzip(text(&headers, ACCEPT_ENCODING.as_str())) {
        match gzip(&body) {
            Ok(compressed) => {
                response_headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                body = compressed;
            }
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    (response_headers, body).into_response()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn scrape_timeout(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = text(headers, SCRAPE_TIMEOUT)?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// When stepping must end so that the answer arrives in time.
fn deadline_after(timeout: Duration) -> Duration {
    timeout.saturating_sub(RESERVE).max(timeout / 2)
}

/// What is counted durably.
#[derive(Debug, Serialize)]
struct PositionAnswer {
    /// Every record created before it, and not among `open`, is counted durably. RFC 3339, UTC.
    covered_until: String,
    /// Ids of runs and messages that are not final.
    open: Vec<Uuid>,
    /// Since when records are counted; `null` for since the beginning.
    start: Option<String>,
    /// Older records that are counted all the same: they were open at the start.
    open_at_start: Vec<Uuid>,
    /// When this was last brought up to date with the database, durably. RFC 3339, UTC.
    written_at: String,
}

async fn position(State(engine): State<Arc<Mutex<Engine>>>) -> Response {
    let engine = engine.lock().await;
    let Some(position) = engine.position() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no position yet: the database was not reached since the first start\n").into_response();
    };
    let earliest = Micros(0);
    Json(PositionAnswer {
        covered_until: position.covered_until.max(earliest).to_string(),
        open: position.open,
        start: (position.start != Micros::MIN).then(|| position.start.to_string()),
        open_at_start: position.open_at_start,
        written_at: engine.covered_at().to_string(),
    })
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stepping_ends_in_time_for_the_answer() {
        assert_eq!(deadline_after(Duration::from_secs(10)), Duration::from_millis(9500));
        assert_eq!(deadline_after(Duration::from_millis(400)), Duration::from_millis(200));
    }

    #[test]
    fn only_a_timeout_in_seconds_is_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(scrape_timeout(&headers), None);
        headers.insert(SCRAPE_TIMEOUT, HeaderValue::from_static("9.5"));
        assert_eq!(scrape_timeout(&headers), Some(Duration::from_millis(9500)));
        headers.insert(SCRAPE_TIMEOUT, HeaderValue::from_static("-1"));
        assert_eq!(scrape_timeout(&headers), None);
    }
}
