//! How far the sink has come, kept in the engine: whoever leads next, on whatever host, goes on from there.
//!
//! It is one document, written by compare-and-set. A write that fails because another has written in between means that another shipper leads:
//! this one steps down. The document holds no ledger (`_id`s and versions are the ledger of this sink); the whole state is kept in a local
//! file beside it, and used when it belongs to this generation or to one shortly before.

mod local;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Client;
use super::setback::Setback;
use local::{Local, Mark};

/// The index of positions of all namespaces and sinks.
pub(crate) const INDEX: &str = "dify-observe-state";

/// Raised when a state of an earlier one can no longer be read.
const FORMAT: u32 = 1;
const LEVEL: i32 = 3;

/// Why a position could not be read or written.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Not now.
    Setback(Setback),
    /// Another shipper has written it.
    Fenced,
    /// It is there, and this version cannot read it: one sentence.
    Unreadable(String),
}

impl From<Setback> for Failure {
    fn from(setback: Setback) -> Self {
        Failure::Setback(setback)
    }
}

/// Which state of the document this one has seen or written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    sequence: i64,
    term: i64,
    generation: u64,
}

/// The position of one sink.
#[derive(Debug)]
pub(crate) struct Position {
    client: Arc<Client>,
    id: String,
    sink: String,
    namespace: String,
    /// This process, so that an own write whose answer was lost is recognised.
    writer: Uuid,
    seen: Option<Seen>,
    local: Local,
}

/// The document.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "@timestamp")]
    time: i64,
    namespace: String,
    sink: String,
    generation: u64,
    writer: Uuid,
    format: u32,
    state: String,
}

impl Stored {
    fn mark(&self) -> Mark {
        Mark { writer: self.writer, generation: self.generation, time: self.time }
    }
}

impl Position {
    /// `sink` may have parts, for positions beside that of `run`.
    pub(crate) fn new(client: Arc<Client>, namespace: &str, sink: &str, file: PathBuf) -> Self {
        Position {
            client,
            id: format!("{namespace}/{sink}"),
            sink: sink.to_owned(),
            namespace: namespace.to_owned(),
            writer: Uuid::new_v4(),
            seen: None,
            local: Local::new(file),
        }
    }

    /// Reads it; from now on writes follow what was read.
    pub(crate) async fn read(&mut self) -> Result<Option<FollowState>, Failure> {
        self.seen = None;
        let Some((seen, stored)) = self.fetch().await? else { return Ok(None) };
        self.seen = Some(seen);
        if let Some(state) = self.local.read(stored.mark()) {
            return Ok(Some(state));
        }
        decode(&stored).map(Some).ok_or_else(|| Failure::Unreadable(self.unreadable(&stored)))
    }

    /// Writes it, unless another has.
    pub(crate) async fn write(&mut self, state: &FollowState) -> Result<(), Failure> {
        let generation = self.seen.map_or(1, |seen| seen.generation + 1);
        let mark = Mark { writer: self.writer, generation, time: Micros::now().0 / 1000 };
        let document = self.document(state, mark);
        let path = match self.seen {
            None => format!("/{INDEX}/_create/{}", self.path()),
            Some(seen) => format!("/{INDEX}/_doc/{}?if_seq_no={}&if_primary_term={}", self.path(), seen.sequence, seen.term),
        };
        let answer = self.client.put(&path, &document).await?;
        let seen = match answer.status {
            200 | 201 => seen_in(&answer.json(), generation),
            409 => Some(self.own_write(generation).await?),
            _ => return Err(Setback::of(&answer, &format!("write the position into {INDEX}")).into()),
        };
        self.seen = seen;
        self.local.write(mark, state);
        Ok(())
    }

    /// A conflict with oneself: an earlier attempt was written, and its answer lost.
    async fn own_write(&self, generation: u64) -> Result<Seen, Failure> {
        match self.fetch().await? {
            Some((seen, stored)) if stored.writer == self.writer && stored.generation == generation => Ok(seen),
            _ => Err(Failure::Fenced),
        }
    }

    async fn fetch(&self) -> Result<Option<(Seen, Stored)>, Failure> {
        let answer = self.client.get(&format!("/{INDEX}/_doc/{}", self.path())).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        if !answer.is_success() {
            return Err(Setback::of(&answer, &format!("read the position in {INDEX}")).into());
        }
        let mut answer = answer.json();
        let found = serde_json::from_value::<Stored>(answer["_source"].take());
        let stored = found.map_err(|error| Failure::Unreadable(format!("the document {} of {INDEX} is no position: {error}", self.id)))?;
        let seen = seen_in(&answer, stored.generation);
        Ok(seen.map(|seen| (seen, stored)))
    }

    fn document(&self, state: &FollowState, mark: Mark) -> Value {
        json!(Stored {
            time: mark.time,
            namespace: self.namespace.clone(),
            sink: self.sink.clone(),
            generation: mark.generation,
            writer: mark.writer,
            format: FORMAT,
            state: encode(state),
        })
    }

    fn unreadable(&self, stored: &Stored) -> String {
        format!(
            "the position {} in {INDEX} has format {} and this version reads {FORMAT}: use the version that wrote it, or delete that document to begin at shipper.start",
            self.id, stored.format
        )
    }

    fn path(&self) -> String {
        self.id.replace('/', "%2F")
    }
}

fn seen_in(answer: &Value, generation: u64) -> Option<Seen> {
    Some(Seen { sequence: answer["_seq_no"].as_i64()?, term: answer["_primary_term"].as_i64()?, generation })
}

fn encode(state: &FollowState) -> String {
    // Writing into memory cannot fail.
    let bytes = postcard::to_stdvec(&state.without_ledger()).unwrap_or_default();
    BASE64_STANDARD.encode(zstd::encode_all(&bytes[..], LEVEL).unwrap_or_default())
}

fn decode(stored: &Stored) -> Option<FollowState> {
    if stored.format != FORMAT {
        return None;
    }
    let compressed = BASE64_STANDARD.decode(&stored.state).ok()?;
    postcard::from_bytes(&zstd::decode_all(&compressed[..]).ok()?).ok()
}

/// The body that creates the index of positions. Nothing in it is searched but whose they are.
pub(crate) fn index_body() -> Value {
    json!({
        "settings": { "index": { "number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": true } },
        "mappings": {
            "dynamic": false,
            "_meta": { super::partitions::MARK: { "holds": "positions of dify-shipper" } },
            "properties": {
                "@timestamp": { "type": "date" },
                "namespace": { "type": "keyword" },
                "sink": { "type": "keyword" },
                "generation": { "type": "long" },
                "writer": { "type": "keyword" }
            }
        }
    })
}
