//! The way through the files: newest first, only frames that may match, and each document in its latest state.
//!
//! Work is a heap of segments and frames by the youngest record that they may hold. A hit is shown when nothing is left in the heap that may
//! hold a younger one, so memory holds one frame and the hits of those that overlap, however much there is.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::store::{Store, StoreError};
use serde_json::Value;

use super::query::Query;
use crate::ndjson::frame;
use crate::ndjson::index::Index;
use crate::ndjson::layout::{Closed, Name, OPEN};
use crate::ndjson::line::{self, Head};
use crate::ndjson::place::Place;
use crate::ndjson::seal::Frames;
use crate::ndjson::terms::id_hash;

/// Memory for tables of indexes and for the states in frames that were read.
const CACHE_BYTES: usize = 16 << 20;

/// A document that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Its head.
    pub(crate) head: Head,
    /// The whole line.
    pub(crate) line: Vec<u8>,
}

/// What it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Segments there are.
    pub(crate) segments: usize,
    /// Segments whose index was read.
    pub(crate) indexes_read: usize,
    /// Frames in those segments.
    pub(crate) frames: u64,
    /// Frames that were read, those of open segments included.
    pub(crate) frames_read: u64,
    /// Bytes of segments that were read, compressed.
    pub(crate) bytes_read: u64,
}

/// A closed segment and where it is.
#[derive(Clone, Debug)]
struct Segment {
    closed: Closed,
    store: Arc<dyn Store>,
    /// The size of its index, as listed.
    index_size: Option<u64>,
    /// Where it goes from there, perhaps while it is searched.
    next: Option<Arc<dyn Store>>,
}

/// Something to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Segment(usize),
    /// Segment, offset, length.
    Frame(usize, u64, u64),
}

/// Which state of a document it is, by the hash of its id.
type States = Arc<Vec<(u64, u64)>>;

/// A search on its way.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    query: &'a Query,
    segments: Vec<Segment>,
    work: BinaryHeap<(Micros, Work)>,
    hits: BTreeSet<Found>,
    /// The latest states in the open segments, which are read as a whole.
    newest: HashMap<u64, u64>,
    shown: HashSet<u64>,
    indexes: Cache<usize, Arc<Index>>,
    states: Cache<(usize, u64), States>,
    /// What it took.
    pub(crate) effort: Effort,
}

/// A hit. The largest comes first: the youngest; of one time by kind and id; the latest state before the others.
#[derive(Debug, PartialEq, Eq)]
struct Found(Hit);

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (one, other) = (&self.0.head, &other.0.head);
        let backwards = || other.kind.cmp(&one.kind).then_with(|| other.id.cmp(&one.id));
        one.time.cmp(&other.time).then_with(backwards).then_with(|| one.version.cmp(&other.version))
    }
}

