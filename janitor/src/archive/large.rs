//! Values that come in parts: which are expected, and whether all of them came.

use std::collections::HashMap;
use std::sync::Arc;

use dify_observe_core::dify::retention::{Cell, Key, Row, Shape, Wire};

use super::ArchiveError;
use super::format::Chunk;

/// Follows the large values of one table from the rows that announce them to their last parts.
#[derive(Debug)]
pub(crate) struct LargeValues {
    shape: Arc<Shape>,
    expected: HashMap<(Key, usize), Announced>,
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Announced {
    bundle: u32,
    length: u64,
}

/// The value whose parts are coming.
#[derive(Debug)]
struct Current {
    key: Key,
    column: usize,
    announced: Announced,
    received: u64,
    /// The next part that must come.
    next: u32,
    /// The next part that is archived.
    sequence: u32,
    /// The beginning of a character whose end is in the next part.
    carry: Vec<u8>,
}

impl LargeValues {
    pub(crate) fn new(shape: Arc<Shape>) -> LargeValues {
        LargeValues { shape, expected: HashMap::new(), current: None }
    }

    /// Notes the large values that a row announces.
    pub(crate) fn announce(&mut self, row: &Row) {
        for (column, cell) in row.cells.iter().enumerate() {
            if let Cell::Large(length) = cell {
                self.expected.insert((row.key, column), Announced { bundle: row.bundle, length: *length });
            }
        }
    }

    /// Takes the next part of a value. Text is cut anew, between two characters, so that other tools can put it together.
    pub(crate) fn take(&mut self, key: Key, column: usize, sequence: u32, bytes: Vec<u8>) -> Result<Option<Chunk>, ArchiveError> {
        let mut current = self.current_of(key, column)?;
        if sequence != current.next {
            return Err(self.wrong(column, format!("part {sequence} of a value came in place of part {}", current.next)));
        }
        current.next += 1;
        current.received += bytes.len() as u64;
        if current.received > current.announced.length {
            return Err(self.wrong(column, "the parts of a value are longer than it"));
        }
        let complete = current.received == current.announced.length;
        let mut whole = match std::mem::take(&mut current.carry) {
            carry if carry.is_empty() => bytes,
            carry => [carry, bytes].concat(),
        };
        let text = self.is_text(column) && cut(&mut whole, &mut current.carry, complete);
        let chunk = (!whole.is_empty()).then(|| {
            let column = self.shape.columns[column].name.clone();
            let chunk = Chunk { bundle: current.announced.bundle, key, column, sequence: current.sequence, bytes: whole, text };
            current.sequence += 1;
            chunk
        });
        self.current = (!complete).then_some(current);
        Ok(chunk)
    }

    /// Fails if a part is missing.
    pub(crate) fn finish(&self) -> Result<(), ArchiveError> {
        match self.current.as_ref().map(|current| current.column).or_else(|| self.expected.keys().next().map(|(_, column)| *column)) {
            Some(column) => Err(self.wrong(column, "the parts of a value did not all come")),
            None => Ok(()),
        }
    }

    fn current_of(&mut self, key: Key, column: usize) -> Result<Current, ArchiveError> {
        match self.current.take() {
            Some(current) if (current.key, current.column) == (key, column) => Ok(current),
            Some(current) => Err(self.wrong(current.column, "the parts of a value did not all come")),
            None => {
                let announced = self.expected.remove(&(key, column));
                let announced = announced.ok_or_else(|| self.wrong(column, "a part of a value that no row announced"))?;
                Ok(Current { key, column, announced, received: 0, next: 0, sequence: 0, carry: Vec::new() })
            }
        }
    }

    fn is_text(&self, column: usize) -> bool {
        self.shape.columns.get(column).is_some_and(|column| column.wire != Wire::Bytes)
    }

    fn wrong(&self, column: usize, what: impl std::fmt::Display) -> ArchiveError {
        let column = self.shape.columns.get(column).map_or("a column that is not there", |column| column.name.as_str());
        ArchiveError::rows(&self.shape.table, format!("{column}: {what}"))
    }
}

/// Moves the beginning of a character from the end of `bytes` to `carry`. `false` if the bytes are no text: they are stored as they are.
fn cut(bytes: &mut Vec<u8>, carry: &mut Vec<u8>, complete: bool) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) if error.error_len().is_none() && !complete => {
            *carry = bytes.split_off(error.valid_up_to());
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use dify_observe_core::dify::retention::Column;
    use uuid::Uuid;

    use super::*;

    fn values(length: u64) -> (LargeValues, Key) {
        let column = |name: &str, wire| Column { name: name.to_owned(), data_type: "text".to_owned(), wire };
        let columns = vec![column("id", Wire::Uuid), column("outputs", Wire::Text)];
        let mut values = LargeValues::new(Arc::new(Shape { table: "messages".to_owned(), columns, key: vec![0] }));
        let key = Key { id: Uuid::from_u128(1), second: None };
        values.announce(&Row { bundle: 0, key, xmin: 1, cells: vec![Cell::Uuid(key.id), Cell::Large(length)] });
        (values, key)
    }

    /// Takes parts of `size` bytes and returns what is archived.
    fn parts(text: &[u8], size: usize) -> Vec<Chunk> {
        let (mut values, key) = values(text.len() as u64);
        let taken = text.chunks(size).zip(0..).filter_map(|(part, sequence)| values.take(key, 1, sequence, part.to_vec()).unwrap());
        let taken: Vec<Chunk> = taken.collect();
        values.finish().unwrap();
        taken
    }

    #[test]
    fn text_is_cut_between_characters() {
        let text = "aé漢字🦀".repeat(7);
        for size in 1..text.len() {
            let chunks = parts(text.as_bytes(), size);
            assert!(chunks.iter().all(|chunk| chunk.text && std::str::from_utf8(&chunk.bytes).is_ok()), "parts of {size} bytes");
            assert_eq!(chunks.iter().map(|chunk| chunk.sequence).collect::<Vec<_>>(), (0..chunks.len() as u32).collect::<Vec<_>>());
            assert_eq!(chunks.concat_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_text_is_kept_as_it_is() {
        let bytes = [b'a', 0xff, 0xe6, b'b', 0xe6];
        for size in 1..=5 {
            assert_eq!(parts(&bytes, size).concat_bytes(), bytes);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let refused = |take: &dyn Fn(&mut LargeValues, Key) -> Result<(), ArchiveError>| {
            let (mut values, key) = values(4);
            take(&mut values, key).and_then(|()| values.finish()).unwrap_err().to_string()
        };
        assert!(refused(&|_, _| Ok(())).contains("did not all come"));
        assert!(refused(&|values, key| values.take(key, 1, 0, vec![0; 3]).map(drop)).contains("did not all come"));
        assert!(refused(&|values, key| values.take(key, 1, 1, vec![0; 4]).map(drop)).contains("in place of part 0"));
        assert!(refused(&|values, key| values.take(key, 1, 0, vec![0; 5]).map(drop)).contains("longer"));
        assert!(refused(&|values, key| values.take(key, 0, 0, vec![0; 4]).map(drop)).contains("no row announced"));
        assert!(refused(&|values, key| values.take(key, 9, 0, vec![0; 4]).map(drop)).contains("not there"));
    }

    trait Concat {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl Concat for Vec<Chunk> {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|chunk| chunk.bytes.clone()).collect()
        }
    }
}
