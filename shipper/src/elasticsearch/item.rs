//! One document on its way into an index, and the body of a bulk request made of several.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::document::Kind;

/// One document and its home.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) index: String,
    pub(crate) id: String,
    pub(crate) revision: u64,
    pub(crate) source: Bytes,
}

#[derive(Serialize)]
struct Line<'a> {
    index: Action<'a>,
}

#[derive(Serialize)]
struct Action<'a> {
    _index: &'a str,
    _id: &'a str,
    /// The engine keeps the document with the largest one, whatever order they come in.
    version: u64,
    version_type: &'static str,
}

/// The body: one line that says where, one with the document.
pub(crate) fn body<'a>(items: impl Iterator<Item = &'a Item>) -> Bytes {
    let mut body = Vec::new();
    for item in items {
        let action =
            Action { _index: &item.index, _id: &item.id, version: item.revision.min(i64::MAX.unsigned_abs()), version_type: "external" };
        // Writing into memory cannot fail, and the line is a plain object.
        let _never = serde_json::to_writer(&mut body, &Line { index: action });
        body.push(b'\n');
        body.extend_from_slice(&item.source);
        body.push(b'\n');
    }
    Bytes::from(body)
}

/// Compressed, as quickly as that goes: it is made once, however often it is sent.
pub(crate) fn compressed(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing into memory cannot fail.
    let _never = encoder.write_all(body);
    encoder.finish().map_or_else(|_| Bytes::new(), Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_body_has_two_lines_for_each_document() {
        let item = |id: &str| Item {
            kind: Kind::Message,
            index: "i".to_owned(),
            id: id.to_owned(),
            revision: 7,
            source: Bytes::from_static(b"{\"a\":1}"),
        };
        let items = [item("1"), item("\"2")];
        let text = String::from_utf8(body(items.iter()).to_vec()).unwrap();
        let expected = concat!(
            "{\"index\":{\"_index\":\"i\",\"_id\":\"1\",\"version\":7,\"version_type\":\"external\"}}\n{\"a\":1}\n",
            "{\"index\":{\"_index\":\"i\",\"_id\":\"\\\"2\",\"version\":7,\"version_type\":\"external\"}}\n{\"a\":1}\n",
        );
        assert_eq!(text, expected);
        let mut back = String::new();
        flate2::read::GzDecoder::new(&compressed(text.as_bytes())[..]).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
    }
}
