//! One dead letter, as a line.

use std::io::{self, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::document::Kind;

/// A document that was rejected, where it belongs and why it was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// When it was rejected: milliseconds since 1970.
    pub time: i64,
    /// What it is.
    pub kind: Kind,
    /// The index that it belongs into, whatever partitions are like when it is replayed.
    pub index: String,
    /// Its `_id`.
    pub id: String,
    /// Its version.
    pub revision: u64,
    /// The engine's word for why.
    pub reason: String,
    /// The engine's sentence.
    pub detail: String,
    /// The document, redacted as it was sent.
    pub source: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Line {
    time: i64,
    kind: String,
    index: String,
    id: String,
    revision: u64,
    reason: String,
    detail: String,
    /// As text: read into values, numbers would not come back as they were.
    document: String,
}

impl Letter {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let line = Line {
            time: self.time,
            kind: self.kind.as_str().to_owned(),
            index: self.index.clone(),
            id: self.id.clone(),
            revision: self.revision,
            reason: self.reason.clone(),
            detail: self.detail.clone(),
            document: String::from_utf8_lossy(&self.source).into_owned(),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }

    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line: Line = serde_json::from_slice(line).ok()?;
        Some(Letter {
            time: line.time,
            kind: Kind::parse(&line.kind)?,
            index: line.index,
            id: line.id,
            revision: line.revision,
            reason: line.reason,
            detail: line.detail,
            source: Bytes::from(line.document),
        })
    }
}
