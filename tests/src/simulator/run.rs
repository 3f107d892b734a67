//! The story of one workflow run: its row, its nodes, its app log, and how it ends.

use uuid::Uuid;

use super::{
    dice::Dice,
    engine::{ChildResult, Engine, Stop, cut, merged},
    errors,
    json::{Json, object},
    model::Merged,
    node_rows::{self, Owner},
    pause,
    plan::{Kind, Step},
    profile::{Retries, UserStop},
    shapes::Shaper,
    story::{Caller, Story},
    trace::{End, Trace},
    value::{MILLISECOND, Micros, Row, SECOND, Value, overlay, row},
    world::App,
};

pub(crate) const TABLE: &str = "workflow_runs";

/// Columns that a later save overwrites.
const MUTABLE: [&str; 7] = ["status", "outputs", "error", "elapsed_time", "total_tokens", "total_steps", "finished_at"];

/// What is asked for.
#[derive(Clone)]
pub(crate) struct Order<'a> {
    pub(crate) app: &'a App,
    pub(crate) start: Micros,
    pub(crate) caller: Caller,
    pub(crate) triggered_from: &'static str,
    pub(crate) category: String,
    pub(crate) question: String,
    /// Set in chatflows.
    pub(crate) conversation: Option<Uuid>,
    /// The run of a workflow tool: it does not go wrong on its own account and has no hang-ups.
    pub(crate) child: bool,
}

/// What became of a run, for whoever waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) id: Uuid,
    /// When it ended, or when it stopped showing signs of life.
    pub(crate) end: Micros,
    /// When its last row was saved.
    pub(crate) saved: Micros,
    /// NULL for a run that never ends.
    pub(crate) status: Option<&'static str>,
    pub(crate) error: Option<String>,
    pub(crate) text: String,
    pub(crate) usage: Merged,
    /// The part of the usage that iterations and loops made.
    pub(crate) contained: Merged,
    /// Nobody is left to fill in the message.
    pub(crate) hung_up: bool,
    pub(crate) first_token: Option<f64>,
    /// When it began to wait for a person.
    pub(crate) paused_at: Option<Micros>,
}

/// What happens to a run from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    None,
    Stop,
    Kill,
    HangUp,
    Limit,
}

/// A run in the making.
pub(crate) struct Run<'a> {
    pub(crate) id: Uuid,
    pub(crate) order: &'a Order<'a>,
    pub(crate) owner: Owner,
    pub(crate) row: Row,
    pub(crate) inserted: Micros,
    pub(crate) next_index: i64,
}

/// Tells the story of a run and gives its outcome.
pub(crate) fn tell(story: &mut Story<'_>, order: &Order<'_>) -> Outcome {
    let id = story.dice.uuid();
    let inputs = inputs(story, order, id);
    let mut run = begin(story, order, id, &inputs);
    let human = order.app.plan.iter().position(|step| matches!(step, Step::Node(node) if node.kind == Kind::Human));
    let (first, rest) = order.app.plan.split_at(human.unwrap_or(order.app.plan.len()));
    let (traces, result, text) = execute(story, order, &inputs, first, order.start + 5 * MILLISECOND, None);
    match (rest.split_first(), &result) {
        (Some((Step::Node(node), rest)), Ok(at)) => {
            let leg = pause::Leg { traces, text, at: *at };
            pause::tell(story, &mut run, leg, node, |story, at| execute(story, order, &inputs, rest, at, Some(&node.id)))
        }
        _ => end(story, &mut run, traces, result, text, order.start),
    }
}

fn inputs(story: &Story<'_>, order: &Order<'_>, id: Uuid) -> Json {
    let app = order.app;
    let workflow = if order.triggered_from == "debugging" { app.draft } else { app.workflow };
    let mut inputs = object! { "category" => order.category.as_str() };
    if order.conversation.is_none() {
        inputs = inputs.with("q", order.question.as_str());
    }
    inputs = inputs
        .with("sys.files", Vec::new())
        .with("sys.user_id", order.caller.session.as_str())
        .with("sys.app_id", app.id)
        .with("sys.workflow_id", workflow)
        .with("sys.workflow_run_id", id);
    if let Some(conversation) = order.conversation {
        inputs = inputs.with("sys.query", order.question.as_str());
        inputs = inputs.with("sys.conversation_id", conversation).with("sys.dialogue_count", 1);
    } else if story.profile.system_timestamp {
        inputs = inputs.with("sys.timestamp", order.start / SECOND);
    }
    inputs
}

