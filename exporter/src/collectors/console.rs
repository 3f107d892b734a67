//! Dify's own Monitoring page, for today, as gauges.

use chrono_tz::Tz;
use dify_observe_core::dify::console::{App, Day, Endpoint, Rules, Window, apps, read};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{DatabaseError, ReadTx};

use crate::catalogue;
use crate::store::{AppLabels, FamilyDef, GaugeSet, Labels};

/// Reads today's page of every app. A day without rows is all zeros: the day began, nothing happened yet.
pub(super) async fn today(tx: &mut ReadTx, schema: &Schema, time_zone: Tz, gauges: &mut GaugeSet) -> Result<(), DatabaseError> {
    let date = chrono::Utc::now().with_timezone(&time_zone).date_naive();
    let window = Window::of_day(date, time_zone.name());
    let rules = Rules::of(schema);
    for app in apps(tx).await? {
        let day = read(tx, rules, &app, &window).await?.0.remove(&date).unwrap_or_default();
        publish(&app, rules, &day, gauges);
    }
    Ok(())
}

fn publish(app: &App, rules: Rules, day: &Day, gauges: &mut GaugeSet) {
    let labels = Labels { app: Some(AppLabels { id: app.id, name: app.name.as_str().into() }), ..Labels::default() };
    for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| endpoint.applies_to(&app.mode) && rules.can_answer(*endpoint)) {
        let answer = day.answer(endpoint).unwrap_or_default();
        for (family, key, factor) in families(endpoint) {
            let value = match answer.get(key) {
                Some(serde_json::Value::String(text)) => text.parse().unwrap_or(0.0),
                Some(value) => value.as_f64().unwrap_or(0.0),
                None => 0.0,
            };
            gauges.set(family, &labels, value * factor);
        }
    }
}

/// The families that an endpoint feeds: key in its answer, and factor to base units.
fn families(endpoint: Endpoint) -> Vec<(&'static FamilyDef, &'static str, f64)> {
    match endpoint {
        Endpoint::DailyMessages => vec![(&catalogue::CONSOLE_MESSAGES, "message_count", 1.0)],
        Endpoint::DailyConversations => vec![(&catalogue::CONSOLE_CONVERSATIONS, "conversation_count", 1.0)],
        Endpoint::DailyEndUsers => vec![(&catalogue::CONSOLE_END_USERS, "terminal_count", 1.0)],
        Endpoint::TokenCosts => vec![(&catalogue::CONSOLE_TOKENS, "token_count", 1.0), (&catalogue::CONSOLE_COST, "total_price", 1.0)],
        Endpoint::AverageSessionInteractions => vec![(&catalogue::CONSOLE_AVERAGE_SESSION_INTERACTIONS, "interactions", 1.0)],
        Endpoint::UserSatisfactionRate => vec![(&catalogue::CONSOLE_USER_SATISFACTION, "rate", 1.0)],
        Endpoint::AverageResponseTime => vec![(&catalogue::CONSOLE_AVERAGE_RESPONSE, "latency", 1e-3)],
        Endpoint::TokensPerSecond => vec![(&catalogue::CONSOLE_TOKENS_PER_SECOND, "tps", 1.0)],
        Endpoint::WorkflowDailyConversations => vec![(&catalogue::CONSOLE_WORKFLOW_RUNS, "runs", 1.0)],
        Endpoint::WorkflowDailyTerminals => vec![(&catalogue::CONSOLE_WORKFLOW_END_USERS, "terminal_count", 1.0)],
        Endpoint::WorkflowTokenCosts => vec![(&catalogue::CONSOLE_WORKFLOW_TOKENS, "token_count", 1.0)],
        Endpoint::WorkflowAverageAppInteractions => vec![(&catalogue::CONSOLE_WORKFLOW_AVERAGE_INTERACTIONS, "interactions", 1.0)],
    }
}