impl<'a> Scan<'a> {
    /// Looks at what there is, and reads the open segments.
    pub(crate) async fn begin(place: &Place, query: &'a Query) -> Result<Scan<'a>, StoreError> {
        // In the order in which documents travel, so that none passes unseen: what is closed in between is seen twice.
        let open = open_names(&*place.local).await?;
        let mut scan = Scan {
            query,
            segments: Vec::new(),
            work: BinaryHeap::new(),
            hits: BTreeSet::new(),
            newest: HashMap::new(),
            shown: HashSet::new(),
            indexes: Cache::new(),
            states: Cache::new(),
            effort: Effort::default(),
        };
        let mut gone = HashSet::new();
        for name in &open {
            if !scan.read_open(place, name).await? {
                gone.insert(name.clone());
            }
        }
        let mut seen: HashSet<Closed> = HashSet::new();
        let places = [(Some(&place.local), place.bucket.clone()), (place.bucket.as_ref(), None)];
        for (store, next) in places.into_iter().filter_map(|(store, next)| Some((store?, next))) {
            let listed = store.list("").await?;
            let sizes: HashMap<&str, u64> = listed.iter().map(|listed| (listed.path.as_str(), listed.size)).collect();
            for path in listed.iter().map(|listed| &listed.path).filter(|path| Closed::is_segment(path)) {
                let Some(closed) = Closed::of(path).filter(|closed| seen.insert(closed.clone())) else { continue };
                let index_size = sizes.get(closed.index_path().as_str()).copied();
                scan.segments.push(Segment { closed, store: store.clone(), index_size, next: next.clone() });
            }
        }
        scan.effort.segments = scan.segments.len() + open.len() - gone.len();
        for (index, segment) in scan.segments.iter().enumerate() {
            if query.overlaps(segment.closed.first, segment.closed.last) {
                scan.work.push((segment.closed.last, Work::Segment(index)));
            }
        }
        Ok(scan)
    }

    /// The next document, newest first.
    pub(crate) async fn next(&mut self) -> Result<Option<Hit>, StoreError> {
        loop {
            let until = self.work.peek().map_or(Micros::MIN, |(last, _)| *last);
            while self.hits.last().is_some_and(|found| self.work.is_empty() || found.0.head.time > until) {
                let Some(Found(hit)) = self.hits.pop_last() else { break };
                let id = id_hash(&hit.head);
                if !self.shown.contains(&id) && self.is_latest(&hit.head).await? {
                    self.shown.insert(id);
                    return Ok(Some(hit));
                }
            }
            match self.work.pop() {
                Some((_, Work::Segment(segment))) => self.open_segment(segment).await?,
                Some((_, Work::Frame(segment, offset, length))) => self.look_into(segment, offset, length).await?,
                None if self.hits.is_empty() => return Ok(None),
                None => {}
            }
        }
    }

    /// Puts the frames that may match into the heap.
    async fn open_segment(&mut self, segment: usize) -> Result<(), StoreError> {
        let Some(index) = self.index(segment).await? else { return Ok(()) };
        self.effort.indexes_read += 1;
        self.effort.frames += index.frames.len() as u64;
        for frame in &index.frames {
            if !self.query.overlaps(frame.first, frame.last) || !self.query.may_have_values(&frame.values) {
                continue;
            }
            if self.query.has_words() {
                let words = index.words(&*self.segments[segment].store, frame).await;
                match words {
                    Ok(words) if !self.query.may_have_words(&words) => continue,
                    // The index went elsewhere, or away: the frame says what is in it.
                    Ok(_) | Err(StoreError::Missing { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.work.push((frame.last, Work::Frame(segment, frame.offset, frame.length)));
        }
        Ok(())
    }

    async fn look_into(&mut self, segment: usize, offset: u64, length: u64) -> Result<(), StoreError> {
        let Some(text) = self.read_frame(segment, offset, length).await? else { return Ok(()) };
        let (hits, states) = matching(self.query, &text);
        self.hits.extend(hits.into_iter().map(Found));
        let size = states.len() * 16;
        self.states.put((segment, offset), Arc::new(states), size);
        Ok(())
    }

    /// The lines of a frame; `None` if the segment was removed in the meantime, because it is past its age.
    async fn read_frame(&mut self, segment: usize, offset: u64, length: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.segments[segment].closed.path();
        let bytes = loop {
            match self.segments[segment].store.get_range(&path, offset..offset + length).await {
                Ok(bytes) => break bytes,
                Err(StoreError::Missing { .. }) if self.follow(segment) => {}
                Err(StoreError::Missing { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        self.effort.frames_read += 1;
        self.effort.bytes_read += length;
        let lines = tokio::task::spawn_blocking(move || frame::decode(&bytes)).await?;
        lines.map(Some).map_err(|error| StoreError::Damaged { path, what: error.to_string() })
    }

    async fn index(&mut self, segment: usize) -> Result<Option<Arc<Index>>, StoreError> {
        if let Some(index) = self.indexes.get(&segment) {
            return Ok(Some(index));
        }
        loop {
            let Segment { closed, store, index_size, .. } = &self.segments[segment];
            match Index::read(&**store, &closed.index_path(), *index_size).await {
                Ok(index) => {
                    let index = Arc::new(index);
                    self.indexes.put(segment, index.clone(), index.bytes());
                    return Ok(Some(index));
                }
                Err(error @ StoreError::Missing { .. }) => {
                    let is_left = store.size(&closed.path()).await?.is_some();
                    // Removed since it was listed: so is the segment, or it is on its way.
                    if !self.follow(segment) {
                        return if is_left { Err(error) } else { Ok(None) };
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks for a segment where it went, if it was not there already.
    fn follow(&mut self, segment: usize) -> bool {
        let segment = &mut self.segments[segment];
        let Some(next) = segment.next.take() else { return false };
        (segment.store, segment.index_size) = (next, None);
        true
    }

    /// Whether no file holds a later state. Every state of a record has its time, so few frames can.
    async fn is_latest(&mut self, head: &Head) -> Result<bool, StoreError> {
        let id = id_hash(head);
        if self.newest.get(&id).is_some_and(|version| *version > head.version) {
            return Ok(false);
        }
        for segment in 0..self.segments.len() {
            let Closed { first, last, .. } = self.segments[segment].closed;
            if head.time < first || head.time > last {
                continue;
            }
            let Some(index) = self.index(segment).await? else { continue };
            for frame in &index.frames {
                let may_hold = frame.first <= head.time && head.time <= frame.last && frame.values.may_hold(id);
                if may_hold
                    && self
                        .states(segment, frame.offset, frame.length)
                        .await?
                        .iter()
                        .any(|(other, version)| *other == id && *version > head.version)
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn states(&mut self, segment: usize, offset: u64, length: u64) -> Result<States, StoreError> {
        if let Some(states) = self.states.get(&(segment, offset)) {
            return Ok(states);
        }
        let text = self.read_frame(segment, offset, length).await?.unwrap_or_default();
        let states: States = Arc::new(line::lines(&text).filter_map(line::head).map(|head| (id_hash(&head), head.version)).collect());
        self.states.put((segment, offset), states.clone(), states.len() * 16);
        Ok(states)
    }

    /// Reads a segment that is being written. `false` if it was closed in the meantime.
    async fn read_open(&mut self, place: &Place, name: &Name) -> Result<bool, StoreError> {
        let path = name.open_path();
        let file = match File::open(place.root.join(&path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::Unavailable { action: format!("reading {path}"), reason: error.to_string() }),
        };
        self.effort.bytes_read += file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let mut frames = Frames::new(file);
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let next = frames.next();
                (frames, next)
            });
            let (rest, next) = read.await?;
            frames = rest;
            let text = match next {
                Ok(Some(text)) => text,
                Ok(None) => return Ok(true),
                Err(error) => return Err(StoreError::Damaged { path, what: error.to_string() }),
            };
            self.effort.frames_read += 1;
            let (hits, states) = matching(self.query, &text);
            self.hits.extend(hits.into_iter().map(Found));
            for (id, version) in states {
                let newest = self.newest.entry(id).or_default();
                *newest = version.max(*newest);
            }
        }
    }
}

/// The documents of a frame that are looked for, and the states of all.
fn matching(query: &Query, text: &[u8]) -> (Vec<Hit>, Vec<(u64, u64)>) {
    let (mut hits, mut states) = (Vec::new(), Vec::new());
    for line in line::lines(text) {
        let Some(head) = line::head(line) else { continue };
        states.push((id_hash(&head), head.version));
        if query.accepts(&head) && serde_json::from_slice::<Value>(line).is_ok_and(|document| query.matches(&document)) {
            hits.push(Hit { head, line: line.to_vec() });
        }
    }
    (hits, states)
}

async fn open_names(local: &dyn Store) -> Result<Vec<Name>, StoreError> {
    Ok(local.list(OPEN).await?.iter().filter_map(|listed| Name::of_open(&listed.path)).collect())
}

/// What was used last, up to a size.
#[derive(Debug)]
struct Cache<K, V> {
    entries: HashMap<K, (V, usize, u64)>,
    bytes: usize,
    uses: u64,
}

impl<K: Clone + Eq + std::hash::Hash, V: Clone> Cache<K, V> {
    fn new() -> Self {
        Cache { entries: HashMap::new(), bytes: 0, uses: 0 }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let (value, _, used) = self.entries.get_mut(key)?;
        *used = self.uses;
        Some(value.clone())
    }

    fn put(&mut self, key: K, value: V, bytes: usize) {
        self.uses += 1;
        if let Some((_, before, _)) = self.entries.insert(key, (value, bytes, self.uses)) {
            self.bytes -= before;
        }
        self.bytes += bytes;
        while self.bytes > CACHE_BYTES && self.entries.len() > 1 {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.2).map(|(key, _)| key.clone()) else { return };
            if let Some((_, bytes, _)) = self.entries.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}
