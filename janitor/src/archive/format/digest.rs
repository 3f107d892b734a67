//! What rows are compared by: a hash of their values, whatever they are stored as.

use dify_observe_core::dify::retention::{Cell, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        // One spelling, and nothing that is no digit.
        let digest = Digest(bytes);
        if digest.to_string() == text { Ok(digest) } else { Err("a SHA-256 has 64 hexadecimal digits") }
    }
}

/// The digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// A digest that grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    fn length(&mut self, length: usize) {
        self.0.update((length as u64).to_le_bytes());
    }

    /// Adds a row that belongs to the bundle. Every value says what it is and how long, so that no two rows look alike.
    pub(crate) fn row(&mut self, bundle: Uuid, row: &Row) {
        self.0.update(bundle.as_bytes());
        self.0.update(row.key.id.as_bytes());
        if let Some(second) = row.key.second {
            self.0.update(second.as_bytes());
        }
        self.0.update(row.xmin.to_le_bytes());
        self.length(row.cells.len());
        row.cells.iter().for_each(|cell| self.cell(cell));
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Null => self.0.update([0]),
            Cell::Bool(value) => self.0.update([1, u8::from(*value)]),
            Cell::Int(value) => self.tagged(2, &value.to_le_bytes()),
            Cell::Double(bits) => self.tagged(3, &bits.to_le_bytes()),
            Cell::Timestamp(micros) => self.tagged(4, &micros.to_le_bytes()),
            Cell::Uuid(id) => self.tagged(5, id.as_bytes()),
            Cell::Bytes(bytes) => {
                self.tagged(6, &(bytes.len() as u64).to_le_bytes());
                self.0.update(bytes);
            }
            Cell::Large(length) => self.tagged(7, &length.to_le_bytes()),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update([tag]);
        self.0.update(bytes);
    }
}
