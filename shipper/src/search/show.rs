//! What a search answers.

use std::io::{self, Write};

use dify_observe_core::output::{table, width};
use serde_json::Value;

use super::scan::{Effort, Hit};

/// A text in the table is cut here, in columns of a terminal.
const TEXT_WIDTH: usize = 80;

/// Where the text of a document is, the first that it has.
const TEXTS: [&str; 8] = [
    "/error/message",
    "/dify/query",
    "/dify/feedback/content",
    "/dify/retrieval/query",
    "/dify/node/title",
    "/dify/answer",
    "/dify/tool/name",
    "/dify/feedback/rating",
];

/// One line each, for people.
pub(crate) fn as_table(out: &mut impl Write, hits: &[Hit]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = hits.iter().map(row).collect();
    table(out, &["time", "kind", "status", "app", "text", "id"], &rows)
}

fn row(hit: &Hit) -> Vec<String> {
    let document: Value = serde_json::from_slice(&hit.line).unwrap_or_default();
    let text = |path: &str| document.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let said = TEXTS.iter().map(|path| text(path)).find(|text| !text.is_empty()).unwrap_or_default();
    vec![
        hit.head.time.to_string(),
        hit.head.kind.as_str().to_owned(),
        printable(&text("/dify/status")),
        printable(&cut(&text("/dify/app/name"), 24)),
        printable(&cut(&said, TEXT_WIDTH)),
        hit.head.id.clone(),
    ]
}

fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    for character in text.chars() {
        if width(&cut) + 2 > columns {
            break;
        }
        cut.push(character);
    }
    cut + "…"
}

/// Without line breaks, and without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// What it took, in one sentence.
pub(crate) fn effort(effort: &Effort, found: usize, is_more: bool) -> String {
    let Effort { segments, indexes_read, frames, frames_read, bytes_read } = effort;
    let more = if is_more { ", and there may be more: see --limit" } else { "" };
    format!(
        "{found} found{more}; read {frames_read} frames ({}), looked into {indexes_read} of {segments} segments with {frames} frames",
        bytesize::ByteSize(*bytes_read).display().iec()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndjson::line;

    #[test]
    fn a_table_has_one_line_for_a_document_whatever_is_in_it() {
        let text = "退".repeat(100);
        let line = serde_json::json!({
            "_id": "a", "_kind": "message", "_version": 1, "_time": 1_795_271_051_000_000_i64,
            "dify": {"status": "normal", "app": {"name": "shop\u{1b}[31m"}, "query": format!("line\nbreak {text}")}
        });
        let line = line.to_string().into_bytes();
        let mut out = Vec::new();
        as_table(&mut out, &[Hit { head: line::head(&line).unwrap(), line }]).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 2);
        assert!(out.contains("2026-11-21T14:24:11Z  message  normal  shop [31m  line break 退") && out.contains("…  a\n"), "{out}");
    }
}
