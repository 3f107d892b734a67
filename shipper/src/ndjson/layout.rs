//! What files are called. A closed segment says by its name which time it covers, so that search and retention need no other list.
//!
//! ```text
//! open/<stream>-<number>.ndjson.zst                                     being written
//! <yyyy>/<mm>/<dd>/<first>-<last>-<stream>-<number>.ndjson.zst          closed; the day is that of its newest record
//! <yyyy>/<mm>/<dd>/<first>-<last>-<stream>-<number>.index               what it holds, by frame
//! ```

use chrono::DateTime;
use dify_observe_core::dify::time::Micros;

/// The folder of what is being written.
pub(crate) const OPEN: &str = "open";

const SEGMENT: &str = ".ndjson.zst";
const INDEX: &str = ".index";
const TIME: &str = "%Y%m%dT%H%M%SZ";
const SECOND: i64 = 1_000_000;

/// Which segment: its number within its stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    /// `live`, or the name of a backfill. Letters, digits and `_`.
    pub(crate) stream: String,
    /// Counts up.
    pub(crate) number: u64,
}

impl Name {
    /// The path while it is being written.
    pub(crate) fn open_path(&self) -> String {
        format!("{OPEN}/{self}{SEGMENT}")
    }

    /// The name of a path that is being written.
    pub(crate) fn of_open(path: &str) -> Option<Name> {
        Name::parse(path.strip_prefix(OPEN)?.strip_prefix('/')?.strip_suffix(SEGMENT)?)
    }

    fn parse(text: &str) -> Option<Name> {
        let (stream, number) = text.rsplit_once('-')?;
        let name = Name { stream: stream.to_owned(), number: number.parse().ok()? };
        (is_stream(stream) && name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:010}", self.stream, self.number)
    }
}

/// Whether a stream can have this name.
pub(crate) fn is_stream(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// A closed segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Closed {
    /// Which one.
    pub(crate) name: Name,
    /// No record in it is older. Whole seconds.
    pub(crate) first: Micros,
    /// No record in it is younger. Whole seconds.
    pub(crate) last: Micros,
}

impl Closed {
    /// A segment with records of these times.
    pub(crate) fn new(name: Name, first: Micros, last: Micros) -> Closed {
        let last = last.0.div_euclid(SECOND) + i64::from(last.0.rem_euclid(SECOND) != 0);
        Closed { name, first: clamp(first.0.div_euclid(SECOND)), last: clamp(last) }
    }

    /// Its path.
    pub(crate) fn path(&self) -> String {
        self.stem() + SEGMENT
    }

    /// The path of its index.
    pub(crate) fn index_path(&self) -> String {
        self.stem() + INDEX
    }

    fn stem(&self) -> String {
        format!("{}/{}-{}-{}", format(self.last, "%Y/%m/%d"), format(self.first, TIME), format(self.last, TIME), self.name)
    }

    /// The segment that has this path, or whose index has it.
    pub(crate) fn of(path: &str) -> Option<Closed> {
        let stem = path.strip_suffix(SEGMENT).or_else(|| path.strip_suffix(INDEX))?;
        let mut parts = stem.rsplit('/').next()?.splitn(3, '-');
        let (first, last) = (parse(parts.next()?)?, parse(parts.next()?)?);
        let closed = Closed { name: Name::parse(parts.next()?)?, first, last };
        (closed.stem() == stem).then_some(closed)
    }

    /// Whether the path is that of a segment, not of an index.
    pub(crate) fn is_segment(path: &str) -> bool {
        path.ends_with(SEGMENT)
    }
}

/// Years of four digits: a name must be read again as it was written.
fn clamp(seconds: i64) -> Micros {
    Micros::from_secs(seconds.clamp(-62_135_596_800, 253_402_300_799))
}

fn format(time: Micros, format: &str) -> String {
    DateTime::from_timestamp_micros(time.0).map(|time| time.format(format).to_string()).unwrap_or_default()
}

fn parse(text: &str) -> Option<Micros> {
    let time = chrono::NaiveDateTime::parse_from_str(text, TIME).ok()?;
    Some(Micros(time.and_utc().timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_covers_its_records_and_is_read_as_it_was_written() {
        let name = Name { stream: "live".to_owned(), number: 42 };
        let closed = Closed::new(name.clone(), Micros(1_795_271_051_999_999), Micros(1_795_271_099_000_001));
        assert_eq!(closed.path(), "2026/11/21/20261121T142411Z-20261121T142500Z-live-0000000042.ndjson.zst");
        assert_eq!(Closed::of(&closed.path()), Some(closed.clone()));
        assert_eq!(Closed::of(&closed.index_path()), Some(closed.clone()));
        assert!(closed.first.0 <= 1_795_271_051_999_999 && closed.last.0 >= 1_795_271_099_000_001);
        assert_eq!(Name::of_open(&name.open_path()), Some(name));
    }

    #[test]
    fn times_before_1970_and_beyond_all_calendars_have_names() {
        for (first, last) in [(i64::MIN, i64::MAX), (-1, -1), (0, 0)] {
            let closed = Closed::new(Name { stream: "a".to_owned(), number: 1 }, Micros(first), Micros(last));
            assert_eq!(Closed::of(&closed.path()), Some(closed));
        }
    }

    #[test]
    fn other_files_are_not_ours() {
        for path in [
            "open/notes.txt",
            "open/live-1.ndjson.zst",
            "2026/11/21/notes.ndjson.zst",
            "2026/11/22/20261121T142411Z-20261121T142500Z-live-0000000042.ndjson.zst",
            "2026/11/21/20261121T142411Z-20261121T142500Z-live-0000000042.ndjson.zst.partial",
        ] {
            assert_eq!((Closed::of(path), Name::of_open(path)), (None, None), "{path}");
        }
    }
}
