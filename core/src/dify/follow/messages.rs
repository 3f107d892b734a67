//! Messages: when one is final. Dify has no "running" status for them, and fills a chatflow's message after its run ended.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::event::{Closed, Event, Kind};
use super::open::OpenEntry;
use super::reader::Reader;
use super::runs::{Change, LONG_ENDED};
use super::source::{Found, Moment, Source};
use crate::dify::records::{Message, Thought};
use crate::dify::session::DatabaseError;
use crate::settings::follow::FollowSettings;

/// What one step found out about messages.
#[derive(Debug)]
pub(crate) struct MessagesBatch {
    pub(crate) found: Found,
    changes: Vec<(Uuid, Change)>,
    events: Vec<Event>,
    /// More could be done at once.
    pub(crate) more: bool,
}

/// How a message is told.
#[derive(Debug)]
enum Ending {
    /// For the first time; and how it is watched from then on.
    Closed(Closed, Option<OpenEntry>),
    /// Again.
    Corrected,
}

/// Whether the run of a message is told, still open, or not known (outside the horizon, or not ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    None,
    Open,
    Closed,
    Unknown,
}

fn run_state(runs: &Source, message: &Message) -> RunState {
    match message.workflow_run_id {
        None => RunState::None,
        Some(run) if runs.ledger.is_told(&run) => RunState::Closed,
        Some(run) if runs.open.contains(&run) => RunState::Open,
        Some(_) => RunState::Unknown,
    }
}

/// `Some` when the message is final.
///
/// Filled (or failed) for the settling time makes a message final; one of a chatflow also needs its run to be closed, or a
/// minute of waiting for that: a run that a user stopped may never end. An empty message whose run is closed gets the same
/// minute to be filled, then it is taken as it is.
fn judge(message: &Message, run: RunState, entry: &mut OpenEntry, moment: Moment, settings: &FollowSettings) -> Option<Closed> {
    let now = moment.now;
    entry.app_id = message.app_id;
    entry.created_at = message.created_at;
    entry.missing_since = None;
    entry.paused = &*message.status == "paused";
    let could_be_final = message.is_filled() || (run == RunState::Closed && !entry.paused);
    if !could_be_final {
        entry.final_since = None;
        if !entry.paused && now.since(message.created_at) >= settings.abandon_after {
            return Some(Closed::Abandoned);
        }
        entry.check_after_age(now);
        return None;
    }
    let since = *entry.final_since.get_or_insert(now);
    let wait = match (message.is_filled(), run) {
        (true, RunState::None | RunState::Closed) => settings.settle,
        _ => settings.interrupt_after.max(settings.settle),
    };
    let answered = message.created_at.plus(Duration::from_secs_f64(message.response_seconds.clamp(0.0, 86_400.0)));
    let long_ended = now.since(answered.max(message.updated_at)) >= LONG_ENDED.max(wait) && run != RunState::Open;
    if long_ended || now.since(since) >= wait {
        return Some(Closed::Ended);
    }
    // Its run may be closed earlier than the wait is over, so look again as soon as a settled message could be taken.
    let soon = since.plus(settings.settle);
    entry.check_at(now, if soon > now { soon } else { now.plus(settings.settle.max(Duration::from_secs(1))) });
    None
}

/// Reads messages: the new ones and the open ones that are due, with the thoughts of those that can be told.
pub(crate) async fn step<R: Reader>(
    source: &Source,
    runs: &Source,
    reader: &mut R,
    moment: Moment,
    settings: &FollowSettings,
) -> Result<MessagesBatch, DatabaseError> {
    let most_due = super::MOST_DUE.min(settings.page_rows as usize);
    let due = source.open.due(moment.now, most_due);
    let budget = (settings.page_rows as usize).saturating_sub(due.len()).max(1);
    let found = source.find(reader, Kind::Message, moment, budget, settings).await?;
    let mut batch = MessagesBatch { more: found.more, found, changes: Vec::new(), events: Vec::new() };

    let mut ids: Vec<Uuid> = due.iter().copied().chain(batch.found.unknown.iter().map(|place| place.id)).collect();
    if moment.documents && !ids.is_empty() {
        let bytes: HashMap<Uuid, i64> = reader.message_bytes(&ids).await?.into_iter().collect();
        let (now, later) = super::affordable(ids, &bytes);
        ids = now;
        batch.more |= !later.is_empty();
        batch.changes.extend(super::defer(&later, &batch.found, source, moment.now));
    }
    let mut rows: HashMap<Uuid, Message> = HashMap::new();
    if !ids.is_empty() {
        rows.extend(reader.messages(&ids).await?.into_iter().map(|message| (message.id, message)));
    }
    let mut closing: Vec<(Message, Ending)> = Vec::new();
    for id in ids {
        let known = source.open.get(&id);
        let Some(message) = rows.remove(&id) else {
            if let Some(entry) = known {
                batch.changes.push((id, super::missing(entry, moment, source, settings, &mut batch.events, Kind::Message)));
            }
            continue;
        };
        let mut entry = known.cloned().unwrap_or_else(|| OpenEntry::new(message.app_id, message.created_at, moment.now));
        if entry.is_told() {
            match entry.watched(moment.now) {
                _ if message.is_filled() => closing.push((message, Ending::Corrected)),
                Some(entry) => batch.changes.push((id, Change::Open(entry))),
                None => batch.changes.push((id, Change::Unwatched)),
            }
            continue;
        }
        match judge(&message, run_state(runs, &message), &mut entry, moment, settings) {
            None => batch.changes.push((id, Change::Open(entry))),
            Some(closed) => {
                // What is told without an answer may still get one.
                let watch = (moment.documents && !message.is_filled()).then(|| entry.watched(moment.now)).flatten();
                closing.push((message, Ending::Closed(closed, watch)));
            }
        }
    }
    batch.more |= due.len() == most_due && closing.len() * 4 >= due.len();
    let ids: Vec<Uuid> = closing.iter().map(|(message, _)| message.id).collect();
    let starters: HashSet<Uuid> =
        if ids.is_empty() { HashSet::new() } else { reader.conversation_starters(&ids).await?.into_iter().collect() };
    // Chatflows and workflows have no thoughts; for anything else the index on message_id says at once that there are none.
    let asked: Vec<Uuid> = closing.iter().filter(|(message, _)| message.workflow_run_id.is_none()).map(|(message, _)| message.id).collect();
    let mut thoughts: HashMap<Uuid, Vec<Thought>> = HashMap::new();
    if !asked.is_empty() {
        for thought in reader.thoughts(&asked).await? {
            thoughts.entry(thought.message_id).or_default().push(thought);
        }
    }
    for (mut message, ending) in closing {
        message.starts_conversation = starters.contains(&message.id);
        let thoughts = thoughts.remove(&message.id).unwrap_or_default();
        let (id, created_at) = (message.id, message.created_at);
        let watch = match ending {
            Ending::Closed(closed, watch) => {
                batch.events.push(Event::MessageClosed { message, thoughts, closed });
                watch
            }
            Ending::Corrected => {
                batch.events.push(Event::MessageCorrected { message, thoughts });
                None
            }
        };
        batch.changes.push((id, Change::Told { created_at, nodes: Vec::new(), watch }));
    }
    Ok(batch)
}

