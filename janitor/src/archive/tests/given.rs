//! Random batches: tables of any shape, with values of every kind.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use dify_observe_core::dify::retention::{Bundle, Cell, Column, Key, Piece, Root, Row, Rows, Shape, Wire};
use dify_observe_core::dify::time::Micros;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use uuid::Uuid;

use super::super::{Archive, ArchiveError, BatchHead, Manifest};

const WIRES: [Wire; 9] =
    [Wire::Bool, Wire::Int32, Wire::Int64, Wire::Double, Wire::Timestamp, Wire::Uuid, Wire::Text, Wire::Bytes, Wire::Cast];

/// Odd texts that must come back as they were.
const TEXTS: [&str; 8] = ["", " ", "null", "{\"a\": NaN", "\\u0000\\ud800", "漢字 🦀\r\n\t", "'; DROP TABLE x; --", "\u{feff}PAR1"];

/// A batch as the database would yield it.
pub(super) struct Given {
    pub(super) head: BatchHead,
    pub(super) bundles: Vec<Bundle>,
    pub(super) pieces: Vec<Piece>,
}

/// What of a batch was read, comparable whatever pieces it came in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    rows: BTreeMap<String, Vec<Row>>,
    large: BTreeMap<(String, Key, usize), Vec<u8>>,
}

impl Given {
    pub(super) fn random(seed: u64) -> Given {
        Given::sized(seed, 1..=4, 0..=40)
    }

    pub(super) fn sized(seed: u64, tables: RangeInclusive<usize>, rows_per_bundle: RangeInclusive<usize>) -> Given {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let root = *[Root::Run, Root::Conversation].choose(&mut dice).unwrap();
        let head = head(&mut dice, root);
        let bundles: Vec<Bundle> = (0..dice.random_range(1..=6)).map(|_| bundle(&mut dice, &head)).collect();
        let tables = dice.random_range(tables);
        let pieces = (0..tables).flat_map(|table| table_pieces(&mut dice, table, bundles.len(), &rows_per_bundle)).collect();
        Given { head, bundles, pieces }
    }

    pub(super) async fn write(&self, archive: &Archive) -> Result<Manifest, ArchiveError> {
        let mut writer = archive.begin(self.head.clone(), &self.bundles).await?;
        for piece in &self.pieces {
            writer.write(piece.clone()).await?;
        }
        writer.finish().await
    }

    /// What the given bundles hold.
    pub(super) fn content(&self, bundles: &[Uuid]) -> Content {
        let names: Vec<Uuid> = self.bundles.iter().map(|bundle| bundle.id).collect();
        let mut content = Content::default();
        self.pieces.iter().for_each(|piece| content.add(piece.clone(), &names));
        content.only(bundles, &names)
    }

    pub(super) fn rows(&self) -> usize {
        self.pieces.iter().map(|piece| if let Piece::Rows(rows) = piece { rows.rows.len() } else { 0 }).sum()
    }
}

/// What the archive yields of these bundles of a batch.
pub(super) async fn read(archive: &Archive, manifest: &Manifest, positions: &[usize]) -> Result<Content, ArchiveError> {
    let names: Vec<Uuid> = manifest.bundles.iter().map(|bundle| bundle.id).collect();
    let mut reader = archive.read(manifest, positions)?;
    let mut content = Content::default();
    while let Some(piece) = reader.next().await? {
        content.add(piece, &names);
    }
    Ok(content)
}

impl Content {
    /// Positions of bundles differ between batches: rows are noted with the end of the bundle's id instead.
    fn add(&mut self, piece: Piece, bundles: &[Uuid]) {
        match piece {
            Piece::Rows(Rows { shape, rows }) => {
                let rows = rows.into_iter().map(|row| Row { bundle: short(bundles[row.bundle as usize]), ..row });
                self.rows.entry(shape.table.clone()).or_default().extend(rows);
            }
            Piece::Slice { shape, key, column, bytes, .. } => {
                self.large.entry((shape.table.clone(), key, column)).or_default().extend(bytes);
            }
        }
    }

    fn only(mut self, wanted: &[Uuid], all: &[Uuid]) -> Content {
        let wanted: Vec<u32> = all.iter().filter(|id| wanted.contains(id)).map(|id| short(*id)).collect();
        self.rows.values_mut().for_each(|rows| rows.retain(|row| wanted.contains(&row.bundle)));
        self.rows.retain(|_, rows| !rows.is_empty());
        let rows = &self.rows;
        self.large.retain(|(table, key, _), _| rows.get(table).is_some_and(|rows| rows.iter().any(|row| row.key == *key)));
        self
    }
}

fn short(id: Uuid) -> u32 {
    id.as_u128() as u32
}

fn head(dice: &mut ChaCha8Rng, root: Root) -> BatchHead {
    BatchHead {
        id: uuid(dice),
        tenant_id: uuid(dice),
        app_id: uuid(dice),
        day: dice.random_range(-40_000..40_000),
        root,
        policy: "default 30days".to_owned(),
        written_at: Micros::now(),
        alembic: Some("abc".to_owned()),
        database: "dify on 7000000000000000000".to_owned(),
    }
}

fn bundle(dice: &mut ChaCha8Rng, head: &BatchHead) -> Bundle {
    let ended_at = Micros(i64::from(head.day) * 86_400_000_000);
    Bundle {
        root: head.root,
        id: uuid(dice),
        tenant_id: head.tenant_id,
        app_id: head.app_id,
        status: Some("succeeded".to_owned()),
        ended_at,
        newest: ended_at,
        runs: Vec::new(),
        messages: Vec::new(),
    }
}

