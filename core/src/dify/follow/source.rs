//! Following one table by time: which ids are new. A step reads (`find`), and what it found is absorbed as one unit.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::Kind;
use super::lateness::Lateness;
use super::ledger::Ledger;
use super::open::{OpenEntry, OpenSet};
use super::reader::{Place, Reader, WalkPath};
use super::scan::Scan;
use crate::dify::session::DatabaseError;
use crate::dify::time::Micros;
use crate::settings::follow::FollowSettings;

/// Ids of one page of a walk.
pub(crate) const PAGE: u32 = 5_000;
/// Most ids that the ledger holds; beyond it the horizon shrinks.
pub(crate) const MOST_IDS: usize = 1_000_000;
/// How long before the anchor records are looked for that are open at the anchor.
pub(crate) const OPEN_BEFORE_ANCHOR: Duration = Duration::from_secs(24 * 3600);

/// What is known of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Nothing created before it is followed, but the records that were open then.
    pub(crate) anchor: Micros,
    /// Ids of the records that were open at the anchor.
    pub(crate) open_at_anchor: Vec<Uuid>,
    /// Whether those were looked up.
    pub(crate) anchored: bool,
    /// Every record created before it is told or open, but those that commit later still.
    pub(crate) through: Micros,
    /// Positions of the trailing walks.
    pub(crate) trails: Vec<Micros>,
    pub(crate) ledger: Ledger,
    pub(crate) open: OpenSet,
    pub(crate) lateness: Lateness,
    pub(crate) scan: Scan,
    /// Up to when the server of the last step showed commits.
    pub(crate) edge: Micros,
    /// How far the live walk of the steps that follow each other at once has come. Only saves reading the overlap again.
    #[serde(skip)]
    burst: Burst,
}

/// How far the live walk has come in a row of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Burst {
    /// Not begun.
    #[default]
    Fresh,
    /// Everything up to this place is known.
    At(Place),
    /// It has reached the end.
    Done,
}

/// Ids that a step found, and the state's positions after it.
#[derive(Debug)]
pub(crate) struct Found {
    /// Neither told nor open, in the order found.
    pub(crate) unknown: Vec<Place>,
    /// How many of them a trailing walk or an audit found.
    pub(crate) late: u64,
    /// The walk stopped because its budget was used up.
    pub(crate) more: bool,
    through: Micros,
    trail: Option<(usize, Micros)>,
    scan: Option<Scan>,
    lateness: Option<Duration>,
    open_at_anchor: Option<Vec<Uuid>>,
    edge: Option<Micros>,
    burst: Burst,
}

/// What a step knows about the moment it runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The server's clock.
    pub(crate) now: Micros,
    /// Up to when the server shows commits.
    pub(crate) edge: Option<Micros>,
    /// Ids of one page of a walk.
    pub(crate) page: u32,
    /// The step follows at once on one that said that there is more.
    pub(crate) continues: bool,
    /// Documents are made: what was told is told again when its row changes, and values are read within a budget.
    pub(crate) documents: bool,
}

/// From a place to a time, until a number of ids that are not known is found.
#[derive(Clone, Copy, Debug)]
struct Walk {
    from: Place,
    until: Micros,
    budget: usize,
    page: u32,
}

impl Source {
    /// Follows what is created since `anchor`; `now` is the server's clock.
    pub(crate) fn new(anchor: Micros, now: Micros, settings: &FollowSettings) -> Self {
        // What is older than the horizon cannot commit late, so only the live walk goes there.
        let trail_from = anchor.max(now.minus(settings.horizon));
        Source {
            anchor,
            open_at_anchor: Vec::new(),
            anchored: anchor == Micros::MIN,
            through: anchor,
            trails: vec![trail_from; settings.trail.len()],
            ledger: Ledger::default(),
            open: OpenSet::default(),
            lateness: Lateness::default(),
            scan: Scan::default(),
            edge: Micros::MIN,
            burst: Burst::Fresh,
        }
    }

    fn knows(&self, id: &Uuid) -> bool {
        self.ledger.is_told(id) || self.open.contains(id)
    }

    /// Reads which ids are new, at most `budget` of them.
    pub(crate) async fn find<R: Reader>(
        &self,
        reader: &mut R,
        kind: Kind,
        moment: Moment,
        budget: usize,
        settings: &FollowSettings,
    ) -> Result<Found, DatabaseError> {
        let mut found = Found {
            unknown: Vec::new(),
            late: 0,
            more: false,
            through: self.through,
            trail: None,
            scan: None,
            lateness: None,
            open_at_anchor: None,
            edge: moment.edge,
            burst: Burst::Fresh,
        };
        match reader.path(kind) {
            WalkPath::Off => {
                found.through = moment.edge.unwrap_or(self.through).max(self.through);
                // A table that is not there has nothing open.
                found.open_at_anchor = (!self.anchored).then(Vec::new);
                return Ok(found);
            }
            WalkPath::Index => {
                if !self.anchored {
                    found.open_at_anchor = Some(self.open_at_the_anchor(reader, kind).await?);
                }
                self.walk_live(reader, kind, moment, budget, settings, &mut found).await?;
                self.walk_a_trail(reader, kind, moment, budget, settings, &mut found).await?;
            }
            WalkPath::Scan => self.scan_some(reader, kind, moment, budget, settings, &mut found).await?,
        }
        Ok(found)
    }

