//! Writing an object.

use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::store::{Store, Upload};
use tokio::task::JoinHandle;

use super::super::ArchiveError;
use super::super::format::{Content, FileEncoder, FormatError, Hasher, Table, sha256};
use super::super::manifest::{Group, ObjectEntry};

/// A row group is encoded when its rows have this many bytes, or there are so many of them.
const GROUP_BYTES: usize = 8 << 20;
const GROUP_ROWS: usize = 50_000;

/// Collects rows, encodes them on another thread, and sends what is encoded.
pub(crate) struct ObjectWriter<T: Table> {
    table: Arc<T>,
    upload: Box<dyn Upload>,
    pending: Vec<T::Record>,
    pending_bytes: usize,
    encoder: Encoder,
    sent: Sent,
}

/// Of the bytes that were sent.
struct Sent {
    path: String,
    rows: u64,
    bytes: u64,
    hasher: Hasher,
    groups: Vec<Group>,
}

enum Encoder {
    Idle(Box<FileEncoder>),
    Busy(JoinHandle<Result<Encoded, FormatError>>),
    /// An error came out of it.
    Gone,
}

/// A row group, and the encoder for the next one.
type Encoded = (Box<FileEncoder>, Content, Bytes);

impl<T: Table> ObjectWriter<T> {
    /// Begins an object, compressed by zstd at `level`.
    pub(crate) async fn begin(store: &dyn Store, path: String, table: T, level: i32) -> Result<Self, ArchiveError> {
        let new = FileEncoder::new(&table.fields(), level).and_then(|mut encoder| Ok((encoder.head()?, encoder)));
        let (head, encoder) = new.map_err(|error| ArchiveError::rows(&path, error.to_string()))?;
        let upload = store.upload(&path).await?;
        let sent = Sent { path, rows: 0, bytes: 0, hasher: Hasher::default(), groups: Vec::new() };
        let mut writer = ObjectWriter {
            table: Arc::new(table),
            upload,
            pending: Vec::new(),
            pending_bytes: 0,
            encoder: Encoder::Idle(Box::new(encoder)),
            sent,
        };
        writer.send(head).await?;
        Ok(writer)
    }

    /// Adds a row that has about so many bytes.
    pub(crate) async fn push(&mut self, record: T::Record, bytes: usize) -> Result<(), ArchiveError> {
        self.pending.push(record);
        self.pending_bytes += bytes;
        if self.pending_bytes >= GROUP_BYTES || self.pending.len() >= GROUP_ROWS {
            self.encode().await?;
        }
        Ok(())
    }

    /// Completes the object.
    pub(crate) async fn finish(mut self) -> Result<ObjectEntry, ArchiveError> {
        if !self.pending.is_empty() {
            self.encode().await?;
        }
        let encoder = self.settle().await?;
        let tail = encoder.finish().map_err(|error| self.failed(&error.into()))?;
        let digest = sha256(&tail);
        self.send(tail).await?;
        self.upload.finish().await?;
        let Sent { path, rows, bytes, hasher, groups } = self.sent;
        Ok(ObjectEntry { path, rows, bytes, sha256: hasher.finish(), groups, tail: digest })
    }

    /// Leaves nothing behind.
    pub(crate) async fn abort(self) -> Result<(), ArchiveError> {
        Ok(self.upload.abort().await?)
    }

    /// Starts to encode what was collected, once the group before is encoded and sent.
    async fn encode(&mut self) -> Result<(), ArchiveError> {
        let mut encoder = self.settle().await?;
        let records = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let table = self.table.clone();
        self.encoder = Encoder::Busy(tokio::task::spawn_blocking(move || {
            let (columns, content) = table.columns(records)?;
            let bytes = encoder.group(columns)?;
            Ok((encoder, content, bytes))
        }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<Box<FileEncoder>, ArchiveError> {
        match std::mem::replace(&mut self.encoder, Encoder::Gone) {
            Encoder::Idle(encoder) => Ok(encoder),
            Encoder::Busy(task) => {
                let (encoder, content, bytes) = task.await?.map_err(|error| self.failed(&error))?;
                self.sent.groups.push(group(&content, &bytes));
                self.sent.rows += u64::from(content.rows);
                self.send(bytes).await?;
                Ok(encoder)
            }
            Encoder::Gone => Err(ArchiveError::rows(&self.sent.path, "more of them after a failure")),
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        self.sent.hasher.update(&bytes);
        self.sent.bytes += bytes.len() as u64;
        Ok(self.upload.put(bytes).await?)
    }

    fn failed(&self, error: &FormatError) -> ArchiveError {
        ArchiveError::rows(&self.sent.path, error.to_string())
    }
}

fn group(content: &Content, bytes: &Bytes) -> Group {
    let Content { rows, first, last, digest } = *content;
    Group { rows, first, last, bytes: bytes.len() as u64, sha256: sha256(bytes), digest }
}