/// Takes over what a step found out, and returns what it tells.
pub(crate) fn absorb(source: &mut Source, batch: MessagesBatch, moment: Moment, settings: &FollowSettings) -> Vec<Event> {
    for (id, change) in batch.changes {
        super::apply(source, id, change);
    }
    if moment.documents {
        source.open.limit_watched();
    }
    source.absorb(&batch.found, moment, settings);
    batch.events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dify::records::Cuts;
    use crate::dify::time::Micros;

    fn message(status: &str, filled: bool) -> Message {
        Message {
            id: Uuid::from_u128(1),
            app_id: Uuid::from_u128(2),
            conversation_id: Uuid::from_u128(3),
            parent_message_id: None,
            workflow_run_id: Some(Uuid::from_u128(4)),
            model_provider: None,
            model_id: None,
            app_mode: None,
            status: status.into(),
            error: None,
            invoke_from: None,
            from_source: "api".into(),
            from_end_user_id: None,
            from_account_id: None,
            message_tokens: 0,
            answer_tokens: 0,
            total_price: None,
            currency: "USD".into(),
            response_seconds: 0.0,
            query: None,
            answer: None,
            has_answer: filled,
            agent_based: false,
            metadata: None,
            inputs: None,
            created_at: Micros::from_secs(1_000),
            updated_at: Micros::from_secs(1_000),
            starts_conversation: true,
            cuts: Cuts::default(),
            row_version: 0,
        }
    }

    fn judge_at(message: &Message, run: RunState, entry: &mut OpenEntry, now: i64) -> Option<Closed> {
        let now = Micros::from_secs(now);
        judge(
            message,
            run,
            entry,
            Moment { now, edge: Some(now), page: 100, continues: false, documents: false },
            &FollowSettings::default(),
        )
    }

    fn fresh() -> OpenEntry {
        OpenEntry::new(Uuid::nil(), Micros::from_secs(1_000), Micros::from_secs(1_000))
    }

    #[test]
    fn an_empty_message_gets_a_minute_after_its_run_closed() {
        let mut entry = fresh();
        assert_eq!(judge_at(&message("normal", false), RunState::Open, &mut entry, 1_010), None);
        assert_eq!(judge_at(&message("normal", false), RunState::Closed, &mut entry, 1_020), None);
        assert_eq!(judge_at(&message("normal", false), RunState::Closed, &mut entry, 1_079), None);
        assert_eq!(judge_at(&message("normal", false), RunState::Closed, &mut entry, 1_080), Some(Closed::Ended));
    }

    #[test]
    fn a_filled_message_of_a_closed_run_settles_in_five_seconds() {
        let mut entry = fresh();
        assert_eq!(judge_at(&message("normal", true), RunState::Closed, &mut entry, 1_010), None);
        assert_eq!(judge_at(&message("normal", true), RunState::Closed, &mut entry, 1_015), Some(Closed::Ended));
    }

    #[test]
    fn an_empty_message_without_an_end_is_abandoned_after_a_day() {
        assert_eq!(judge_at(&message("normal", false), RunState::Open, &mut fresh(), 1_000 + 86_399), None);
        assert_eq!(judge_at(&message("normal", false), RunState::Open, &mut fresh(), 1_000 + 86_400), Some(Closed::Abandoned));
        assert_eq!(judge_at(&message("paused", false), RunState::Open, &mut fresh(), 1_000 + 86_400), None);
    }
}
