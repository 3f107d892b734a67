//! Webhook and schedule runs: the trigger log exists before its run and names it only at the end.

use super::{
    json::object,
    plan::{AppKind, Flow},
    run::{self, Order},
    shapes,
    story::{Caller, Story},
    value::{MILLISECOND, Micros, Row, SECOND, Value, row},
    world::App,
};

const TABLE: &str = "workflow_trigger_logs";

/// Whether runs of the app are started by triggers, and by which.
pub(crate) fn of(app: &App) -> Option<&'static str> {
    match app.kind {
        AppKind::Workflow(Flow::Webhook) => Some("webhook"),
        AppKind::Workflow(Flow::Schedule) => Some("schedule"),
        _ => None,
    }
}

/// The story of one event.
pub(crate) fn tell(story: &mut Story<'_>, app: &App, word: &'static str, caller: Caller, category: &str, at: Micros) {
    let id = story.dice.uuid7(at);
    story.insert(at + 3 * MILLISECOND, TABLE, log_row(story, app, word, &caller, category, id, at));
    if story.dice.chance(story.options.faults.rate_limited_trigger) {
        let set = row! { "status" => "rate_limited", "error" => "Rate limit exceeded", "finished_at" => story.host(at) };
        return story.update(at + 8 * MILLISECOND, TABLE, id, set);
    }
    let task = story.dice.uuid().to_string();
    story.update(at + 8 * MILLISECOND, TABLE, id, row! { "status" => "queued", "celery_task_id" => task });
    let start = at + (story.dice.exponential(0.4).min(40.0) * story.options.time_scale * SECOND as f64) as Micros + 40 * MILLISECOND;
    story.update(start, TABLE, id, row! { "status" => "running", "triggered_at" => story.host(start) });
    let order = Order {
        app,
        start: start + 20 * MILLISECOND,
        caller,
        triggered_from: word,
        category: category.to_owned(),
        question: String::new(),
        conversation: None,
        child: false,
    };
    let outcome = run::tell(story, &order);
    let Some(status) = outcome.status else { return };
    let done = outcome.saved + 30 * MILLISECOND;
    let set = row! {
        "status" => if status == "failed" { "failed" } else { "succeeded" }, "workflow_run_id" => outcome.id,
        "outputs" => object! { "text" => outcome.text.as_str() }.compact(), "error" => outcome.error.as_deref(),
        "elapsed_time" => (outcome.end - order.start) as f64 / 1e6, "total_tokens" => outcome.usage.tokens(),
        "finished_at" => story.host(done),
    };
    story.update(done, TABLE, id, set);
}

fn log_row(story: &Story<'_>, app: &App, word: &str, caller: &Caller, category: &str, id: uuid::Uuid, at: Micros) -> Row {
    let payload = object! { "webhook_data" => shapes::webhook_payload(category) };
    row! {
        "id" => id, "tenant_id" => app.tenant, "app_id" => app.id, "workflow_id" => app.workflow, "workflow_run_id" => Value::Null,
        "root_node_id" => if word == "webhook" { "wh" } else { "sch" }, "trigger_metadata" => "{}",
        "trigger_type" => format!("trigger-{word}"), "trigger_data" => payload.compact(), "inputs" => &payload, "outputs" => Value::Null,
        "status" => "pending", "error" => Value::Null, "queue_name" => "workflow_team", "retry_count" => 0,
        "created_at" => story.host(at), "created_by_role" => "end_user", "created_by" => caller.id.to_string(),
    }
}
