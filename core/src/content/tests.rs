use super::*;
use crate::settings::RedactionSettings;

fn shaper(mode: ContentMode, bytes: usize) -> Shaper {
    Shaper { mode, bytes, redactor: Arc::new(Redactor::new(&RedactionSettings::default()).unwrap()) }
}

fn full() -> Shaper {
    shaper(ContentMode::Full, 0)
}

#[test]
fn json_is_written_again_in_real_characters() {
    for (raw, shaped) in [
        (
            r#"{"a": "\u670d\u88c5", "b" : [1, -2.50, 1e5, true, null, NaN, -Infinity]}"#,
            r#"{"a":"服装","b":[1,-2.50,1e5,true,null,null,null]}"#,
        ),
        (r#" {"q": "a\"b\\c\/d\n\u0001\ud83d\ude00\ud83d"} "#, "{\"q\":\"a\\\"b\\\\c/d\\n\\u0001😀\u{fffd}\"}"),
        ("[]", "[]"),
        ("{}", "{}"),
        (r#"[[], {}, [{"a": {}}]]"#, r#"[[],{},[{"a":{}}]]"#),
        (r#""only text""#, r#""only text""#),
        ("no json at all", "no json at all"),
        ("{not json: a@b.com}", "{not json: [email]}"),
        ("12", "12"),
        ("", ""),
    ] {
        assert_eq!(full().json(raw, false).unwrap(), shaped, "{raw}");
    }
}

#[test]
fn json_is_redacted_where_it_is_decoded() {
    for (raw, shaped) in [
        (r#"{"m": "ada\u0040example.com"}"#, r#"{"m":"[email]"}"#),
        (r#"{"ada@example.com": 1}"#, r#"{"[email]":1}"#),
        (r#"{"text": "{\"m\": \"ada\\u0040example.com\"}"}"#, r#"{"text":"{\"m\": \"[email]\"}"}"#),
        (r#"{"n": 13800138000, "t": 1763627102, "price": 0.0000501}"#, r#"{"n":"[phone]","t":1763627102,"price":0.0000501}"#),
        (r#"{"phone": "612345678", "mobile": 61234567, "id": "612345678"}"#, r#"{"phone":"[phone]","mobile":"[phone]","id":"612345678"}"#),
        (
            r#"{"headers": {"Authorization": "x y", "Cookie": "a=b", "Host": "h"}}"#,
            r#"{"headers":{"Authorization":"[authorization]","Cookie":"[cookie]","Host":"h"}}"#,
        ),
        (r#"{"key": "Cookie", "value": "a=b"}"#, r#"{"key":"Cookie","value":"[cookie]"}"#),
        (r#"[["password", "hunter2"], ["a", "b"]]"#, r#"[["password","[password]"],["a","b"]]"#),
        (r#"{"credentials": {"a": "b"}, "password": 123, "c": "d"}"#, r#"{"credentials":{"a":"b"},"password":"[password]","c":"d"}"#),
        (
            r#"{"cookies": {"a": "b", "c": ["d"]}, "token": "x y", "secret": null}"#,
            r#"{"cookies":{"a":"[cookie]","c":["[cookie]"]},"token":"x y","secret":null}"#,
        ),
        (r#"{"usage": {"prompt_tokens": 98, "total_tokens": 157000000}}"#, r#"{"usage":{"prompt_tokens":98,"total_tokens":157000000}}"#),
    ] {
        assert_eq!(full().json(raw, false).unwrap(), shaped, "{raw}");
    }
}

#[test]
fn torn_ends_are_left_out() {
    assert_eq!(full().text("write to ada@exam", true).unwrap(), "write to ");
    assert_eq!(full().text("write to ada@exam", false).unwrap(), "write to ada@exam");
    assert_eq!(full().json(r#"{"a": "call 1380013"#, true).unwrap(), r#"{"a":"call ""#);
    assert_eq!(full().json(r#"{"a": 1380013"#, true).unwrap(), r#"{"a":"#);
    assert_eq!(full().json(r#"{"a": "x y\u00"#, true).unwrap(), r#"{"a":"x ""#);
    assert_eq!(full().json(r#"{"a": tr"#, true).unwrap(), r#"{"a":"#);
}

#[test]
fn content_is_cut_after_redaction_between_characters() {
    let shaper = shaper(ContentMode::Truncated, 10);
    assert_eq!(shaper.text("汉字汉字汉字", false).unwrap(), "汉字汉");
    assert_eq!(shaper.text("1234567 ada@example.com", false).unwrap(), "1234567 [e");
    assert_eq!(shaper.json(r#"{"a": "汉字汉字"}"#, false).unwrap(), "{\"a\":\"汉");
    let long = format!("{}{}", "x ".repeat(4000), "13800138000");
    assert_eq!(shaper.text(&long, false).unwrap(), "x x x x x ");
}

#[test]
fn without_content_there_is_none() {
    let shaper = shaper(ContentMode::Off, 10);
    assert_eq!((shaper.text("a", false), shaper.json("{}", false)), (None, None));
    assert_eq!(shaper.always("Run failed: a@b.com"), "Run failed: [email]");
}

/// RFC 4231, test case 2.
#[test]
fn people_are_named_by_keyed_hashes() {
    let ids = PersonIds::hashed(b"Jefe");
    assert_eq!(ids.id("what do ya want for nothing?"), "h:5bdcc146bf60754e6a042426089575c7");
    assert_eq!(PersonIds::Plain.id("wx-1"), "wx-1");
    assert_eq!(format!("{ids:?}"), "Hashed");
}
