//! Runs that wait for a person: paused, then resumed, timed out, or waiting still.

use super::{
    engine::{Stop, merged},
    json::object,
    model::Merged,
    node_rows,
    plan::Node,
    run::{self, Outcome, Run},
    shapes::Shaper,
    story::Story,
    trace::{End, Shape, Trace},
    value::{DAY, MILLISECOND, Micros, Row, SECOND, Statement, Value, row},
};

/// The run up to its pause.
pub(crate) struct Leg {
    pub(crate) traces: Vec<Trace>,
    pub(crate) text: String,
    pub(crate) at: Micros,
}

/// Pauses the run at a human-input node and tells what follows.
pub(crate) fn tell<'s, F>(story: &mut Story<'s>, run: &mut Run<'_>, mut leg: Leg, node: &Node, resume: F) -> Outcome
where
    F: FnOnce(&mut Story<'s>, Micros) -> (Vec<Trace>, Result<Micros, Stop>, String),
{
    let paused_at = leg.at + 10 * MILLISECOND;
    let human = human_trace(story, &leg, node, paused_at);
    leg.traces.push(human);
    let (next, mut open) = node_rows::write(story, &run.owner, &mut leg.traces, run.next_index, run.inserted + MILLISECOND);
    run.next_index = if story.profile.resume_restarts_index { 1 } else { next };
    let saved = paused_at + 25 * MILLISECOND;
    run::save_paused(story, run, &leg.traces, saved);
    let (pause, form) = ask(story, run, node, saved + MILLISECOND);
    let open_outcome = |at| outcome(run, &leg, at);
    if story.dice.chance(story.options.faults.never_resumed) {
        return open_outcome(saved);
    }
    let answered = saved + story.dice.between(SECOND, story.options.faults.longest_pause.max(2 * SECOND));
    answer(story, run, pause, form, answered);
    run::save_resumed(story, run, answered);
    if let Some(row) = open.last_mut() {
        let shaper = Shaper { profile: story.profile, faults: &story.options.faults, category: "", question: "" };
        let outputs = shaper.human().outputs.unwrap_or(object! {});
        node_rows::resume(story, row, answered + 5 * MILLISECOND, &outputs);
    }
    let (traces, result, text) = resume(story, answered + 20 * MILLISECOND);
    run.inserted = answered + 10 * MILLISECOND;
    let text = if text.is_empty() { leg.text } else { text };
    let before = merged(&leg.traces);
    let mut outcome = run::end(story, run, traces, result, text, answered);
    outcome.usage.merge(&before);
    outcome.paused_at = Some(saved);
    outcome
}

fn outcome(run: &Run<'_>, leg: &Leg, at: Micros) -> Outcome {
    Outcome {
        id: run.id,
        end: at,
        saved: at,
        status: None,
        error: None,
        text: leg.text.clone(),
        usage: merged(&leg.traces),
        contained: Merged::default(),
        hung_up: true,
        first_token: None,
        paused_at: Some(at),
    }
}

fn human_trace(story: &mut Story<'_>, leg: &Leg, node: &Node, end: Micros) -> Trace {
    let id = story.dice.uuid();
    Trace {
        id,
        execution_id: id,
        node_id: node.id.clone(),
        node_type: node.kind.word(),
        title: node.title.clone(),
        predecessor: leg.traces.last().map(|trace| trace.node_id.clone()),
        inside: None,
        branch: None,
        start: leg.at,
        end,
        attempts: Vec::new(),
        state: End::Paused,
        shape: Shape::default(),
        usage: None,
        child_tokens: 0,
        large: false,
        aborted: false,
    }
}

/// The pause with its reason and the form that waits for an answer; their ids.
fn ask(story: &mut Story<'_>, run: &Run<'_>, node: &Node, at: Micros) -> (uuid::Uuid, uuid::Uuid) {
    let (pause, form) = (story.dice.uuid7(at), story.dice.uuid7(at));
    let now = story.host(at);
    let pause_row = row! {
        "id" => pause, "workflow_id" => run.owner.workflow, "workflow_run_id" => run.id, "resumed_at" => Value::Null,
        "state_object_key" => format!("workflow-state-{}.json", story.dice.uuid()), "created_at" => now, "updated_at" => now,
    };
    let reason = row! {
        "id" => story.dice.uuid7(at), "created_at" => now, "updated_at" => now, "pause_id" => pause, "type_" => "human_input_required",
        "form_id" => form.to_string(), "node_id" => node.id.as_str(), "message" => "",
    };
    let form_row: Row = row! {
        "id" => form, "created_at" => now, "updated_at" => now, "tenant_id" => run.owner.tenant, "app_id" => run.owner.app,
        "workflow_run_id" => run.id, "form_kind" => "runtime", "node_id" => node.id.as_str(), "form_definition" => "{}",
        "rendered_content" => "", "status" => "waiting", "expiration_time" => story.host(at + 3 * DAY),
    };
    story.commit(
        at,
        vec![
            Statement::Insert { table: "workflow_pauses", row: pause_row },
            Statement::Insert { table: "workflow_pause_reasons", row: reason },
            Statement::Insert { table: "human_input_forms", row: form_row },
        ],
    );
    (pause, form)
}

fn answer(story: &mut Story<'_>, run: &Run<'_>, pause: uuid::Uuid, form: uuid::Uuid, at: Micros) {
    let now = story.host(at);
    let submitted = row! {
        "status" => "submitted", "selected_action_id" => "approve", "submitted_data" => "{\"comment\": \"\\u597d\\u7684\"}",
        "submitted_at" => now, "updated_at" => now, "submission_end_user_id" => run.order.caller.end_user(),
    };
    story.commit(
        at,
        vec![
            Statement::Update { table: "human_input_forms", id: form, set: submitted },
            Statement::Update { table: "workflow_pauses", id: pause, set: row! { "resumed_at" => now, "updated_at" => now } },
        ],
    );
}
