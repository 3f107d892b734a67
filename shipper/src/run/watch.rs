//! Readiness and the status page: the board, for load balancers and for people.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::admin::{Condition, Landing, Readiness};
use dify_observe_core::dify::time::Micros;
use tokio::sync::watch;

use crate::board::{Phase, SinkState};
use crate::cli::PROGRAM;
use crate::pipeline::{Role, Shared};

/// Conditions of `/readyz`.
#[derive(Debug)]
pub(super) struct Ready {
    database: Condition,
    sinks: Condition,
}

impl Ready {
    pub(super) fn new(readiness: &Readiness) -> Self {
        Ready { database: readiness.condition("database"), sinks: readiness.condition("sinks") }
    }

    fn tell(&self, shared: &Shared, role: Role) {
        match shared.board.database_problem() {
            None => self.database.ready(),
            Some(problem) => self.database.not_ready(problem),
        }
        // A standby is ready to take over: an update that waits for it must not wait for the other one's end.
        let troubles: Vec<String> = match role {
            Role::Leader => shared.board.sinks().iter().filter_map(|(name, state)| Some(format!("{name}: {}", missing(state)?))).collect(),
            _ => Vec::new(),
        };
        if troubles.is_empty() { self.sinks.ready() } else { self.sinks.not_ready(troubles.join("; ")) }
    }
}

/// Why a sink cannot be shipped to now.
fn missing(state: &SinkState) -> Option<String> {
    state.trouble().or_else(|| (state.phase != Phase::Shipping).then(|| state.phase.as_str().to_owned()))
}

/// Looks after readiness.
pub(super) async fn watch(ready: Ready, shared: Arc<Shared>, role: watch::Receiver<Role>) {
    loop {
        let role_now = *role.borrow();
        ready.tell(&shared, role_now);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The status page.
pub(super) fn landing(shared: &Arc<Shared>, role: watch::Receiver<Role>) -> Landing {
    let shared = shared.clone();
    Landing::new(PROGRAM.name, PROGRAM.version, "Ships the execution records of a self-hosted Dify to search engines and files")
        .link("/metrics", "figures about the shipper, for Prometheus")
        .link("/position", "up to where records are shipped, for tools that prune")
        .status(move || status(&shared, *role.borrow()))
}

fn status(shared: &Shared, role: Role) -> Vec<(String, String)> {
    let role = match role {
        Role::Leader => "ships",
        Role::Standby => "stands by: another instance ships",
        Role::Unknown => "not known before the database was reached",
    };
    let database = shared.board.database_problem().unwrap_or_else(|| "answers".to_owned());
    let mut rows = vec![("this instance".to_owned(), role.to_owned()), ("database".to_owned(), database)];
    for (name, state) in shared.board.sinks().iter() {
        let kind = shared.settings.shipper.sinks().get(name).map(|sink| format!("{:?}", sink.r#type).to_lowercase()).unwrap_or_default();
        rows.push((format!("sink {name} ({kind})"), describe(state)));
    }
    rows
}

/// How a sink fares, in one line.
fn describe(state: &SinkState) -> String {
    let mut parts = vec![state.trouble().unwrap_or_else(|| state.phase.as_str().to_owned())];
    if let (Some(position), Some(at)) = (&state.position, state.covered_at) {
        let lag = state.lag.iter().map(|(_, lag)| *lag).max().unwrap_or_default() + Micros::now().since(at);
        let behind = humantime::format_duration(Duration::from_secs(lag.as_secs()));
        parts.push(format!("covers what is older than {}, {behind} behind", position.covered_until.max(Micros(0))));
        parts.push(format!("{} records open", position.open.len()));
    }
    parts.push(format!("{} documents since the start", state.delivered));
    if let Some(waiting) = state.sink.as_ref().and_then(|sink| sink.dead_letters()).filter(|waiting| *waiting > 0) {
        parts.push(format!("{waiting} rejected documents wait for `dify-shipper replay`"));
    }
    if let Some((at, problem)) = &state.last_problem {
        parts.push(format!("last error at {at}: {problem}"));
    }
    parts.join("; ")
}
