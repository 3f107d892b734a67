//! Who deletes what, and in which order.

use uuid::Uuid;

use super::{
    dice::Dice,
    living::{Key, Living},
    options::{Cleaner, CleanerKind},
    profile::{Profile, Version},
    value::{Micros, SECOND, Statement, Write},
};

const RUN_CHILDREN: [&str; 6] = [
    "workflow_node_execution_offload",
    "workflow_node_executions",
    "workflow_app_logs",
    "workflow_pause_reasons",
    "workflow_pauses",
    "workflow_trigger_logs",
];

const MESSAGE_CHILDREN: [&str; 2] = ["message_feedbacks", "message_agent_thoughts"];

fn delete((table, id): Key) -> Statement {
    Statement::Delete { table, id }
}

fn write(at: Micros, keys: impl IntoIterator<Item = Key>) -> Write {
    Write { at, lane: 0, statements: keys.into_iter().map(delete).collect() }
}

/// A user deletes a conversation: its row at once, its messages and feedbacks by a task a moment later. Runs stay.
pub(crate) fn conversation(living: &Living, dice: &mut Dice, at: Micros) -> Vec<Write> {
    let candidates = living.conversations();
    if candidates.is_empty() {
        return Vec::new();
    }
    let chosen = candidates[dice.between(0, candidates.len() as i64 - 1) as usize].id;
    let rest = living.below(chosen, &["messages", "message_feedbacks"]);
    vec![write(at, [("conversations", chosen)]), write(at + SECOND, rest)]
}

/// An app is deleted: first its row, then the rest, table by table.
pub(crate) fn app(living: &Living, app: Uuid, at: Micros) -> Vec<Write> {
    let runs: Vec<Uuid> = living.runs().iter().filter(|run| run.app == app).map(|run| run.id).collect();
    let conversations: Vec<Uuid> =
        living.conversations().iter().filter(|conversation| conversation.app == app).map(|root| root.id).collect();
    let below_runs = runs.iter().flat_map(|run| living.below(*run, &RUN_CHILDREN)).filter(|(table, _)| {
        // The task does not know of these tables.
        !matches!(*table, "workflow_node_execution_offload" | "workflow_pauses" | "workflow_pause_reasons")
    });
    let tables = ["messages", "message_feedbacks", "message_agent_thoughts"];
    let below_conversations = conversations.iter().flat_map(|conversation| living.below(*conversation, &tables));
    vec![
        write(at, [("apps", app)]),
        write(at + 2 * SECOND, below_runs),
        write(at + 3 * SECOND, runs.iter().map(|run| ("workflow_runs", *run))),
        write(at + 4 * SECOND, below_conversations),
        write(at + 5 * SECOND, conversations.iter().map(|conversation| ("conversations", *conversation))),
    ]
}

/// A run that is running is deleted with what it has so far; Dify inserts the run again at its end.
pub(crate) fn running_run(living: &Living, at: Micros) -> Vec<Write> {
    let young = living.runs().iter().rev().take(50).find(|run| !living.ended(run.id));
    let Some(run) = young else { return Vec::new() };
    let mut keys = living.below(run.id, &["workflow_node_executions", "workflow_app_logs"]);
    keys.push(("workflow_runs", run.id));
    vec![write(at, keys)]
}

/// One batch of one of Dify's cleaners, with its faults.
pub(crate) fn clean(living: &Living, cleaner: &Cleaner, profile: &Profile, at: Micros) -> Vec<Write> {
    let cutoff = at - cleaner.age;
    let keys: Vec<Key> = match cleaner.kind {
        CleanerKind::Precise => precise(living, cleaner, profile, cutoff),
        CleanerKind::Runs => {
            let old = living.runs().iter().filter(|run| run.since < cutoff && living.ended(run.id));
            old.take(cleaner.batch).flat_map(|run| run_keys(living, run.id, &RUN_CHILDREN)).collect()
        }
        CleanerKind::Messages => {
            let old = living.messages().iter().filter(|message| message.since < cutoff);
            let with_children = old.take(cleaner.batch).flat_map(|message| {
                let mut keys = living.below(message.id, &MESSAGE_CHILDREN);
                keys.push(("messages", message.id));
                keys
            });
            with_children.collect()
        }
    };
    if keys.is_empty() { Vec::new() } else { vec![write(at, keys)] }
}

fn run_keys(living: &Living, run: Uuid, tables: &[&str]) -> Vec<Key> {
    let mut keys = living.below(run, tables);
    keys.push(("workflow_runs", run));
    keys
}

/// Without a status filter until 1.13.0, and with the whole conversation when any of its messages belongs to an old run.
fn precise(living: &Living, cleaner: &Cleaner, profile: &Profile, cutoff: Micros) -> Vec<Key> {
    let any_status = profile.version < Version::new(1, 13, 1);
    let old = living.runs().iter().filter(|run| run.since < cutoff && (any_status || living.ended(run.id)));
    let mut keys = Vec::new();
    for run in old.take(cleaner.batch) {
        let messages = living.below(run.id, &["messages"]);
        for (_, message) in &messages {
            keys.extend(living.below(*message, &MESSAGE_CHILDREN));
        }
        keys.extend(messages.iter().copied());
        keys.extend(run_keys(living, run.id, &["workflow_app_logs", "workflow_node_executions"]));
        let conversation = living
            .conversations()
            .iter()
            .find(|conversation| messages.iter().any(|message| living.below(conversation.id, &["messages"]).contains(message)));
        keys.extend(conversation.map(|conversation| ("conversations", conversation.id)));
    }
    keys
}
