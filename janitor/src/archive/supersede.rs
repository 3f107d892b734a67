//! Taking bundles out of a batch whose rows are not deleted after all, so that the archive holds each row once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Row};
use uuid::Uuid;

use super::format::{ChunkTable, Members, RowTable, approximate_size};
use super::manifest::{Manifest, ObjectEntry, TableEntry};
use super::object::{ObjectReader, ObjectWriter};
use super::write::push_chunk;
use super::{Archive, ArchiveError, layout};

impl Archive {
    /// Rewrites a batch that is not done without these bundles. The old objects go when the new ones were read back; a batch of which
    /// nothing is left goes as a whole.
    pub async fn supersede(&self, manifest: &mut Manifest, gone: &HashSet<Uuid>) -> Result<(), ArchiveError> {
        if !manifest.bundles.iter().any(|bundle| gone.contains(&bundle.id)) {
            return Ok(());
        }
        let rewrite = Rewrite::new(manifest, gone);
        // Announced first, so that whatever a crash leaves of the new objects is known.
        manifest.revision += 1;
        let announced: Vec<String> = manifest.tables.iter().flat_map(|table| new_names(manifest, table)).collect();
        manifest.garbage.extend(announced);
        self.save_open(manifest).await?;

        let mut new = manifest.clone();
        new.bundles = rewrite.left.clone();
        new.superseded.extend(manifest.bundles.iter().map(|bundle| bundle.id).filter(|id| gone.contains(id)));
        new.tables = self.rewrite_tables(manifest, &rewrite).await?;
        self.verify(&new).await?;

        new.garbage.extend(manifest.objects().map(|object| object.path.clone()));
        let used: HashSet<String> = new.objects().map(|object| object.path.clone()).collect();
        new.garbage.retain(|path| !used.contains(path));
        self.save_open(&new).await?;
        self.remove_garbage(&new).await?;
        *manifest = new;
        if manifest.bundles.is_empty() {
            self.store.delete(&layout::open(manifest.head.id)).await?;
        }
        Ok(())
    }

    async fn rewrite_tables(&self, manifest: &Manifest, rewrite: &Rewrite) -> Result<Vec<TableEntry>, ArchiveError> {
        let mut tables = Vec::new();
        for table in &manifest.tables {
            let Some(rows) = self.rewrite_rows(manifest, table, rewrite).await? else { continue };
            let chunks = match &table.chunks {
                Some(chunks) => self.rewrite_chunks(manifest, table, chunks, rewrite).await?,
                None => None,
            };
            tables.push(TableEntry { shape: table.shape.clone(), rows, chunks });
        }
        Ok(tables)
    }

    /// `None` if no row is left.
    async fn rewrite_rows(&self, manifest: &Manifest, table: &TableEntry, rewrite: &Rewrite) -> Result<Option<ObjectEntry>, ArchiveError> {
        let reader = ObjectReader::open(self.store.clone(), &table.rows).await?;
        let old = RowTable::new(table.shape.clone(), rewrite.old.clone());
        let mut writer = None;
        for group in reader.groups(|_| true) {
            for row in reader.rows(group, &old).await? {
                let Some(bundle) = rewrite.position(row.bundle) else { continue };
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => {
                        let path = layout::object(&table.shape.table, &manifest.head, manifest.revision);
                        let new = RowTable::new(table.shape.clone(), rewrite.new.clone());
                        none.insert(ObjectWriter::begin(&*self.store, path, new, self.level).await?)
                    }
                };
                let row = Row { bundle, ..row };
                let size = approximate_size(&row);
                writer.push(row, size).await?;
            }
        }
        match writer {
            Some(writer) => writer.finish().await.map(Some),
            None => Ok(None),
        }
    }

    async fn rewrite_chunks(
        &self,
        manifest: &Manifest,
        table: &TableEntry,
        chunks: &ObjectEntry,
        rewrite: &Rewrite,
    ) -> Result<Option<ObjectEntry>, ArchiveError> {
        let reader = ObjectReader::open(self.store.clone(), chunks).await?;
        let old = ChunkTable::new(rewrite.old.clone());
        let mut writer = None;
        for group in reader.groups(|_| true) {
            for mut chunk in reader.chunks(group, &old).await? {
                let Some(bundle) = rewrite.position(chunk.bundle) else { continue };
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => {
                        let path = layout::object(&format!("{}{}", table.shape.table, layout::CHUNKS), &manifest.head, manifest.revision);
                        none.insert(ObjectWriter::begin(&*self.store, path, ChunkTable::new(rewrite.new.clone()), self.level).await?)
                    }
                };
                chunk.bundle = bundle;
                push_chunk(writer, chunk).await?;
            }
        }
        match writer {
            Some(writer) => writer.finish().await.map(Some),
            None => Ok(None),
        }
    }
}

/// The names that the objects of a table will have.
fn new_names(manifest: &Manifest, table: &TableEntry) -> Vec<String> {
    let name = |table: &str| layout::object(table, &manifest.head, manifest.revision);
    let rows = name(&table.shape.table);
    let chunks = table.chunks.as_ref().map(|_| name(&format!("{}{}", table.shape.table, layout::CHUNKS)));
    std::iter::once(rows).chain(chunks).collect()
}

/// Which bundles are left, and where.
struct Rewrite {
    left: Vec<Bundle>,
    positions: HashMap<u32, u32>,
    old: Arc<Members>,
    new: Arc<Members>,
}

impl Rewrite {
    fn new(manifest: &Manifest, gone: &HashSet<Uuid>) -> Rewrite {
        let kept = manifest.bundles.iter().zip(0..).filter(|(bundle, _)| !gone.contains(&bundle.id));
        let (left, old_positions): (Vec<Bundle>, Vec<u32>) = kept.map(|(bundle, position)| (bundle.clone(), position)).unzip();
        let root = manifest.head.root;
        Rewrite {
            positions: old_positions.into_iter().zip(0..).collect(),
            old: Arc::new(Members::new(root, &manifest.bundles)),
            new: Arc::new(Members::new(root, &left)),
            left,
        }
    }

    /// The new position of a bundle; `None` for one that goes.
    fn position(&self, old: u32) -> Option<u32> {
        self.positions.get(&old).copied()
    }
}