fn begin<'a>(story: &mut Story<'_>, order: &'a Order<'a>, id: Uuid, inputs: &Json) -> Run<'a> {
    let app = order.app;
    let draft = order.triggered_from == "debugging";
    let owner = Owner {
        run: Some(id),
        tenant: app.tenant,
        app: app.id,
        workflow: if draft { app.draft } else { app.workflow },
        role: order.caller.role(),
        created_by: order.caller.id,
    };
    let kind = if order.conversation.is_some() { "chat" } else { "workflow" };
    let row = row! {
        "id" => id, "tenant_id" => app.tenant, "app_id" => app.id, "sequence_number" => order.start / SECOND % 1_000_000_000,
        "workflow_id" => owner.workflow, "type" => kind, "triggered_from" => order.triggered_from,
        "version" => if draft { "draft" } else { app.version.as_str() }, "graph" => app.graph.clone(), "inputs" => inputs,
        "status" => "running", "outputs" => "{}", "error" => if story.options.celery { Value::from("") } else { Value::Null },
        "elapsed_time" => 0.0, "total_tokens" => 0, "total_steps" => 0, "created_by_role" => owner.role, "created_by" => owner.created_by,
        "created_at" => story.host(order.start), "finished_at" => Value::Null, "exceptions_count" => 0,
    };
    let inserted = order.start + story.dice.between(3, 51) * MILLISECOND;
    story.create(inserted, TABLE, &row, &MUTABLE);
    if story.profile.app_log_at_start {
        app_log(story, order, &owner, inserted + 2 * MILLISECOND);
    }
    Run { id, order, owner, row, inserted, next_index: 1 }
}

fn app_log(story: &mut Story<'_>, order: &Order<'_>, owner: &Owner, at: Micros) {
    if order.triggered_from == "debugging" || order.conversation.is_some() {
        return;
    }
    let row = row! {
        "id" => story.dice.uuid(), "tenant_id" => owner.tenant, "app_id" => owner.app, "workflow_id" => owner.workflow,
        "workflow_run_id" => owner.run, "created_from" => order.caller.invoke_from, "created_by_role" => owner.role,
        "created_by" => owner.created_by, "created_at" => story.rounded(at),
    };
    story.insert(at, "workflow_app_logs", row);
}

/// Runs a part of the plan. Children of workflow tools tell their own stories on the way.
fn execute(
    story: &mut Story<'_>,
    order: &Order<'_>,
    inputs: &Json,
    steps: &[Step],
    at: Micros,
    previous: Option<&str>,
) -> (Vec<Trace>, Result<Micros, Stop>, String) {
    let (options, profile, world) = (story.options, story.profile, story.world);
    let mut children = Vec::new();
    let mut dice = Dice::new(story.dice.between(0, i64::MAX) as u64, 3);
    let template = story.inner(dice.clone());
    let mut start_child = |dice: &mut Dice, at: Micros| {
        let mut child = template.inner(Dice::new(dice.between(0, i64::MAX) as u64, 4));
        let result = tell_child(&mut child, order, at);
        children.append(&mut child.into_writes());
        result
    };
    let mut engine = Engine {
        options,
        profile,
        world,
        dice: &mut dice,
        start_child: &mut start_child,
        shaper: Shaper { profile, faults: &options.faults, category: &order.category, question: &order.question },
        inputs,
        traces: Vec::new(),
        text: String::new(),
        context: None,
        previous: previous.map(str::to_owned),
    };
    let result = engine.run(steps, at);
    let (traces, text) = (std::mem::take(&mut engine.traces), std::mem::take(&mut engine.text));
    story.append(children);
    (traces, result, text)
}

