//! One line: a document with what readers need to tell its states apart in front.

use dify_observe_core::dify::time::Micros;
use serde::{Deserialize, Serialize};

use crate::document::{Document, Kind};

/// What stands in front of every line. Names begin with `_`, which no field of a document does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The document's id. Lines of one kind and id are states of one record.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    /// Its kind.
    #[serde(rename = "_kind", with = "kind")]
    pub(crate) kind: Kind,
    /// Which state it is: the largest counts.
    #[serde(rename = "_version")]
    pub(crate) version: u64,
    /// The record's own time, in microseconds since 1970.
    #[serde(rename = "_time")]
    pub(crate) time: Micros,
}

mod kind {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::document::Kind;

    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let name = String::deserialize(deserializer)?;
        Kind::parse(&name).ok_or_else(|| D::Error::custom("a kind that this version does not know"))
    }
}

/// Appends the line of a document.
pub(crate) fn write(document: &Document, out: &mut Vec<u8>) {
    let head = Head { id: document.id.clone(), kind: document.kind, version: document.revision, time: document.time };
    let start = out.len();
    // Text and numbers always have a JSON form, and memory takes all that is written.
    if serde_json::to_writer(&mut *out, &head).is_err() {
        out.truncate(start);
        return;
    }
    // The documents are one object each: the brace that closes the head gives way to the fields.
    let fields = document.source.strip_prefix(b"{").unwrap_or(&document.source);
    if fields != b"}" {
        out.pop();
        out.push(b',');
        out.extend_from_slice(fields);
    }
    out.push(b'\n');
}

/// The head of a line; `None` if it is none of ours.
pub(crate) fn head(line: &[u8]) -> Option<Head> {
    serde_json::from_slice(line).ok()
}

/// The lines of a frame, without their ends.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ndjson::tests::document;

    #[test]
    fn a_line_is_the_document_with_its_head() {
        let mut out = Vec::new();
        write(&document(Kind::Message, "a \"b\"", 7, 1_000, &json!({"dify": {"status": "normal"}})), &mut out);
        write(&document(Kind::Feedback, "c", u64::MAX, 2, &json!({})), &mut out);
        let lines: Vec<serde_json::Value> = lines(&out).map(|line| serde_json::from_slice(line).unwrap()).collect();
        let first = json!({"_id": "a \"b\"", "_kind": "message", "_version": 7, "_time": 1000, "dify": {"status": "normal"}});
        assert_eq!(lines, [first, json!({"_id": "c", "_kind": "feedback", "_version": u64::MAX, "_time": 2})]);
        assert!(out.starts_with(b"{\"_id\":"));
        assert_eq!(super::lines(&out).map(|line| head(line).unwrap().version).collect::<Vec<_>>(), [7, u64::MAX]);
        assert_eq!(head(b"{\"_id\":\"a\"}"), None);
    }
}
