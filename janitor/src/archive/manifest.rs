//! What a batch holds. The manifest is written after the rows: without it, they do not count.

use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::dify::retention::{Bundle, Key, Root, Shape};
use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ArchiveError;
use super::format::{Digest, sha256};

/// The format that this version writes.
const FORMAT: u32 = 1;

/// What is known of a batch before its rows are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHead {
    /// The batch.
    pub id: Uuid,
    /// The tenant of all its bundles.
    pub tenant_id: Uuid,
    /// The app of all its bundles.
    pub app_id: Uuid,
    /// The UTC day on which they ended, as days since 1970-01-01.
    pub day: i32,
    /// What they are built around.
    pub root: Root,
    /// The policy that let them go, and its age, as text.
    pub policy: String,
    /// When the batch was begun.
    pub written_at: Micros,
    /// The version of Dify's schema, where it says one.
    pub alembic: Option<String>,
    /// The database, as text.
    pub database: String,
}

/// How far a batch is. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// The rows are in the archive. Nothing is deleted.
    Written,
    /// They were read back and compared. Nothing is deleted.
    Verified,
    /// They are being deleted: whatever is begun is finished.
    Deleting,
    /// None of its rows is in the database any more.
    Done,
}

impl BatchState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            BatchState::Written => "written",
            BatchState::Verified => "verified",
            BatchState::Deleting => "deleting",
            BatchState::Done => "done",
        }
    }
}

/// What a batch keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Its rows, whole.
    Rows,
    /// Keys and versions, until it is done: for an operator who wants no archive.
    Keys,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was known before.
    pub head: BatchHead,
    /// How far it is.
    pub state: BatchState,
    /// When it was done.
    pub done_at: Option<Micros>,
    /// What it keeps.
    pub kept: Kept,
    /// Its bundles. Rows name them by their position here.
    pub bundles: Vec<Bundle>,
    /// Its tables, parents first: the order in which rows are put back.
    pub tables: Vec<TableEntry>,
    /// Bundles that were in it and are not any more, because they were changed before they could be deleted.
    pub superseded: Vec<Uuid>,
    /// How often it was rewritten.
    pub(crate) revision: u32,
    /// Objects that may exist and must not, once it is done.
    pub(crate) garbage: Vec<String>,
}

/// The rows of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The table as it was in the database.
    pub shape: Arc<Shape>,
    /// The rows.
    pub rows: ObjectEntry,
    /// The parts of values that are too large to hold, where there are any.
    pub chunks: Option<ObjectEntry>,
}

/// One object with rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Its path in the archive.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of it, as `sha256sum` prints it.
    pub sha256: Digest,
    /// Its row groups, one after the other.
    pub groups: Vec<Group>,
    /// SHA-256 of what stands after the last row group.
    pub tail: Digest,
}

/// One row group of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How many rows it has.
    pub rows: u32,
    /// Position of the first bundle that has a row in it.
    pub first: u32,
    /// Position of the last one.
    pub last: u32,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// A hash of the values of its rows, as they came from the database.
    pub digest: Digest,
}

/// A row that a batch holds: which one, and in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivedRow {
    /// Position of its bundle in the manifest.
    pub bundle: u32,
    /// Position of its table in the manifest.
    pub table: u16,
    /// Its primary key.
    pub key: Key,
    /// Its version.
    pub xmin: u32,
}

impl TableEntry {
    /// Its objects.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectEntry> {
        std::iter::once(&self.rows).chain(&self.chunks)
    }
}

impl Manifest {
    pub(crate) fn new(head: BatchHead, kept: Kept, bundles: Vec<Bundle>, tables: Vec<TableEntry>) -> Manifest {
        let superseded = Vec::new();
        let garbage = Vec::new();
        Manifest { head, state: BatchState::Written, done_at: None, kept, bundles, tables, superseded, revision: 0, garbage }
    }

    /// How many rows it holds.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows.rows).sum()
    }

    /// How many bytes its objects have.
    pub fn bytes(&self) -> u64 {
        self.objects().map(|object| object.bytes).sum()
    }

    /// All its objects.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectEntry> {
        self.tables.iter().flat_map(TableEntry::objects)
    }

    /// Two lines of JSON: how to read the second one, and the manifest.
    pub(crate) fn to_bytes(&self) -> Result<Bytes, ArchiveError> {
        let failed = |error: serde_json::Error| ArchiveError::Task(error.to_string());
        let manifest = serde_json::to_vec(self).map_err(failed)?;
        let envelope = Envelope { format: FORMAT, sha256: sha256(&manifest) };
        let mut bytes = serde_json::to_vec(&envelope).map_err(failed)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&manifest);
        bytes.push(b'\n');
        Ok(bytes.into())
    }

    pub(crate) fn parse(path: &str, bytes: &[u8]) -> Result<Manifest, ArchiveError> {
        let damaged = || ArchiveError::damaged(path, "it is no manifest");
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let [envelope, manifest, b""] = lines.as_slice() else { return Err(damaged()) };
        let envelope: Envelope = serde_json::from_slice(envelope).map_err(|_| damaged())?;
        if envelope.format != FORMAT {
            return Err(ArchiveError::Version { path: path.to_owned(), version: envelope.format });
        }
        if envelope.sha256 != sha256(manifest) {
            return Err(ArchiveError::damaged(path, "its checksum is not that of what was written"));
        }
        serde_json::from_slice(manifest).map_err(|_| damaged())
    }
}

/// What stands before a manifest.
#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    sha256: Digest,
}