fn table_pieces(dice: &mut ChaCha8Rng, table: usize, bundles: usize, rows_per_bundle: &RangeInclusive<usize>) -> Vec<Piece> {
    let shape = Arc::new(shape(dice, table));
    let mut pieces = Vec::new();
    let mut rows = Vec::new();
    let mut slices = Vec::new();
    for bundle in 0..bundles {
        for _ in 0..dice.random_range(rows_per_bundle.clone()) {
            let row = row(dice, &shape, bundle as u32);
            slices.extend(slices_of(dice, &shape, &row));
            rows.push(row);
            if dice.random_ratio(1, 20) {
                pieces.push(Piece::Rows(Rows { shape: shape.clone(), rows: std::mem::take(&mut rows) }));
                pieces.append(&mut slices);
            }
        }
    }
    if !rows.is_empty() {
        pieces.push(Piece::Rows(Rows { shape, rows }));
    }
    pieces.append(&mut slices);
    pieces
}

fn shape(dice: &mut ChaCha8Rng, table: usize) -> Shape {
    let mut columns: Vec<Column> =
        (0..dice.random_range(0..14)).map(|number| column(*WIRES.choose(dice).unwrap(), format!("c{number}"))).collect();
    let mut key = vec![dice.random_range(0..=columns.len())];
    columns.insert(key[0], column(Wire::Uuid, "id".to_owned()));
    if dice.random_bool(0.3) {
        key.push(columns.len());
        columns.push(column(Wire::Uuid, "conversation_id".to_owned()));
    }
    Shape { table: format!("table_{table}"), columns, key }
}

fn column(wire: Wire, name: String) -> Column {
    let data_type = match wire {
        Wire::Bool => "boolean",
        Wire::Int32 => "integer",
        Wire::Int64 => "bigint",
        Wire::Double => "double precision",
        Wire::Timestamp => "timestamp without time zone",
        Wire::Uuid => "uuid",
        Wire::Text => "text",
        Wire::Bytes => "bytea",
        Wire::Cast => "numeric(10,7)",
    };
    Column { name, data_type: data_type.to_owned(), wire }
}

fn row(dice: &mut ChaCha8Rng, shape: &Shape, bundle: u32) -> Row {
    let id = uuid(dice);
    let second = (shape.key.len() > 1).then(|| uuid(dice));
    let key = Key { id, second };
    let cell = |(position, column): (usize, &Column)| match shape.key.iter().position(|part| *part == position) {
        Some(0) => Cell::Uuid(id),
        Some(_) => Cell::Uuid(second.unwrap()),
        None => cell(dice, column.wire),
    };
    let cells = shape.columns.iter().enumerate().map(cell).collect();
    Row { bundle, key, xmin: dice.random(), cells }
}

fn cell(dice: &mut ChaCha8Rng, wire: Wire) -> Cell {
    if dice.random_bool(0.2) {
        return Cell::Null;
    }
    match wire {
        Wire::Bool => Cell::Bool(dice.random()),
        Wire::Int32 => Cell::Int(i64::from(*[i32::MIN, -1, 0, dice.random(), i32::MAX].choose(dice).unwrap())),
        Wire::Int64 => Cell::Int(*[i64::MIN, -1, 0, dice.random(), i64::MAX].choose(dice).unwrap()),
        Wire::Double => Cell::Double(double(dice)),
        Wire::Timestamp => Cell::Timestamp(*[i64::MIN, -1, 0, dice.random(), i64::MAX].choose(dice).unwrap()),
        Wire::Uuid => Cell::Uuid(uuid(dice)),
        Wire::Text | Wire::Bytes | Wire::Cast if dice.random_ratio(1, 60) => Cell::Large(dice.random_range(1..3000)),
        Wire::Text | Wire::Cast => Cell::Bytes(text(dice).into_bytes()),
        Wire::Bytes => Cell::Bytes((0..dice.random_range(0..200)).map(|_| dice.random()).collect()),
    }
}

fn double(dice: &mut ChaCha8Rng) -> u64 {
    let odd = [f64::NAN.to_bits(), 0x7ff8_dead_beef_0001, f64::INFINITY.to_bits(), (-0.0_f64).to_bits(), 1.5_f64.to_bits(), dice.random()];
    *odd.choose(dice).unwrap()
}

fn text(dice: &mut ChaCha8Rng) -> String {
    TEXTS.choose(dice).unwrap().repeat(dice.random_range(1..20))
}

fn slices_of(dice: &mut ChaCha8Rng, shape: &Arc<Shape>, row: &Row) -> Vec<Piece> {
    let mut slices = Vec::new();
    for (column, cell) in row.cells.iter().enumerate() {
        let Cell::Large(length) = cell else { continue };
        let length = *length as usize;
        let mut bytes = "aé漢🦀".repeat(length).into_bytes();
        bytes.truncate(length);
        if shape.columns[column].wire == Wire::Bytes {
            bytes.iter_mut().for_each(|byte| *byte = dice.random());
        }
        let size = dice.random_range(1..=length);
        slices.extend(bytes.chunks(size).zip(0..).map(|(part, sequence)| Piece::Slice {
            shape: shape.clone(),
            key: row.key,
            column,
            sequence,
            bytes: part.to_vec(),
        }));
    }
    slices
}

pub(super) fn uuid(dice: &mut ChaCha8Rng) -> Uuid {
    Uuid::from_u128(dice.random())
}