    async fn open_at_the_anchor<R: Reader>(&self, reader: &mut R, kind: Kind) -> Result<Vec<Uuid>, DatabaseError> {
        let mut open = Vec::new();
        let hours = OPEN_BEFORE_ANCHOR.as_secs() / 3600;
        for hour in 0..hours {
            // An hour at a time, so that no statement reads a whole busy day.
            let from = self.anchor.minus(Duration::from_secs((hours - hour) * 3600));
            let until = from.plus(Duration::from_secs(3600));
            open.extend(reader.open_between(kind, from..until).await?.into_iter().map(|place| place.id));
        }
        Ok(open)
    }

    async fn walk_live<R: Reader>(
        &self,
        reader: &mut R,
        kind: Kind,
        moment: Moment,
        budget: usize,
        settings: &FollowSettings,
        found: &mut Found,
    ) -> Result<(), DatabaseError> {
        let from = match self.burst {
            Burst::Done if moment.continues => {
                found.burst = Burst::Done;
                return Ok(());
            }
            Burst::At(place) if moment.continues => place,
            _ => Place::before(self.through),
        };
        let walk = Walk { from, until: Micros(i64::MAX), budget, page: moment.page };
        let end = self.walk(reader, kind, walk, found).await?;
        found.burst = end.map_or(Burst::Done, Burst::At);
        found.more = end.is_some();
        if let Some(edge) = moment.edge {
            let overlap = self.lateness.overlap(moment.now, settings.overlap);
            let reached = end.map_or(Micros(i64::MAX), |place| place.created_at);
            found.through = reached.min(edge.minus(overlap)).max(self.through);
        }
        // A row that the previous step could have seen by its time, but did not, committed late.
        found.lateness =
            found.unknown.iter().filter(|place| place.created_at >= self.through).map(|place| self.edge.since(place.created_at)).max();
        if self.edge == Micros::MIN || found.more {
            found.lateness = None;
        }
        Ok(())
    }

    /// One trailing walk: the one that lags most for its delay. One a step keeps the number of statements constant.
    async fn walk_a_trail<R: Reader>(
        &self,
        reader: &mut R,
        kind: Kind,
        moment: Moment,
        budget: usize,
        settings: &FollowSettings,
        found: &mut Found,
    ) -> Result<(), DatabaseError> {
        let Some(edge) = found.edge else { return Ok(()) };
        if moment.continues || found.unknown.len() >= budget {
            return Ok(());
        }
        let lag = |index: usize, delay: Duration| {
            edge.minus(delay).min(found.through).since(self.trails[index]).as_micros() * 16 / delay.as_micros().max(1)
        };
        let most_behind = settings.trail.iter().enumerate().take(self.trails.len()).map(|(index, delay)| (lag(index, *delay), index)).max();
        let Some((lag, index)) = most_behind else { return Ok(()) };
        if lag == 0 {
            return Ok(());
        }
        let until = edge.minus(settings.trail[index]).min(found.through);
        let before = found.unknown.len();
        let walk = Walk { from: Place::before(self.trails[index]), until, budget, page: moment.page };
        let end = self.walk(reader, kind, walk, found).await?;
        found.late += (found.unknown.len() - before) as u64;
        let late = found.unknown[before..].iter().map(|place| self.edge.since(place.created_at)).max();
        found.lateness = found.lateness.max(late);
        found.trail = Some((index, end.map_or(until, |place| place.created_at)));
        Ok(())
    }

    /// Walks from a place to a time, collecting unknown ids. `Some(place)` when the budget ended it there.
    async fn walk<R: Reader>(&self, reader: &mut R, kind: Kind, walk: Walk, found: &mut Found) -> Result<Option<Place>, DatabaseError> {
        let Walk { from, until, budget, page: page_size } = walk;
        let already: HashSet<Uuid> = found.unknown.iter().map(|place| place.id).collect();
        let mut after = from;
        loop {
            if found.unknown.len() >= budget {
                return Ok(Some(after));
            }
            let page = reader.walk(kind, after, until, page_size).await?;
            let mut examined = after;
            for place in &page {
                if !self.knows(&place.id) && !already.contains(&place.id) {
                    if found.unknown.len() >= budget {
                        return Ok(Some(examined));
                    }
                    found.unknown.push(*place);
                }
                examined = *place;
            }
            match page.last() {
                Some(last) if page.len() == page_size as usize => after = *last,
                _ => return Ok(None),
            }
        }
    }

