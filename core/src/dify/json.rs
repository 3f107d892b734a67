//! JSON as Dify stores it in text columns: not strict, perhaps cut, perhaps huge.
//!
//! Python writes bare `NaN` and `Infinity`, `\u0000` and halves of surrogate pairs; a column may have been cut at a byte
//! budget. [`parse`] reads all of it and keeps what is complete; [`pick`] reads a few keys and walks over the rest without
//! keeping it, which is what the large columns want.

mod reader;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use reader::Reader;

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Everything that stood there completely. Numbers that are none (`NaN`, `Infinity`) are null.
    pub value: Value,
    /// Nothing is missing: the text ended where its value did, and no nesting was too deep to be kept.
    pub complete: bool,
}

/// Reads a text as far as it can be understood. Never fails: of a cut text, what is complete is kept (a number or text
/// that reaches the cut may be a part of one and is dropped); what is no JSON at all is an incomplete null.
pub fn parse(text: &str) -> Parsed {
    let mut reader = Reader::new(text);
    let value = reader.document(None);
    Parsed { value: value.unwrap_or(Value::Null), complete: reader.is_complete() }
}

/// Reads only these keys of an object, at its top level. A text that is no object has none of them.
pub fn pick(text: &str, keys: &[&str]) -> Map<String, Value> {
    match Reader::new(text).document(Some(keys)) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Whether a text holds one value from its beginning to its end: neither damaged nor cut. Walks over it and keeps nothing.
pub fn is_complete(text: &str) -> bool {
    let mut reader = Reader::new(text);
    reader.document(Some(&[]));
    reader.is_complete()
}

/// A number, or a text that is one.
pub fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A count: a whole number that is not negative, as number or text.
pub fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(whole) if whole.is_u64() => whole.as_u64(),
        other => number(other).filter(|number| *number >= 0.0 && number.fract() == 0.0 && *number < 9e15).map(|number| number as u64),
    }
}

/// Money: an exact decimal, as text (Dify's usual way) or as number, with or without exponent.
pub fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => decimal_of_text(text.trim()),
        // The shortest text of the float: the one that Python's json wrote.
        Value::Number(number) => decimal_of_text(&number.to_string()),
        _ => None,
    }
}

fn decimal_of_text(text: &str) -> Option<Decimal> {
    if text.contains(['e', 'E']) { Decimal::from_scientific(text).ok() } else { text.parse().ok() }
}

