//! Turns traces into the saves of `workflow_node_executions`, in each version's way.

use uuid::Uuid;

use super::{
    json::{Json, object},
    odd,
    profile::Retries,
    story::Story,
    trace::{End, Shape, Trace},
    value::{At, MILLISECOND, Micros, Row, Statement, Value, get, id_of, overlay, row},
};

const TABLE: &str = "workflow_node_executions";

/// Columns that a later save overwrites.
const MUTABLE: [&str; 9] =
    ["index", "inputs", "process_data", "outputs", "status", "error", "elapsed_time", "execution_metadata", "finished_at"];

/// What node rows repeat of their run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) run: Option<Uuid>,
    pub(crate) tenant: Uuid,
    pub(crate) app: Uuid,
    pub(crate) workflow: Uuid,
    pub(crate) role: &'static str,
    pub(crate) created_by: Uuid,
}

/// Writes the rows of the traces; none commits before `not_before`. Gives the next free index and the rows of nodes that
/// are still open, by their position among the traces sorted by start.
pub(crate) fn write(story: &mut Story<'_>, owner: &Owner, traces: &mut [Trace], first_index: i64, not_before: Micros) -> (i64, Vec<Row>) {
    traces.sort_by_key(|trace| trace.start);
    let mut index = first_index;
    let mut open = Vec::new();
    for trace in traces.iter() {
        let row = write_one(story, owner, trace, &mut index, not_before);
        if !trace.ended() {
            open.push(row);
        }
    }
    (index, open)
}

fn write_one(story: &mut Story<'_>, owner: &Owner, trace: &Trace, index: &mut i64, not_before: Micros) -> Row {
    let mut row = running_row(story, owner, trace, *index);
    *index += 1;
    let mut committed = not_before.max(trace.start + story.lag());
    story.create(committed, TABLE, &row, &MUTABLE);
    let mut elapsed_from = trace.start;
    for (number, attempt) in trace.attempts.iter().enumerate() {
        committed = committed.max(attempt.end) + MILLISECOND;
        match story.profile.retries {
            Retries::OwnRows => {
                let own = retry_row(story, &row, trace, number, *index);
                *index += 1;
                story.insert(committed, TABLE, own);
            }
            Retries::MomentaryStatus => {
                let set = row! { "status" => "retry", "error" => attempt.failure.text.as_str(), "finished_at" => story.host(attempt.end) };
                story.save(committed, TABLE, &mut row, set);
            }
            Retries::MovingStart => {
                let next = trace.attempts.get(number + 1).map_or(attempt.end + 100 * MILLISECOND, |next| next.start);
                elapsed_from = next.min(trace.end);
                let set = row! { "index" => *index, "created_at" => story.host(elapsed_from), "status" => "running" };
                *index += 1;
                committed = committed.max(elapsed_from);
                story.save(committed, TABLE, &mut row, set);
            }
        }
    }
    finish(story, owner, trace, row, committed, elapsed_from)
}

/// The end of a node and, in newer releases, the second save a few milliseconds later.
fn finish(story: &mut Story<'_>, owner: &Owner, trace: &Trace, mut row: Row, committed: Micros, elapsed_from: Micros) -> Row {
    let at = committed.max(trace.end + story.dice.between(1, 10) * MILLISECOND) + MILLISECOND;
    match &trace.state {
        End::Running => return row,
        End::Paused => {
            story.save(at, TABLE, &mut row, row! { "status" => "paused" });
            return row;
        }
        _ => {}
    }
    let mut set = row! {
        "status" => status(&trace.state), "error" => error(story, trace),
        "elapsed_time" => (trace.end - elapsed_from) as f64 / 1e6, "finished_at" => story.host(trace.end),
    };
    if trace.aborted {
        story.save(at, TABLE, &mut row, set);
        return row;
    }
    let mut shape = trace.shape.clone();
    if trace.large {
        shape.outputs = Some(odd::enlarge(shape.outputs, story.options.large_value_bytes));
    }
    if story.profile.retry_history && !trace.attempts.is_empty() {
        shape.process_data = Some(with_history(story, trace, shape.process_data));
    }
    let odd = story.dice.chance(story.options.faults.odd_json);
    overlay(&mut set, &columns(story, trace, &shape, odd));
    story.save(at, TABLE, &mut row, set);
    if story.profile.second_save && !story.options.celery {
        second_save(story, owner, trace, &mut row, &shape, at, odd);
    }
    row
}