    /// Without an index on time: blocks within the allowance. Every pass returns all ids of the horizon, so it is the
    /// live walk and the audit for late rows at once.
    async fn scan_some<R: Reader>(
        &self,
        reader: &mut R,
        kind: Kind,
        moment: Moment,
        budget: usize,
        settings: &FollowSettings,
        found: &mut Found,
    ) -> Result<(), DatabaseError> {
        let mut scan = self.scan.clone();
        scan.refill(moment.now, settings.scan_pages_per_second);
        let since = self.anchor.max(moment.edge.unwrap_or(self.edge).minus(settings.horizon)).min(self.through.max(self.anchor));
        let first_pass = !self.anchored;
        let open_since = if first_pass { self.anchor.minus(OPEN_BEFORE_ANCHOR) } else { Micros(i64::MAX) };
        let blocks = reader.blocks(kind).await?;
        let mut seen: HashSet<Uuid> = HashSet::new();
        let mut open_at_anchor = Vec::new();
        scan.begin(moment.edge);
        while found.unknown.len() < budget {
            let Some(range) = scan.next_range(blocks) else { break };
            let places = reader.scan(kind, range.clone(), since, open_since).await?;
            let mut fits = true;
            let mut new_here = 0;
            for place in places.into_iter().filter(|place| !self.knows(&place.id)) {
                if found.unknown.len() >= budget {
                    fits = false;
                    break;
                }
                if seen.insert(place.id) {
                    new_here += 1;
                    if place.created_at < self.anchor {
                        open_at_anchor.push(place.id);
                    } else {
                        found.unknown.push(place);
                    }
                }
            }
            scan.consume(&range, fits, new_here);
            if !fits {
                found.more = true;
                break;
            }
        }
        if let Some(seen_through) = scan.finish_pass(blocks) {
            let overlap = self.lateness.overlap(moment.now, settings.overlap);
            found.through = seen_through.minus(overlap).max(self.through);
            found.open_at_anchor = first_pass.then(|| self.open_at_anchor.iter().copied().chain(open_at_anchor.iter().copied()).collect());
        } else if first_pass && !open_at_anchor.is_empty() {
            // The pass goes on in a later step: keep what it found so far.
            scan.open_at_anchor.extend(open_at_anchor.iter().copied());
        }
        if let Some(open) = &mut found.open_at_anchor {
            open.append(&mut scan.open_at_anchor);
        }
        found.scan = Some(scan);
        Ok(())
    }

    /// Takes over the positions that a step reached.
    pub(crate) fn absorb(&mut self, found: &Found, moment: Moment, settings: &FollowSettings) {
        self.through = found.through.max(self.through);
        if let Some((index, position)) = found.trail {
            self.trails[index] = position.max(self.trails[index]);
        }
        if let Some(late) = found.lateness.filter(|late| !late.is_zero()) {
            self.lateness.note(moment.now, late);
        }
        if let Some(scan) = &found.scan {
            self.scan = scan.clone();
            // A schema that gets its index later goes on from here.
            let floor = self.through.minus(settings.horizon).max(self.anchor);
            self.trails.iter_mut().for_each(|trail| *trail = floor.max(*trail));
        }
        if let Some(open) = &found.open_at_anchor {
            self.anchored = true;
            self.open_at_anchor.clone_from(open);
            for id in open.iter().filter(|id| !self.ledger.is_told(id) && !self.open.contains(id)).copied().collect::<Vec<_>>() {
                self.open.insert(id, OpenEntry::new(Uuid::nil(), self.anchor.minus(Duration::from_secs(1)), moment.now));
            }
        }
        self.burst = found.burst;
        if let Some(edge) = found.edge {
            self.edge = edge.max(self.edge);
        }
        self.forget(settings);
    }

    /// Drops the ids that no walk will meet again, and more when there are too many.
    fn forget(&mut self, settings: &FollowSettings) {
        self.trails.resize(settings.trail.len(), self.through.minus(settings.horizon).max(self.anchor));
        if let Some(time) = self.ledger.time_to_keep(MOST_IDS) {
            let time = time.min(self.through);
            self.trails.iter_mut().for_each(|trail| *trail = time.max(*trail));
        }
        self.ledger.expire(self.horizon_from(settings));
    }

    /// The time before which late rows are no longer looked for.
    pub(crate) fn horizon_from(&self, settings: &FollowSettings) -> Micros {
        let furthest = self.trails.iter().copied().min().unwrap_or(self.through);
        furthest.min(self.through).min(self.edge.minus(settings.overlap)).max(self.anchor)
    }
}