fn tell_child(child: &mut Story<'_>, order: &Order<'_>, at: Micros) -> ChildResult {
    let Some(app) = child.world.child_app() else {
        return ChildResult { end: at + MILLISECOND, result: Err("app not found".to_owned()) };
    };
    let order = Order { app, start: at, triggered_from: "app-run", conversation: None, child: true, ..order.clone() };
    let outcome = tell(child, &order);
    let result = match outcome.error {
        Some(error) => Err(error),
        None => Ok((outcome.text, outcome.usage.tokens())),
    };
    ChildResult { end: outcome.end, result }
}

/// Ends a run, whatever the way: by its plan, by a failure, or by its fate.
pub(crate) fn end(
    story: &mut Story<'_>,
    run: &mut Run<'_>,
    mut traces: Vec<Trace>,
    result: Result<Micros, Stop>,
    text: String,
    leg_start: Micros,
) -> Outcome {
    let (natural, failure) = match result {
        Ok(at) => (at, None),
        Err((at, text)) => (at, Some(text)),
    };
    let fate = fate(story, run.order);
    let moment = leg_start + ((natural - leg_start) as f64 * (0.1 + 0.8 * story.dice.unit())) as Micros;
    let closing = match fate {
        Fate::Stop if story.profile.user_stop == UserStop::StaysRunning => {
            return stays_running(story, run, traces, moment, false);
        }
        Fate::Kill => return stays_running(story, run, traces, moment, true),
        Fate::HangUp if story.profile.hang_up_stops_run => {
            return stays_running(story, run, traces, moment, true);
        }
        Fate::Stop => Some(("stopped", errors::user_stop(story.profile.old_engine).to_owned())),
        Fate::Limit => {
            let status = if story.profile.failures_are_exceptions { "stopped" } else { "failed" };
            Some((status, errors::limit(&mut story.dice, story.profile.old_engine)))
        }
        Fate::None | Fate::HangUp => None,
    };
    let mut handled = handled(story, &traces);
    let (status, error, at) = match (closing, failure) {
        (Some((status, text)), _) => {
            cut(&mut traces, moment, |_| End::Failed(text.clone()));
            (status, Some(text), moment + 3 * MILLISECOND)
        }
        (None, Some(text)) => {
            handled += i64::from(story.profile.failures_are_exceptions);
            ("failed", Some(text), natural)
        }
        (None, None) if handled > 0 => ("partial-succeeded", None, natural),
        (None, None) => ("succeeded", None, natural),
    };
    let usage = merged(&traces);
    let (saved, set) = final_set(story, run, &mut traces, (status, error.as_deref(), at), &text, handled, leg_start);
    story.save(saved, TABLE, &mut run.row, set);
    if !story.profile.app_log_at_start {
        app_log(story, run.order, &run.owner, saved + 2 * MILLISECOND);
    }
    Outcome {
        id: run.id,
        end: at,
        saved,
        status: Some(status),
        error,
        text,
        usage,
        contained: contained(&traces),
        hung_up: fate == Fate::HangUp,
        first_token: first_token(&traces, run.order.start),
        paused_at: None,
    }
}

