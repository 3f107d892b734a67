//! Trigger logs (Dify 1.10 and newer): when one is final.

use std::collections::HashMap;

use uuid::Uuid;

use super::event::{Closed, Event, Kind};
use super::open::OpenEntry;
use super::reader::Reader;
use super::runs::{Change, LONG_ENDED};
use super::source::{Found, Moment, Source};
use crate::dify::records::TriggerLog;
use crate::dify::session::DatabaseError;
use crate::settings::follow::FollowSettings;

/// What one step found out about trigger logs.
#[derive(Debug)]
pub(crate) struct TriggersBatch {
    pub(crate) found: Found,
    changes: Vec<(Uuid, Change)>,
    events: Vec<Event>,
    /// More could be done at once.
    pub(crate) more: bool,
}

fn judge(log: &TriggerLog, entry: &mut OpenEntry, moment: Moment, settings: &FollowSettings) -> Option<Closed> {
    let now = moment.now;
    entry.app_id = log.app_id;
    entry.created_at = log.created_at;
    entry.missing_since = None;
    entry.paused = &*log.status == "paused";
    if !log.has_ended() {
        entry.final_since = None;
        if !entry.paused && now.since(log.created_at) >= settings.abandon_after {
            return Some(Closed::Abandoned);
        }
        entry.check_after_age(now);
        return None;
    }
    let since = *entry.final_since.get_or_insert(now);
    let ended = log.finished_at.unwrap_or(log.created_at);
    if now.since(since) >= settings.settle || now.since(ended) >= LONG_ENDED.max(settings.settle) {
        return Some(Closed::Ended);
    }
    entry.check_at(now, since.plus(settings.settle));
    None
}

/// Reads trigger logs: the new ones and the open ones that are due.
pub(crate) async fn step<R: Reader>(
    source: &Source,
    reader: &mut R,
    moment: Moment,
    settings: &FollowSettings,
) -> Result<TriggersBatch, DatabaseError> {
    let most_due = super::MOST_DUE.min(settings.page_rows as usize);
    let due = source.open.due(moment.now, most_due);
    let budget = (settings.page_rows as usize).saturating_sub(due.len()).max(1);
    let found = source.find(reader, Kind::Trigger, moment, budget, settings).await?;
    let mut batch = TriggersBatch { more: found.more, found, changes: Vec::new(), events: Vec::new() };
    let ids: Vec<Uuid> = due.iter().copied().chain(batch.found.unknown.iter().map(|place| place.id)).collect();
    let mut rows: HashMap<Uuid, TriggerLog> = HashMap::new();
    if !ids.is_empty() {
        rows.extend(reader.triggers(&ids).await?.into_iter().map(|log| (log.id, log)));
    }
    let mut closed_now = 0;
    for id in ids {
        let known = source.open.get(&id);
        let Some(log) = rows.remove(&id) else {
            if let Some(entry) = known {
                batch.changes.push((id, super::missing(entry, moment, source, settings, &mut batch.events, Kind::Trigger)));
            }
            continue;
        };
        let mut entry = known.cloned().unwrap_or_else(|| OpenEntry::new(log.app_id, log.created_at, moment.now));
        match judge(&log, &mut entry, moment, settings) {
            None => batch.changes.push((id, Change::Open(entry))),
            Some(closed) => {
                closed_now += 1;
                batch.changes.push((id, Change::Told { created_at: log.created_at, nodes: Vec::new(), watch: None }));
                batch.events.push(Event::TriggerClosed { log, closed });
            }
        }
    }
    batch.more |= due.len() == most_due && closed_now * 4 >= due.len();
    Ok(batch)
}

/// Takes over what a step found out, and returns what it tells.
pub(crate) fn absorb(source: &mut Source, batch: TriggersBatch, moment: Moment, settings: &FollowSettings) -> Vec<Event> {
    for (id, change) in batch.changes {
        super::apply(source, id, change);
    }
    source.absorb(&batch.found, moment, settings);
    batch.events
}
