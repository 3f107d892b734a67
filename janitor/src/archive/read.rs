//! Reading a batch back: the rows of some of its bundles, or which rows it holds.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Piece, Rows, Shape};

use super::format::{Chunk, ChunkTable, Members, RowTable};
use super::manifest::{ArchivedRow, Kept, Manifest};
use super::object::ObjectReader;
use super::{Archive, ArchiveError, BatchState};

impl Archive {
    /// The rows of the bundles at these positions of the manifest, parents first; a large value after all rows of its table. A row names
    /// its bundle by its position in the manifest.
    pub fn read(&self, manifest: &Manifest, bundles: &[usize]) -> Result<PieceReader, ArchiveError> {
        if manifest.kept == Kept::Keys {
            return Err(ArchiveError::NoRows { batch: manifest.head.id });
        }
        let wanted = bundles.iter().filter_map(|position| u32::try_from(*position).ok()).collect();
        let members = Arc::new(Members::new(manifest.head.root, &manifest.bundles));
        Ok(PieceReader {
            archive: self.clone(),
            manifest: manifest.clone(),
            wanted,
            members,
            table: 0,
            stage: Stage::Closed,
            ready: VecDeque::new(),
        })
    }

    /// Every row that the batch holds, by key and version: what is to be deleted, when a batch is taken up again.
    pub async fn expected(&self, manifest: &Manifest) -> Result<Vec<ArchivedRow>, ArchiveError> {
        if manifest.kept == Kept::Keys && manifest.state == BatchState::Done {
            return Err(ArchiveError::NoRows { batch: manifest.head.id });
        }
        let members = Arc::new(Members::new(manifest.head.root, &manifest.bundles));
        let mut rows = Vec::new();
        for (entry, position) in manifest.tables.iter().zip(0_u16..) {
            let table = RowTable::new(entry.shape.clone(), members.clone());
            let reader = ObjectReader::open(self.store.clone(), &entry.rows).await?;
            for group in reader.groups(|_| true) {
                let versions = reader.versions(group, &table).await?;
                rows.extend(versions.into_iter().map(|(bundle, key, xmin)| ArchivedRow { bundle, table: position, key, xmin }));
            }
        }
        Ok(rows)
    }

    /// Reads every object of the batch back from the store and compares it, bytes and values, with what was written.
    pub async fn verify(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let members = Arc::new(Members::new(manifest.head.root, &manifest.bundles));
        for entry in &manifest.tables {
            let rows = ObjectReader::open(self.store.clone(), &entry.rows).await?;
            rows.verify_rows(&RowTable::new(entry.shape.clone(), members.clone())).await?;
            if let Some(chunks) = &entry.chunks {
                let chunks = ObjectReader::open(self.store.clone(), chunks).await?;
                chunks.verify_chunks(&ChunkTable::new(members.clone())).await?;
            }
        }
        Ok(())
    }
}

/// Yields the rows of some bundles of a batch.
pub struct PieceReader {
    archive: Archive,
    manifest: Manifest,
    wanted: HashSet<u32>,
    members: Arc<Members>,
    /// Position of the table that is being read.
    table: usize,
    stage: Stage,
    ready: VecDeque<Piece>,
}

/// How far the table is.
enum Stage {
    /// Nothing of it is open.
    Closed,
    /// Row groups of rows that are left, in reverse.
    Rows(ObjectReader, Vec<usize>),
    /// Row groups of parts that are left, in reverse.
    Chunks(ObjectReader, Vec<usize>),
}

impl PieceReader {
    /// The bundles of the batch, to which rows refer by position.
    pub fn bundles(&self) -> &[Bundle] {
        &self.manifest.bundles
    }

    /// The next piece; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Piece>, ArchiveError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.table >= self.manifest.tables.len() {
                return Ok(None);
            }
            self.step().await?;
        }
    }

    async fn step(&mut self) -> Result<(), ArchiveError> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Closed => {
                let reader = ObjectReader::open(self.archive.store.clone(), &self.manifest.tables[self.table].rows).await?;
                let groups = self.wanted_groups(&reader);
                Stage::Rows(reader, groups)
            }
            Stage::Rows(reader, mut groups) => match groups.pop() {
                Some(group) => {
                    self.read_rows(&reader, group).await?;
                    Stage::Rows(reader, groups)
                }
                None => self.begin_chunks().await?,
            },
            Stage::Chunks(reader, mut groups) => match groups.pop() {
                Some(group) => {
                    self.read_chunks(&reader, group).await?;
                    Stage::Chunks(reader, groups)
                }
                None => self.next_table(),
            },
        };
        Ok(())
    }

    fn wanted_groups(&self, reader: &ObjectReader) -> Vec<usize> {
        let mut groups = reader.groups(|bundles| self.wanted.iter().any(|bundle| bundles.contains(bundle)));
        groups.reverse();
        groups
    }

    async fn read_rows(&mut self, reader: &ObjectReader, group: usize) -> Result<(), ArchiveError> {
        let shape = self.manifest.tables[self.table].shape.clone();
        let mut rows = reader.rows(group, &RowTable::new(shape.clone(), self.members.clone())).await?;
        rows.retain(|row| self.wanted.contains(&row.bundle));
        if !rows.is_empty() {
            self.ready.push_back(Piece::Rows(Rows { shape, rows }));
        }
        Ok(())
    }

    async fn begin_chunks(&mut self) -> Result<Stage, ArchiveError> {
        let Some(chunks) = &self.manifest.tables[self.table].chunks else { return Ok(self.next_table()) };
        let reader = ObjectReader::open(self.archive.store.clone(), chunks).await?;
        let groups = self.wanted_groups(&reader);
        Ok(Stage::Chunks(reader, groups))
    }

    async fn read_chunks(&mut self, reader: &ObjectReader, group: usize) -> Result<(), ArchiveError> {
        let entry = &self.manifest.tables[self.table];
        let chunks = reader.chunks(group, &ChunkTable::new(self.members.clone())).await?;
        let wanted = chunks.into_iter().filter(|chunk| self.wanted.contains(&chunk.bundle));
        let slices: Option<Vec<Piece>> = wanted.map(|chunk| to_slice(&entry.shape, chunk)).collect();
        let unknown = || ArchiveError::damaged(&entry.rows.path, "a part of a value belongs to no column");
        self.ready.extend(slices.ok_or_else(unknown)?);
        Ok(())
    }

    fn next_table(&mut self) -> Stage {
        self.table += 1;
        Stage::Closed
    }
}

fn to_slice(shape: &Arc<Shape>, chunk: Chunk) -> Option<Piece> {
    let column = shape.columns.iter().position(|column| column.name == chunk.column)?;
    Some(Piece::Slice { shape: shape.clone(), key: chunk.key, column, sequence: chunk.sequence, bytes: chunk.bytes })
}
