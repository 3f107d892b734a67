//! Writing a batch: one object a table, then the manifest.

use std::collections::HashSet;
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Cell, Key, Piece, Row, Rows, Shape};

use super::format::{Chunk, ChunkTable, Members, RowTable, approximate_size};
use super::large::LargeValues;
use super::manifest::{BatchHead, Kept, Manifest, TableEntry};
use super::object::ObjectWriter;
use super::{Archive, ArchiveError, layout};

/// A batch that is being written.
pub struct BatchWriter {
    archive: Archive,
    head: BatchHead,
    bundles: Vec<Bundle>,
    members: Arc<Members>,
    tables: Vec<TableEntry>,
    /// Tables that are complete: rows of one cannot come later.
    closed: HashSet<String>,
    open: Option<OpenTable>,
}

/// The table whose rows are coming.
struct OpenTable {
    shape: Arc<Shape>,
    rows: ObjectWriter<RowTable>,
    chunks: Option<ObjectWriter<ChunkTable>>,
    large: LargeValues,
}

impl Archive {
    /// Begins a batch of these bundles, all of one kind, app and day. Nothing of it counts before [`BatchWriter::finish`].
    pub async fn begin(&self, head: BatchHead, bundles: &[Bundle]) -> Result<BatchWriter, ArchiveError> {
        // What a crash leaves behind is found by this.
        let begun = Manifest::new(head.clone(), self.kept, Vec::new(), Vec::new());
        self.store.put(&layout::begun(head.id), begun.to_bytes()?).await?;
        let members = Arc::new(Members::new(head.root, bundles));
        let bundles = bundles.to_vec();
        Ok(BatchWriter { archive: self.clone(), head, bundles, members, tables: Vec::new(), closed: HashSet::new(), open: None })
    }
}

impl BatchWriter {
    /// Adds rows, or a part of a large value. Tables come one after the other. Returns before the rows are encoded: that goes on beside
    /// the reading of the next ones.
    pub async fn write(&mut self, piece: Piece) -> Result<(), ArchiveError> {
        match piece {
            Piece::Rows(Rows { shape, rows }) => self.write_rows(&shape, rows).await,
            Piece::Slice { shape, key, column, sequence, bytes } => self.write_slice(&shape, key, column, sequence, bytes).await,
        }
    }

    /// Completes the batch. It counts as soon as this returns; it was not read back yet.
    pub async fn finish(mut self) -> Result<Manifest, ArchiveError> {
        self.close_table().await?;
        let manifest = Manifest::new(self.head, self.archive.kept, self.bundles, self.tables);
        self.archive.store.put(&layout::open(manifest.head.id), manifest.to_bytes()?).await?;
        self.archive.store.delete(&layout::begun(manifest.head.id)).await?;
        Ok(manifest)
    }

    /// Removes what was written of a batch that is not to be completed.
    pub async fn abandon(mut self) -> Result<(), ArchiveError> {
        if let Some(table) = self.open.take() {
            if let Some(chunks) = table.chunks {
                chunks.abort().await?;
            }
            table.rows.abort().await?;
        }
        for object in self.tables.iter().flat_map(TableEntry::objects) {
            self.archive.store.delete(&object.path).await?;
        }
        Ok(self.archive.store.delete(&layout::begun(self.head.id)).await?)
    }

    async fn write_rows(&mut self, shape: &Arc<Shape>, rows: Vec<Row>) -> Result<(), ArchiveError> {
        let kept = self.archive.kept;
        let table = self.table(shape).await?;
        for row in rows {
            let row = match kept {
                Kept::Rows => row,
                Kept::Keys => key_only(shape, row)?,
            };
            table.large.announce(&row);
            let size = approximate_size(&row);
            table.rows.push(row, size).await?;
        }
        Ok(())
    }

    async fn write_slice(
        &mut self,
        shape: &Arc<Shape>,
        key: Key,
        column: usize,
        sequence: u32,
        bytes: Vec<u8>,
    ) -> Result<(), ArchiveError> {
        if self.archive.kept == Kept::Keys {
            return Ok(());
        }
        let (archive, head, members) = (self.archive.clone(), self.head.clone(), self.members.clone());
        let table = self.table(shape).await?;
        let Some(chunk) = table.large.take(key, column, sequence, bytes)? else { return Ok(()) };
        let writer = match &mut table.chunks {
            Some(writer) => writer,
            none => {
                let path = layout::object(&format!("{}{}", shape.table, layout::CHUNKS), &head, 0);
                none.insert(ObjectWriter::begin(&*archive.store, path, ChunkTable::new(members), archive.level).await?)
            }
        };
        push_chunk(writer, chunk).await
    }

    /// The table, which is begun if it is new.
    async fn table(&mut self, shape: &Arc<Shape>) -> Result<&mut OpenTable, ArchiveError> {
        if self.open.as_ref().is_none_or(|open| open.shape != *shape) {
            self.close_table().await?;
            if !self.closed.insert(shape.table.clone()) {
                return Err(ArchiveError::rows(&shape.table, "they came in two parts"));
            }
            self.open = Some(self.begin_table(shape).await?);
        }
        self.open.as_mut().ok_or_else(|| ArchiveError::rows(&shape.table, "there is no table"))
    }

    async fn begin_table(&self, shape: &Arc<Shape>) -> Result<OpenTable, ArchiveError> {
        let stored = match self.archive.kept {
            Kept::Rows => shape.clone(),
            Kept::Keys => Arc::new(key_shape(shape)),
        };
        let path = layout::object(&shape.table, &self.head, 0);
        let table = RowTable::new(stored, self.members.clone());
        let rows = ObjectWriter::begin(&*self.archive.store, path, table, self.archive.level).await?;
        Ok(OpenTable { shape: shape.clone(), rows, chunks: None, large: LargeValues::new(shape.clone()) })
    }

    async fn close_table(&mut self) -> Result<(), ArchiveError> {
        let Some(OpenTable { shape, rows, chunks, large }) = self.open.take() else { return Ok(()) };
        large.finish()?;
        let rows = rows.finish().await?;
        let chunks = match chunks {
            Some(chunks) => Some(chunks.finish().await?),
            None => None,
        };
        let shape = if self.archive.kept == Kept::Keys { Arc::new(key_shape(&shape)) } else { shape };
        self.tables.push(TableEntry { shape, rows, chunks });
        Ok(())
    }
}

/// Adds a part of a value.
pub(crate) async fn push_chunk(writer: &mut ObjectWriter<ChunkTable>, chunk: Chunk) -> Result<(), ArchiveError> {
    let size = size_of::<Chunk>() + chunk.bytes.len();
    writer.push(chunk, size).await
}

/// The table as it is kept where no rows are: its key.
fn key_shape(shape: &Shape) -> Shape {
    let columns: Vec<_> = shape.key.iter().filter_map(|position| shape.columns.get(*position).cloned()).collect();
    let key = (0..columns.len()).collect();
    Shape { table: shape.table.clone(), columns, key }
}

fn key_only(shape: &Shape, mut row: Row) -> Result<Row, ArchiveError> {
    let cell = |position: &usize| row.cells.get_mut(*position).map(|cell| std::mem::replace(cell, Cell::Null));
    let cells: Option<Vec<Cell>> = shape.key.iter().map(cell).collect();
    row.cells = cells.ok_or_else(|| ArchiveError::rows(&shape.table, "a row without its key"))?;
    Ok(row)
}
