//! Sizes as people write them: `256KiB`, `8MiB`. A plain number is bytes. For `#[serde(with = "super::size")]`.

use std::fmt;

use bytesize::ByteSize;
use serde::Serializer;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// Writes the largest unit that needs no fraction.
pub(super) fn serialize<T: Copy + Into<u64>, S: Serializer>(size: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut size: u64 = (*size).into();
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size > 0
        && size.is_multiple_of(1024)
        && let Some(larger) = units.next()
    {
        size /= 1024;
        unit = larger;
    }
    serializer.collect_str(&format_args!("{size}{unit}"))
}

pub(super) fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let bytes = deserializer.deserialize_any(SizeVisitor)?;
    T::try_from(bytes).map_err(|_| D::Error::custom(format!("{} is too large here", ByteSize(bytes))))
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"256KiB\" or \"8MiB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        text.trim().parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        #[serde(with = "super")]
        size: u32,
    }

    fn read(text: &str) -> Result<u32, String> {
        toml::from_str::<Holder>(&format!("size = {text}")).map(|holder| holder.size).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn sizes_are_text_with_a_unit_or_bytes() {
        for (text, bytes) in
            [("\"256KiB\"", 262_144), ("\"8 MiB\"", 8_388_608), ("\"1kB\"", 1000), ("\"17\"", 17), ("17", 17), ("\"0\"", 0)]
        {
            assert_eq!(read(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["\"big\"", "-1", "true", "[1]"] {
            assert!(read(text).unwrap_err().contains("256KiB"), "{text}");
        }
        assert!(read("\"8GiB\"").unwrap_err().contains("too large"));
    }

    #[test]
    fn sizes_are_written_as_they_would_be_read() {
        for (size, text) in [(262_144, "256KiB"), (8_388_608, "8MiB"), (1000, "1000B"), (0, "0B"), (1025, "1025B")] {
            assert_eq!(serde_json::to_value(Holder { size }).unwrap()["size"], text);
            assert_eq!(read(&format!("\"{text}\"")), Ok(size));
        }
    }
}