/// A text that is not empty.
pub fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    use super::*;

    /// Values as Dify writes them: usage, retrieval results, agent logs, Python's own spellings.
    const SAMPLES: [&str; 8] = [
        r#"{"model_mode": "chat", "prompts": [{"role": "user", "text": "clothing: \u670d\u88c5 \"x\"", "files": []}], "usage": {"prompt_tokens": 98, "total_price": "0.0000501", "currency": "USD", "latency": 0.38, "time_to_first_token": null}, "model_name": "gpt-4o-mini"}"#,
        r#"{"result": [{"metadata": {"dataset_id": "7379b3a6", "score": 0.25, "child_chunks": []}, "content": "5G"}, {"metadata": {}}]}"#,
        r#"{"total_tokens": 619, "total_price": 5.19e-05, "agent_log": [{"label": "ROUND 1", "parent_id": null, "metadata": {"started_at": 3436.185}}]}"#,
        r#"{"message_metadata":null,"retriever_resources":[],"usage":null}"#,
        r#"{"__is_success": 1, "__reason": null, "qty": -2, "flag": true, "no": false}"#,
        r#"[1, 2.5, -3e2, "a\\b\/c\b\f\n\r\t", [], {}, [[["x"]]]]"#,
        "\u{feff} {\"sys.files\": [], \"emoji\": \"\\ud83d\\ude00 😀\", \"中文\": \"汉字\"}  ",
        r#""only text""#,
    ];

    /// Whether `part` can be had from `whole` by leaving things out at the end.
    fn is_part(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => {
                part.iter().all(|(key, value)| whole.get(key).is_some_and(|whole| is_part(value, whole)))
            }
            (Value::Array(part), Value::Array(whole)) => {
                part.len() <= whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part(part, whole))
            }
            (part, whole) => part == whole,
        }
    }

    #[test]
    fn strict_json_reads_as_serde_json_reads_it() {
        for sample in SAMPLES {
            let strict: Value = serde_json::from_str(sample.trim_start_matches('\u{feff}')).unwrap();
            assert_eq!(parse(sample), Parsed { value: strict, complete: true }, "{sample}");
            assert!(is_complete(sample), "{sample}");
        }
    }

    #[test]
    fn every_prefix_reads_as_a_part() {
        for sample in SAMPLES {
            let whole = parse(sample).value;
            for (end, _) in sample.char_indices() {
                let cut = parse(&sample[..end]);
                assert!(cut.value.is_null() || is_part(&cut.value, &whole), "{} of {whole}", cut.value);
                if !sample[end..].trim().is_empty() {
                    assert!(!cut.complete && !is_complete(&sample[..end]), "{}", &sample[..end]);
                }
            }
        }
    }

    #[test]
    fn a_cut_keeps_what_is_complete() {
        assert_eq!(parse(r#"{"a": 1, "b": {"c": 2, "d": "tru"#).value, json!({"a": 1, "b": {"c": 2}}));
        assert_eq!(parse(r#"{"a": [1, 2, 3"#).value, json!({"a": [1, 2]}));
        assert_eq!(parse(r#"{"a": 12"#).value, json!({}));
        assert_eq!(parse(r#"{"a": tru"#).value, json!({}));
        assert_eq!(parse("12").value, json!(12));
        assert_eq!(parse(""), Parsed { value: Value::Null, complete: false });
    }

    #[test]
    fn python_numbers_that_are_none_are_null() {
        let parsed = parse(r#"{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999, "e": 1}"#);
        assert_eq!(parsed, Parsed { value: json!({"a": null, "b": null, "c": null, "d": null, "e": 1}), complete: true });
    }

    #[test]
    fn halves_of_surrogate_pairs_become_replacement_characters() {
        assert_eq!(parse(r#""a\ud800b""#).value, json!("a\u{fffd}b"));
        assert_eq!(parse(r#""\udc00""#).value, json!("\u{fffd}"));
        assert_eq!(parse(r#""\ud83d\u0041""#).value, json!("\u{fffd}A"));
        assert_eq!(parse(r#""\ud83d\ud83d\ude00""#).value, json!("\u{fffd}😀"));
        assert_eq!(parse(r#""\u0000\x""#).value, json!("\u{0}x"));
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        assert_eq!(parse(r#"{"a": 1, "a": 2}"#).value, json!({"a": 2}));
    }

    #[test]
    fn raw_control_characters_are_read() {
        assert_eq!(parse("{\"a\": \"line\nbreak\"}").value, json!({"a": "line\nbreak"}));
    }

    #[test]
    fn endless_nesting_is_bounded() {
        let deep = format!("{{\"a\": {}1{}, \"b\": 2}}", "[".repeat(200_000), "]".repeat(200_000));
        let parsed = parse(&deep);
        assert!(!parsed.complete);
        assert_eq!(parsed.value["b"], json!(2));
        assert!(!parse(&"[{\"a\":".repeat(200_000)).complete);
        assert_eq!(pick(&deep, &["b"]), json!({"b": 2}).as_object().cloned().unwrap());
    }

    #[test]
    fn picking_reads_only_what_was_asked_for() {
        let picked = pick(SAMPLES[0], &["usage", "model_name", "absent"]);
        assert_eq!(picked.keys().collect::<Vec<_>>(), ["model_name", "usage"]);
        assert_eq!(picked["usage"]["prompt_tokens"], json!(98));
        assert!(pick("[1]", &["a"]).is_empty());
        assert_eq!(pick(r#"{"body": "x\"}", "status_code": 200, "rest": {"cut": "#, &["status_code"])["status_code"], json!(200));
    }

    #[test]
    fn megabytes_are_walked_over() {
        let text = format!(r#"{{"body": "{}", "status_code": 404}}"#, "\\u6c49\\\"".repeat(500_000));
        assert_eq!(pick(&text, &["status_code"])["status_code"], json!(404));
    }

    #[test]
    fn random_text_never_panics() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        const PIECES: [&str; 24] = [
            "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u", "d8", "00", "1", "-", ".", "e", "NaN", "Infinity", "true", "null", " ", "汉",
            "a", "'", "\u{0}",
        ];
        for _ in 0..20_000 {
            let text: String = (0..rng.random_range(0..30)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect();
            let parsed = parse(&text);
            pick(&text, &["a"]);
            if let Ok(strict) = serde_json::from_str::<Value>(&text) {
                assert_eq!(parsed, Parsed { value: strict, complete: true }, "{text}");
            }
        }
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..rng.random_range(0..60)).map(|_| rng.random()).collect();
            parse(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn damaged_samples_never_panic() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for sample in SAMPLES {
            for _ in 0..500 {
                let mut characters: Vec<char> = sample.chars().collect();
                let at = rng.random_range(0..characters.len());
                characters[at] = ['"', '\\', '{', ']', '0', 'u'][rng.random_range(0..6)];
                parse(&characters.into_iter().collect::<String>());
            }
        }
    }

    #[test]
    fn money_is_exact_however_it_is_written() {
        for (value, exact) in [
            (json!("0.0000501"), "0.0000501"),
            (json!(5.19e-05), "0.0000519"),
            (json!("1.2E-5"), "0.000012"),
            (json!(0.0001266), "0.0001266"),
            (json!("0"), "0"),
            (json!(3), "3"),
        ] {
            assert_eq!(decimal(&value), Some(exact.parse().unwrap()), "{value}");
        }
        assert_eq!(decimal(&json!("NaN")), None);
        assert_eq!(decimal(&json!(null)), None);
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(count(&json!(7)), Some(7));
        assert_eq!(count(&json!("7")), Some(7));
        assert_eq!(count(&json!(7.0)), Some(7));
        assert_eq!(count(&json!(-1)), None);
        assert_eq!(count(&json!(0.5)), None);
    }
}