fn second_save(story: &mut Story<'_>, owner: &Owner, trace: &Trace, row: &mut Row, shape: &Shape, at: Micros, odd: bool) {
    let at = at + story.dice.between(5, 30) * MILLISECOND;
    let mut again = Shape {
        inputs: shape.inputs.as_ref().map(Json::reordered),
        process_data: shape.process_data.as_ref().map(Json::reordered),
        outputs: shape.outputs.as_ref().map(Json::reordered),
        metadata: None,
    };
    let mut statements = Vec::new();
    if trace.large && story.profile.offload {
        again.outputs = again.outputs.map(|outputs| odd::truncated(&outputs));
        statements = offload(story, owner, trace, at);
    }
    let mut set = columns(story, trace, &again, odd);
    set.retain(|(column, _)| *column != "execution_metadata");
    overlay(row, &set);
    let save = if story.profile.reinserts {
        Statement::Merge { table: TABLE, set, row: row.clone() }
    } else {
        Statement::Update { table: TABLE, id: trace.id, set }
    };
    statements.push(save);
    story.commit(at, statements);
}

/// The file that keeps a large value, and the row that says so.
fn offload(story: &mut Story<'_>, owner: &Owner, trace: &Trace, at: Micros) -> Vec<Statement> {
    let file = story.dice.uuid();
    let key = format!("upload_files/{}/{}.json", owner.tenant, story.dice.uuid());
    let upload = row! {
        "id" => file, "tenant_id" => owner.tenant, "storage_type" => "opendal", "key" => key,
        "name" => format!("node_execution_{}_outputs.json", trace.execution_id), "size" => story.options.large_value_bytes as i64 + 197,
        "extension" => "json", "mime_type" => "application/json", "created_by" => owner.created_by, "created_at" => story.host(at),
        "used" => false, "hash" => story.dice.hex(64), "created_by_role" => owner.role, "source_url" => "",
    };
    let row = row! {
        "id" => story.dice.uuid7(at), "created_at" => story.host(at), "tenant_id" => owner.tenant, "app_id" => owner.app,
        "node_execution_id" => trace.id, "type" => "outputs", "file_id" => file,
    };
    vec![Statement::Insert { table: "upload_files", row: upload }, Statement::Insert { table: "workflow_node_execution_offload", row }]
}

fn status(state: &End) -> &'static str {
    match state {
        End::Succeeded => "succeeded",
        End::Failed(_) => "failed",
        End::Handled(_) => "exception",
        End::Odd(word) => word,
        End::Running | End::Paused => "running",
    }
}

fn error(story: &Story<'_>, trace: &Trace) -> Option<String> {
    match &trace.state {
        End::Failed(text) => Some(text.clone()),
        End::Handled(failure) => Some(failure.text.clone()),
        // From 1.13.3 on a retry's error is not cleared by success.
        _ if story.profile.retries == Retries::MomentaryStatus => trace.attempts.last().map(|attempt| attempt.failure.text.clone()),
        _ => None,
    }
}

/// The JSON columns of an ended node.
fn columns(story: &mut Story<'_>, trace: &Trace, shape: &Shape, odd: bool) -> Row {
    let empty = || if story.profile.empty_is_null { Value::Null } else { Value::from("{}") };
    let text = |value: &Option<Json>| value.as_ref().map_or_else(empty, Value::from);
    let inputs = text(&shape.inputs);
    let process_data = text(&shape.process_data);
    let mut outputs = text(&shape.outputs);
    if odd && let Value::Text(text) = &outputs {
        outputs = odd::spoil(&mut story.dice, text).into();
    }
    let metadata = metadata(shape.metadata.clone(), trace).as_ref().map(Json::dumps);
    row! { "inputs" => inputs, "process_data" => process_data, "outputs" => outputs, "execution_metadata" => metadata }
}

/// The result's metadata with the place of the node in containers and branches.
fn metadata(result: Option<Json>, trace: &Trace) -> Option<Json> {
    let mut entries = match result {
        Some(Json::Object(entries)) => entries,
        _ => Vec::new(),
    };
    if let Some(inside) = &trace.inside {
        entries.push((format!("{}_id", inside.word), inside.id.as_str().into()));
        entries.push((format!("{}_index", inside.word), inside.index.into()));
        if let Some(run) = &inside.parallel_run {
            entries.push(("parallel_mode_run_id".to_owned(), run.as_str().into()));
        }
    }
    if let Some(branch) = &trace.branch {
        entries.push(("parallel_id".to_owned(), branch.id.as_str().into()));
        entries.push(("parallel_start_node_id".to_owned(), branch.start_node.as_str().into()));
    }
    (!entries.is_empty()).then_some(Json::Object(entries))
}