/// Writes the nodes and prepares the run's last save: when, and what.
fn final_set(
    story: &mut Story<'_>,
    run: &mut Run<'_>,
    traces: &mut [Trace],
    (status, error, at): (&'static str, Option<&str>, Micros),
    text: &str,
    handled: i64,
    leg_start: Micros,
) -> (Micros, Row) {
    let tokens =
        tokens(traces) + run.row.iter().find(|(column, _)| *column == "total_tokens").and_then(|(_, value)| value.as_int()).unwrap_or(0);
    let steps = steps(story, traces);
    let (next, _) = node_rows::write(story, &run.owner, traces, run.next_index, run.inserted + MILLISECOND);
    run.next_index = next;
    let saved = at.max(run.inserted) + story.dice.between(12, 25) * MILLISECOND;
    let outputs = match error {
        Some(_) if story.profile.failed_outputs_null && !story.options.celery => Value::Null,
        Some(_) => Value::from("{}"),
        None => Value::from(&object! { "text" => text }),
    };
    let odd = error.is_none() && story.dice.chance(story.options.faults.unknown_word);
    let set = row! {
        "status" => if odd { "cancelled-by-policy" } else { status }, "outputs" => outputs, "error" => error,
        "elapsed_time" => (at - leg_start) as f64 / 1e6, "total_tokens" => tokens, "total_steps" => steps,
        "exceptions_count" => handled, "finished_at" => story.host(at),
    };
    (saved, set)
}

fn fate(story: &mut Story<'_>, order: &Order<'_>) -> Fate {
    let faults = &story.options.faults;
    if order.child {
        return Fate::None;
    }
    let chances =
        [(Fate::Stop, faults.user_stop), (Fate::Kill, faults.killed), (Fate::HangUp, faults.hang_up), (Fate::Limit, faults.engine_limit)];
    chances.into_iter().find(|(_, chance)| story.dice.chance(*chance)).map_or(Fate::None, |(fate, _)| fate)
}

/// The process died, or a stop was lost: run and node stay `running`. After a lost stop some later nodes still run.
fn stays_running(story: &mut Story<'_>, run: &mut Run<'_>, mut traces: Vec<Trace>, at: Micros, hung_up: bool) -> Outcome {
    cut(&mut traces, at, |_| End::Running);
    let usage = merged(&traces);
    node_rows::write(story, &run.owner, &mut traces, run.next_index, run.inserted + MILLISECOND);
    Outcome {
        id: run.id,
        end: at,
        saved: at,
        status: None,
        error: None,
        text: String::new(),
        usage,
        contained: Merged::default(),
        hung_up,
        first_token: None,
        paused_at: None,
    }
}

/// Failures that were handled and, where releases count them, retries that helped.
fn handled(story: &Story<'_>, traces: &[Trace]) -> i64 {
    let handled = traces.iter().filter(|trace| matches!(trace.state, End::Handled(_))).count();
    let retries: usize = match story.profile.retries {
        Retries::MovingStart => traces.iter().map(|trace| trace.attempts.len()).sum(),
        _ => 0,
    };
    (handled + retries) as i64
}

/// Starts of top-level nodes, retries included; the old engine counts those inside containers, too.
fn steps(story: &Story<'_>, traces: &[Trace]) -> i64 {
    let counted = traces.iter().filter(|trace| story.profile.old_engine || trace.inside.is_none());
    counted.map(|trace| 1 + trace.attempts.len() as i64).sum()
}

/// Tokens of all nodes but containers, whose children are rows of their own.
pub(crate) fn tokens(traces: &[Trace]) -> i64 {
    traces.iter().map(|trace| trace.child_tokens + trace.usage.as_ref().map_or(0, |usage| usage.tokens())).sum()
}

fn contained(traces: &[Trace]) -> Merged {
    let inside: Vec<Trace> = traces.iter().filter(|trace| trace.inside.is_some()).cloned().collect();
    merged(&inside)
}

fn first_token(traces: &[Trace], start: Micros) -> Option<f64> {
    let last = traces.iter().filter(|trace| trace.node_type == "llm").max_by_key(|trace| trace.end)?;
    let first = last.usage.as_ref()?.first_token?;
    Some((((last.start - start) as f64 / 1e6 + first) * 1e3).round() / 1e3)
}

/// Suspends the run: what it has used so far is in its row.
pub(crate) fn save_paused(story: &mut Story<'_>, run: &mut Run<'_>, traces: &[Trace], at: Micros) {
    let set = row! { "status" => "paused", "outputs" => "{}", "total_tokens" => tokens(traces), "total_steps" => steps(story, traces) };
    story.save(at, TABLE, &mut run.row, set);
}

/// Wakes the run up; some releases take the resume for its start.
pub(crate) fn save_resumed(story: &mut Story<'_>, run: &mut Run<'_>, at: Micros) {
    let mut set = row! { "status" => "running" };
    if story.profile.resume_moves_start {
        overlay(&mut set, &row! { "created_at" => story.host(at) });
    }
    story.save(at + 3 * MILLISECOND, TABLE, &mut run.row, set);
}
