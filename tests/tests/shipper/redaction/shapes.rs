//! Redaction by itself: every value in every disguise, in every content mode, at every edge.

use std::sync::Arc;

use dify_observe_core::content::Shaper;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::settings::{ContentMode, RedactionSettings};
use dify_observe_tests::planted::{self, Planted, letters};
use dify_observe_tests::seed::seed;

/// How many values.
const VALUES: usize = 200;

fn shaper(mode: ContentMode, bytes: usize) -> Shaper {
    Shaper { mode, bytes, redactor: Arc::new(Redactor::new(&RedactionSettings::default()).unwrap()) }
}

/// Prose around a value, in English and in Chinese, as a header, in code.
fn sentences(text: &str) -> Vec<String> {
    vec![
        text.to_owned(),
        format!("Please send it to {text} before Friday, thanks."),
        format!("see ({text})"),
        format!("请记下：{text}，谢谢。"),
        format!("联系{text}"),
        format!("line one\n{text}\nline three"),
        format!("{{'user': '{text}', 'n': 1}}"),
        format!("POST /x HTTP/1.1\r\nHost: api.example.org\r\nX-Note: {text}\r\n\r\nbody"),
        format!("Run failed: [models] Bad Request Error, Error code: 400 - {{'error': {{'message': 'bad value: {text}'}}}}"),
    ]
}

/// Everything but letters and digits as `\uXXXX`.
fn escaped(text: &str) -> String {
    let escape = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    text.chars().map(escape).collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn full_width(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() || c == '@' { char::from_u32(u32::from(c) + 0xfee0).unwrap() } else { c }).collect()
}

/// A value in the disguises that prose may have it in.
fn disguises(value: &Planted) -> Vec<String> {
    let text = &value.text;
    let mut shapes = sentences(text);
    shapes.push(format!("{{\"a\": \"{}\"}}", escaped(text)));
    shapes.push(format!("{{\\\"a\\\": \\\"{}\\\"}}", escaped(text).replace('\\', "\\\\\\\\")));
    shapes.push(format!("https://example.org/path?a=1&q={}&z=2", percent(text)));
    if value.is_number || value.rule == "email" {
        shapes.push(format!("号码：{}。", full_width(text)));
    }
    if value.is_number {
        let spread: Vec<String> = text.chars().map(String::from).collect();
        shapes.push(spread.join("\u{200b}"));
    }
    shapes
}

/// JSON columns with a value in them: as a text, as a key, within JSON within JSON, in a list.
fn columns(text: &str) -> Vec<String> {
    let inner = serde_json::json!({"note": text, "list": [text, 1]}).to_string();
    let middle = serde_json::json!({"arguments": inner}).to_string();
    vec![
        serde_json::json!({"query": text, "n": 0.5}).to_string(),
        format!("{{\"query\": \"{}\"}}", escaped(text)),
        serde_json::json!({text: 1}).to_string(),
        serde_json::json!([[text], {"a": {"b": [text]}}]).to_string(),
        serde_json::json!({"text": inner}).to_string(),
        serde_json::json!({"text": middle}).to_string(),
        format!("{{\"text\": {}, \"x\": NaN}}", serde_json::json!(format!("Hello {text}, \"quoted\" \\ / 汉字 😀"))),
    ]
}

#[test]
fn nothing_planted_survives_in_prose() {
    let shaper = shaper(ContentMode::Full, 0);
    let mut failures = Vec::new();
    for value in planted::values(seed("nothing_planted_survives_in_prose"), VALUES) {
        for shape in disguises(&value) {
            let shaped = shaper.text(&shape, false).unwrap();
            if letters(&shaped).contains(&value.needle) {
                failures.push(format!("{}: {shape:?}", value.rule));
            }
            assert_eq!(shaper.always(&shaped), shaped, "what was redacted once stays as it is");
        }
    }
    assert!(failures.is_empty(), "{} survive:\n{}", failures.len(), failures[..failures.len().min(60)].join("\n"));
}

#[test]
fn nothing_planted_survives_in_json() {
    let shaper = shaper(ContentMode::Full, 0);
    let mut failures = Vec::new();
    for value in planted::values(seed("nothing_planted_survives_in_json"), VALUES) {
        for shape in columns(&value.text) {
            let shaped = shaper.json(&shape, false).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&shaped).is_ok(), "{shaped}");
            if letters(&shaped).contains(&value.needle) {
                failures.push(format!("{}: {shape}", value.rule));
            }
        }
    }
    assert!(failures.is_empty(), "{} survive:\n{}", failures.len(), failures[..failures.len().min(60)].join("\n"));
}

/// A value that was cut in the database: its beginning cannot be recognised, and is left out.
#[test]
fn nothing_of_a_torn_value_is_left() {
    let shaper = shaper(ContentMode::Full, 0);
    let mut failures = Vec::new();
    for value in planted::values(seed("nothing_of_a_torn_value_is_left"), VALUES) {
        let prose = format!("Please send it to {}", value.text);
        let json = format!("{{\"a\": 1, \"text\": \"{}", escaped(&value.text));
        let first = &value.needle[..value.needle.len().min(8)];
        for (raw, is_json) in [(prose, false), (json, true)] {
            for end in (0..=raw.len()).rev().take(value.text.len() + 40) {
                let shaped = if is_json { shaper.json(&raw[..end], true) } else { shaper.text(&raw[..end], true) }.unwrap();
                if letters(&shaped).contains(first) {
                    failures.push(format!("{}: {:?} -> {shaped:?}", value.rule, &raw[..end]));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} survive:\n{}", failures.len(), failures[..failures.len().min(60)].join("\n"));
}

/// Truncation comes after redaction: a value across the limit is recognised whole.
#[test]
fn nothing_survives_across_the_limit() {
    for value in planted::values(seed("nothing_survives_across_the_limit"), VALUES) {
        for limit in (14..60).step_by(9) {
            let shaper = shaper(ContentMode::Truncated, limit);
            let text = format!("汉字 before it: {} and after", value.text);
            let shaped = [shaper.text(&text, false).unwrap(), shaper.json(&serde_json::json!([text]).to_string(), false).unwrap()];
            for shaped in shaped {
                assert!(shaped.len() <= limit, "{shaped}");
                assert!(!letters(&shaped).contains(&value.needle[..value.needle.len().min(8)]), "{}: {text} -> {shaped}", value.rule);
            }
        }
        let far = format!("{} {} {}", "word ".repeat(160), value.text, "word ".repeat(1000));
        for limit in [810, 830] {
            let shaped = shaper(ContentMode::Truncated, limit).text(&far, false).unwrap();
            assert!(!letters(&shaped).contains(&value.needle[..value.needle.len().min(8)]), "{}: {limit}", value.rule);
        }
    }
}

#[test]
fn nothing_of_content_is_left_without_content() {
    let shaper = shaper(ContentMode::Off, 4096);
    assert_eq!((shaper.text("a", false), shaper.json("[]", false)), (None, None));
}