/// What a running row says about its place.
fn running_metadata(story: &Story<'_>, trace: &Trace) -> Json {
    let place = |word: &str| {
        let inside = trace.inside.as_ref().filter(|inside| inside.word == word);
        inside.map_or(Json::Null, |inside| inside.id.as_str().into())
    };
    let parallel = trace.inside.as_ref().and_then(|inside| inside.parallel_run.as_deref());
    let places = object! { "iteration_id" => place("iteration"), "loop_id" => place("loop") };
    match places {
        Json::Object(mut entries) if story.profile.old_engine => {
            entries.insert(0, ("parallel_mode_run_id".to_owned(), parallel.into()));
            Json::Object(entries)
        }
        places => places,
    }
}

fn running_row(story: &Story<'_>, owner: &Owner, trace: &Trace, index: i64) -> Row {
    row! {
        "id" => trace.id, "tenant_id" => owner.tenant, "app_id" => owner.app, "workflow_id" => owner.workflow,
        "triggered_from" => if owner.run.is_some() { "workflow-run" } else { "single-step" }, "workflow_run_id" => owner.run,
        "index" => index, "predecessor_node_id" => trace.predecessor.as_deref().filter(|_| story.profile.predecessors),
        "node_execution_id" => trace.execution_id.to_string(), "node_id" => trace.node_id.as_str(), "node_type" => trace.node_type,
        "title" => trace.title.as_str(), "inputs" => Value::Null, "process_data" => Value::Null, "outputs" => Value::Null,
        "status" => "running", "error" => Value::Null, "elapsed_time" => 0.0,
        "execution_metadata" => &running_metadata(story, trace), "created_at" => story.host(trace.start),
        "created_by_role" => owner.role, "created_by" => owner.created_by, "finished_at" => Value::Null,
    }
}

/// Up to 1.8.1 a failed attempt is a row of its own, with an index above the final row's.
fn retry_row(story: &mut Story<'_>, running: &Row, trace: &Trace, number: usize, index: i64) -> Row {
    let attempt = &trace.attempts[number];
    let mut row = running.clone();
    let set = row! {
        "id" => story.dice.uuid7(attempt.end), "node_execution_id" => story.dice.uuid().to_string(), "index" => index,
        "status" => "retry", "error" => attempt.failure.text.as_str(),
        "elapsed_time" => (attempt.end - attempt.start) as f64 / 1e6,
        "created_at" => At(story.host(attempt.start).0 - 15 * MILLISECOND), "finished_at" => story.host(attempt.end),
    };
    overlay(&mut row, &set);
    row
}

fn with_history(story: &Story<'_>, trace: &Trace, process_data: Option<Json>) -> Json {
    let unix = |at: Micros| Json::Int(story.host(at).0 / 1_000_000);
    let attempts = trace.attempts.iter().enumerate().map(|(number, attempt)| {
        object! {
            "retry_index" => number as i64 + 1, "inputs" => object! {}, "process_data" => object! {}, "outputs" => object! {},
            "error" => attempt.failure.text.as_str(), "elapsed_time" => (attempt.end - attempt.start) as f64 / 1e6,
            "execution_metadata" => object! {}, "created_at" => unix(attempt.start), "finished_at" => unix(attempt.end),
        }
    });
    let attempts = attempts.collect::<Vec<Json>>();
    process_data.unwrap_or(object! {}).with("__dify_retry_history", attempts)
}

/// Brings a paused node to its end when a person has answered.
pub(crate) fn resume(story: &mut Story<'_>, row: &mut Row, at: Micros, outputs: &Json) {
    let started = get(row, "created_at").and_then(Value::as_time).unwrap_or(at);
    let set = row! {
        "status" => "succeeded", "outputs" => outputs, "inputs" => "{}", "process_data" => "{}", "execution_metadata" => Value::Null,
        "elapsed_time" => (story.host(at).0 - started) as f64 / 1e6, "finished_at" => story.host(at),
    };
    story.save(at + 2 * MILLISECOND, TABLE, row, set);
}

/// A node that is run alone in the editor: one INSERT, already terminal, without a run.
pub(crate) fn single_step(story: &mut Story<'_>, owner: &Owner, trace: &Trace) {
    let mut row = running_row(story, owner, trace, 1);
    let set = row! {
        "status" => status(&trace.state), "error" => error(story, trace), "finished_at" => story.host(trace.end),
        "elapsed_time" => (trace.end - trace.start) as f64 / 1e6,
    };
    overlay(&mut row, &set);
    let columns = columns(story, trace, &trace.shape, false);
    overlay(&mut row, &columns);
    debug_assert!(!id_of(&row).is_nil(), "a node row has an id");
    story.insert(trace.end + 5 * MILLISECOND, TABLE, row);
}
