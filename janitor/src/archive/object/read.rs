//! Reading an object. Bytes are compared with the manifest before they are decoded, values after.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::dify::retention::{Key, Row};
use dify_observe_core::store::Store;

use super::super::ArchiveError;
use super::super::format::{Chunk, ChunkTable, Column, Content, FileReader, FormatError, HEAD, Hasher, RowTable, Selected, sha256};
use super::super::manifest::{Group, ObjectEntry};

/// An object whose footer was read.
#[derive(Debug)]
pub(crate) struct ObjectReader {
    store: Arc<dyn Store>,
    entry: ObjectEntry,
    file: FileReader,
    tail: Bytes,
}

impl ObjectReader {
    /// Reads the footer.
    pub(crate) async fn open(store: Arc<dyn Store>, entry: &ObjectEntry) -> Result<ObjectReader, ArchiveError> {
        let start = HEAD + entry.groups.iter().map(|group| group.bytes).sum::<u64>();
        if start >= entry.bytes {
            return Err(ArchiveError::damaged(&entry.path, "its manifest contradicts itself"));
        }
        let tail = store.get_range(&entry.path, start..entry.bytes).await?;
        if sha256(&tail) != entry.tail {
            return Err(ArchiveError::damaged(&entry.path, "its footer is not what was written"));
        }
        let file = FileReader::new(&tail).map_err(|error| ArchiveError::undecodable(&entry.path, &error.into()))?;
        if file.groups() != entry.groups.len() {
            return Err(ArchiveError::damaged(&entry.path, "it has other row groups than its manifest"));
        }
        Ok(ObjectReader { store, entry: entry.clone(), file, tail })
    }

    /// The row groups that may have rows of a bundle that `wanted` accepts.
    pub(crate) fn groups(&self, wanted: impl Fn(Range<u32>) -> bool) -> Vec<usize> {
        let groups = self.entry.groups.iter().enumerate();
        groups.filter(|(_, group)| wanted(group.first..group.last.saturating_add(1))).map(|(index, _)| index).collect()
    }

    /// The rows of one row group.
    pub(crate) async fn rows(&self, index: usize, table: &RowTable) -> Result<Vec<Row>, ArchiveError> {
        let bytes = self.fetch(index).await?;
        self.rows_of(index, bytes, table).await
    }

    async fn rows_of(&self, index: usize, bytes: Bytes, table: &RowTable) -> Result<Vec<Row>, ArchiveError> {
        let table = table.clone();
        self.decode(index, bytes, Selected::All, move |columns| {
            let rows = table.rows(columns)?;
            let content = table.content(&rows)?;
            Ok((rows, Some(content)))
        })
        .await
    }

    /// Bundle, key and version of the rows of one row group.
    pub(crate) async fn versions(&self, index: usize, table: &RowTable) -> Result<Vec<(u32, Key, u32)>, ArchiveError> {
        let bytes = self.fetch(index).await?;
        let (selected, table) = (table.version_columns(), table.clone());
        // The bytes were compared; the values cannot be, without the others.
        self.decode(index, bytes, selected, move |columns| Ok((table.versions(columns)?, None))).await
    }

    /// The parts of values of one row group.
    pub(crate) async fn chunks(&self, index: usize, table: &ChunkTable) -> Result<Vec<Chunk>, ArchiveError> {
        let bytes = self.fetch(index).await?;
        self.chunks_of(index, bytes, table).await
    }

    async fn chunks_of(&self, index: usize, bytes: Bytes, table: &ChunkTable) -> Result<Vec<Chunk>, ArchiveError> {
        let table = table.clone();
        self.decode(index, bytes, Selected::All, move |columns| {
            let chunks = table.chunks(columns)?;
            let content = table.content(&chunks)?;
            Ok((chunks, Some(content)))
        })
        .await
    }

    /// Reads the whole object of rows once, every byte and every value.
    pub(crate) async fn verify_rows(&self, table: &RowTable) -> Result<(), ArchiveError> {
        let mut whole = self.begin_whole().await?;
        for index in 0..self.entry.groups.len() {
            let bytes = self.fetch(index).await?;
            whole.update(&bytes);
            self.rows_of(index, bytes, table).await?;
        }
        self.end_whole(whole)
    }

    /// Reads the whole object of parts once, every byte and every value.
    pub(crate) async fn verify_chunks(&self, table: &ChunkTable) -> Result<(), ArchiveError> {
        let mut whole = self.begin_whole().await?;
        for index in 0..self.entry.groups.len() {
            let bytes = self.fetch(index).await?;
            whole.update(&bytes);
            self.chunks_of(index, bytes, table).await?;
        }
        self.end_whole(whole)
    }

    async fn begin_whole(&self) -> Result<Hasher, ArchiveError> {
        let path = &self.entry.path;
        if self.store.size(path).await? != Some(self.entry.bytes) {
            return Err(ArchiveError::damaged(path, "it has another length than what was written"));
        }
        let mut whole = Hasher::default();
        whole.update(&self.store.get_range(path, 0..HEAD).await?);
        Ok(whole)
    }

    fn end_whole(&self, mut whole: Hasher) -> Result<(), ArchiveError> {
        whole.update(&self.tail);
        let same = whole.finish() == self.entry.sha256;
        if same { Ok(()) } else { Err(ArchiveError::damaged(&self.entry.path, "its checksum is not that of what was written")) }
    }

    fn group(&self, index: usize) -> Result<(&Group, u64), ArchiveError> {
        let before = self.entry.groups.iter().take(index).map(|group| group.bytes).sum::<u64>();
        let group = self.entry.groups.get(index).ok_or_else(|| ArchiveError::damaged(&self.entry.path, "it has too few row groups"))?;
        Ok((group, HEAD + before))
    }

    async fn fetch(&self, index: usize) -> Result<Bytes, ArchiveError> {
        let (group, start) = self.group(index)?;
        let bytes = self.store.get_range(&self.entry.path, start..start + group.bytes).await?;
        if sha256(&bytes) != group.sha256 {
            return Err(ArchiveError::damaged(&self.entry.path, format!("row group {index} is not what was written")));
        }
        Ok(bytes)
    }

    async fn decode<T, F>(&self, index: usize, bytes: Bytes, selected: Selected, translate: F) -> Result<T, ArchiveError>
    where
        T: Send + 'static,
        F: FnOnce(Vec<Column>) -> Result<(T, Option<Content>), FormatError> + Send + 'static,
    {
        let (group, start) = self.group(index)?;
        let file = self.file.clone();
        let decoded = tokio::task::spawn_blocking(move || translate(file.group(index, start, bytes, &selected)?)).await?;
        let (decoded, content) = decoded.map_err(|error| ArchiveError::undecodable(&self.entry.path, &error))?;
        let noted = Content { rows: group.rows, first: group.first, last: group.last, digest: group.digest };
        if content.is_some_and(|content| content != noted) {
            return Err(ArchiveError::damaged(&self.entry.path, format!("the values of row group {index} are not what was read")));
        }
        Ok(decoded)
    }
}
