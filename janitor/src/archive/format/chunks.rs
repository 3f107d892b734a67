//! The side table for values that are too large to hold: their parts, in order.

use std::sync::Arc;

use dify_observe_core::dify::retention::Key;
use parquet::data_type::ByteArray;

use super::columns::{Cursor, Value};
use super::rows::{to_uuid, uuid_text};
use super::schema::{Field, Kind};
use super::{Column, Content, FormatError, Hasher, Members, Table};

/// One part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Position of the bundle.
    pub(crate) bundle: u32,
    /// The row.
    pub(crate) key: Key,
    /// The column.
    pub(crate) column: String,
    /// 0, 1, 2 …
    pub(crate) sequence: u32,
    /// The bytes of this part.
    pub(crate) bytes: Vec<u8>,
    /// Whether the bytes are text, cut between two characters.
    pub(crate) text: bool,
}

/// Translates the side table of one table of one batch.
#[derive(Clone, Debug)]
pub(crate) struct ChunkTable {
    members: Arc<Members>,
}

impl Table for ChunkTable {
    type Record = Chunk;

    fn fields(&self) -> Vec<Field> {
        vec![
            Field::new("_bundle_id", Kind::Text),
            Field::new("_root", Kind::Text),
            Field::new("id", Kind::Text),
            Field::new("second_id", Kind::Text),
            Field::new("column", Kind::Text),
            Field::new("sequence", Kind::Int32),
            Field::new("text", Kind::Text).unique().content(),
            Field::new("bytes", Kind::Blob).unique().content(),
        ]
    }

    fn columns(&self, chunks: Vec<Chunk>) -> Result<(Vec<Column>, Content), FormatError> {
        let content = self.content(&chunks)?;
        let bundles =
            chunks.iter().map(|chunk| Ok(Some(uuid_text(self.members.id(chunk.bundle)?)))).collect::<Result<Vec<_>, FormatError>>()?;
        let sequences = chunks.iter().map(|chunk| i32::try_from(chunk.sequence)).collect::<Result<Vec<_>, _>>();
        let mut columns = vec![
            Column::bytes(bundles.into_iter()),
            Column::bytes(chunks.iter().map(|_| Some(ByteArray::from(self.members.root())))),
            Column::bytes(chunks.iter().map(|chunk| Some(uuid_text(chunk.key.id)))),
            Column::bytes(chunks.iter().map(|chunk| chunk.key.second.map(uuid_text))),
            Column::bytes(chunks.iter().map(|chunk| Some(ByteArray::from(chunk.column.as_str())))),
            Column::int32(sequences.map_err(|_| FormatError::content("too many parts of a value"))?),
        ];
        let (text, bytes): (Vec<_>, Vec<_>) = chunks
            .into_iter()
            .map(|chunk| {
                let bytes = Some(ByteArray::from(chunk.bytes));
                if chunk.text { (bytes, None) } else { (None, bytes) }
            })
            .unzip();
        columns.extend([Column::bytes(text.into_iter()), Column::bytes(bytes.into_iter())]);
        Ok((columns, content))
    }
}

impl ChunkTable {
    pub(crate) fn new(members: Arc<Members>) -> ChunkTable {
        ChunkTable { members }
    }

    /// What is noted of these parts.
    pub(crate) fn content(&self, chunks: &[Chunk]) -> Result<Content, FormatError> {
        let mut hasher = Hasher::default();
        for chunk in chunks {
            hasher.update(self.members.id(chunk.bundle)?.as_bytes());
            hasher.update(chunk.key.id.as_bytes());
            if let Some(second) = chunk.key.second {
                hasher.update(second.as_bytes());
            }
            hasher.update(chunk.column.as_bytes());
            hasher.update(&chunk.sequence.to_le_bytes());
            hasher.update(&(chunk.bytes.len() as u64).to_le_bytes());
            hasher.update(&chunk.bytes);
        }
        let bundles = || chunks.iter().map(|chunk| chunk.bundle);
        Ok(Content {
            rows: u32::try_from(chunks.len()).map_err(|_| FormatError::content("too many parts at once"))?,
            first: bundles().min().unwrap_or_default(),
            last: bundles().max().unwrap_or_default(),
            digest: hasher.finish(),
        })
    }

    /// The parts again.
    pub(crate) fn chunks(&self, columns: Vec<Column>) -> Result<Vec<Chunk>, FormatError> {
        let count = columns.first().map_or(0, |column| column.levels.len());
        let mut cursors: Vec<Cursor> = columns.into_iter().map(Column::into_cursor).collect();
        (0..count).map(|_| self.chunk(&mut cursors)).collect()
    }

    fn chunk(&self, cursors: &mut [Cursor]) -> Result<Chunk, FormatError> {
        let wrong = || FormatError::content("a part of a value that cannot be read");
        let [bundle, root, id, second, column, sequence, text, bytes] = cursors else { return Err(wrong()) };
        root.next();
        let second = second.next().map(|value| to_uuid(Some(value))).transpose()?;
        let (bytes, text) = match (text.next(), bytes.next()) {
            (Some(Value::Bytes(text)), None) => (text, true),
            (None, Some(Value::Bytes(bytes))) => (bytes, false),
            _ => return Err(wrong()),
        };
        let Some(Value::Bytes(column)) = column.next() else { return Err(wrong()) };
        let Some(Value::Int32(sequence)) = sequence.next() else { return Err(wrong()) };
        Ok(Chunk {
            bundle: self.members.position(to_uuid(bundle.next())?)?,
            key: Key { id: to_uuid(id.next())?, second },
            column: String::from_utf8(column.data().to_vec()).map_err(|_| wrong())?,
            sequence: u32::try_from(sequence).map_err(|_| wrong())?,
            bytes: bytes.data().to_vec(),
            text,
        })
    }
}
