//! What the rules find and what they leave alone, by examples.

use super::*;

fn redactor() -> Redactor {
    Redactor::new(&RedactionSettings::default()).unwrap()
}

fn configured(toml: &str) -> Result<Redactor, String> {
    Redactor::new(&toml::from_str(toml).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn what_names_a_person_is_taken_out() {
    let redactor = redactor();
    for (text, redacted) in [
        ("mail ada@example.com, please", "mail [email], please"),
        ("邮箱：ada＠example.com。", "邮箱：[email]。"),
        (r#"{\"mail\": \"ada\\u0040example.com\"}"#, r#"{\"mail\": \"[email]\"}"#),
        ("https://x.org/?mail=ada%40example.com&a=1", "https://x.org/?mail=[email]&a=1"),
        ("手机13800138000，谢谢", "手机[phone]，谢谢"),
        ("电话：１３８００１３８０００", "电话：[phone]"),
        ("tel:+86-138-0013-8000", "tel:[phone]"),
        ("8613800138000", "[phone]"),
        ("call 010-12345678 now", "call [phone] now"),
        ("+49 170 1234567.", "[phone]."),
        ("+49 (0)30 901820", "[phone]"),
        ("0049 170 1234567", "[phone]"),
        ("030 1234567 or 01 23 45 67 89", "[phone] or [phone]"),
        ("+44 20 7946 0958; 07700 900123", "[phone]; [phone]"),
        ("(415) 555-2671", "[phone]"),
        ("415-555-2671, 415.555.2671, 4155552671, 1-415-555-2671", "[phone], [phone], [phone], [phone]"),
        ("phone=%2B14155552671&x=1", "phone=[phone]&x=1"),
        ("+34 612 345 678 / 612 345 678", "[phone] / [phone]"),
        ("Tel. 12 34 56 78", "Tel. [phone]"),
        ("138\u{200b}0013\u{200b}8000", "[phone]"),
        ("110101199003077715 110101199003077716", "[id_card] 110101199003077716"),
        ("id 11010519491231002X.", "id [id_card]."),
        ("身份证号11010519491231002x", "身份证号[id_card]"),
        ("110105 19491231 002X", "[id_card]"),
        ("A123456(3)", "[id_card]"),
        ("A123456789 S1234567D 12345678Z X1234567L", "[id_card] [id_card] [id_card] [id_card]"),
        ("RSSMRA85M01H501Q", "[id_card]"),
        ("131052-308T", "[id_card]"),
        ("44051401359", "[id_card]"),
        ("529.982.247-25", "[id_card]"),
        ("078-05-1120", "[id_card]"),
        ("DE89370400440532013000", "[iban]"),
        ("GB82 WEST 1234 5698 7654 32!", "[iban]!"),
        ("de89 3704 0044 0532 0130 00", "[iban]"),
        ("4111 1111 1111 1111 5500-0000-0000-0004 340000000000009", "[payment_card] [payment_card] [payment_card]"),
        ("6222021234567890128?", "[payment_card]?"),
    ] {
        assert_eq!(redactor.redact(text), redacted, "{text}");
    }
}

#[test]
fn what_opens_a_door_is_taken_out() {
    let redactor = redactor();
    for (text, redacted) in [
        ("key sk-proj-abcDEF0123456789abcd.", "key [api_key]."),
        ("AKIAIOSFODNN7EXAMPLE", "[api_key]"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[api_key]"),
        ("AIzaSyA0123456789abcdefghijABCDEFGHIJ01", "[api_key]"),
        ("xoxb-123456789012-abcdefGHIJ", "[api_key]"),
        ("app-0aB1cD2eF3gH4iJ5kL6mN7oP", "[api_key]"),
        ("dataset-0aB1cD2eF3gH4iJ5kL6mN7oP", "[api_key]"),
        ("api_key=abcdef123, x", "api_key=[api_key], x"),
        (r#"{"x-api-key": "abcdef123"}"#, r#"{"x-api-key": "[api_key]"}"#),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "[jwt]"),
        ("Authorization: Bearer abc\r\nHost: x", "Authorization: [authorization]\r\nHost: x"),
        ("bearer 0123456789abcdefABCDEF", "bearer [authorization]"),
        ("Basic YWRhOmh1bnRlcjI= ", "Basic [authorization] "),
        ("postgres://ada:hunter2@db/x", "postgres://ada:[password]@db/x"),
        ("redis://:hunter2@cache:6379/0", "redis://:[password]@cache:6379/0"),
        ("password: hunter2\n", "password: [password]\n"),
        ("密码是hunter2，", "密码是[password]，"),
        ("/u/secret_key=15U06WVXzz?q=secret_key = 15U06WVXzz x", "/u/secret_key=[api_key] = [api_key] x"),
        ("/u/apikey:%203bAGs7xh?q=apikey:%203bAGs7xh x", "/u/apikey:%20[api_key]%20[api_key] x"),
        ("?pwd=hunter2&x", "?pwd=[password]&x"),
        ("Cookie: a=1; session=abc\nX: y", "Cookie: [cookie]\nX: y"),
        ("set-cookie: a=1; Path=/", "set-cookie: [cookie]"),
        ("x -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- y", "x [private_key] y"),
        ("x -----BEGIN PRIVATE KEY-----\\nMIIE", "x [private_key]"),
    ] {
        assert_eq!(redactor.redact(text), redacted, "{text}");
    }
}

/// Ids, times, prices, counts and hashes must stay searchable.
#[test]
fn what_names_a_record_stays() {
    let redactor = redactor();
    for text in [
        "61e5e29a-f7a8-4c6d-8f0c-123456789012",
        "61e5e29a-1380-4138-8001-138001380001 7379b3a6-0415-5552-6711-415555267111",
        "2026-11-20 08:25:02.451536 2026-11-20T08:25:02.909869+00:00 20.11.2026 08:25 11/20/2026",
        "1763627102 1763627102451 1763627102451536 1763627102451536000",
        "0.0000501 12.5e-05 1234567.89 0.38 1,234,567,890.12",
        "prompt_tokens: 1234567, total_tokens: 98765432",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "d41d8cd98f00b204e9800998ecf8427e 3eb51880f1c3",
        "10.0.0.1:8080 192.168.100.200 v0.15.27 1.2.840.113549",
        "task-force risk-management app-internationalization-service app-run dataset-retrieval",
        "the bearer of bad news, basic knowledge, a cookie recipe, token counts",
        "https://example.com:8080/a/b?c=d#e",
        "req_id: e1f7a13b9a PluginInvokeError: {\"args\": {}}",
        "Error code: 429 - {'error': {'code': 'rate_limit_exceeded'}}",
        "第12345678号文件，共100页",
        "sk-learn-is-a-very-long-name",
        "password: [password]",
        "token: null, password = ${PASSWORD}",
    ] {
        assert_eq!(redactor.redact(text), text);
        assert!(matches!(redactor.redact(text), Cow::Borrowed(_)));
    }
}

#[test]
fn what_was_taken_out_is_counted_by_rule() {
    let redactor = configured("[patterns.staff]\npattern = 'EMP-\\d+'").unwrap();
    redactor.redact("a@b.com c@d.org EMP-17");
    let found: Vec<(&str, u64)> = redactor.counts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, [("email", 2), ("staff", 1)]);
    assert_eq!(redactor.counts().count(), RULES.len() + 1);
}

#[test]
fn rules_can_be_disabled_and_added() {
    let redactor = configured(
        "disabled = 'phone, email'\n[patterns.staff]\npattern = 'EMP-\\d+'\nreplacement = '#'\n[patterns.room]\npattern = 'room (?<secret>\\d+)'",
    )
    .unwrap();
    assert_eq!(redactor.redact("a@b.com 13800138000 EMP-17 room 12 ＥＭＰ-9"), "a@b.com 13800138000 # room [room] #");
}

#[test]
fn a_bad_setting_is_one_clear_sentence() {
    for (toml, part) in [
        ("disabled = ['mail']", "redaction.disabled names a rule \"mail\" that does not exist: the rules are email, phone"),
        ("[patterns.x]\npattern = '('", "redaction.patterns.x.pattern is not a regular expression: error: unclosed group"),
        ("[patterns.x]\npattern = 'a*'", "redaction.patterns.x.pattern matches the empty text"),
        ("[patterns.email]\npattern = 'a'", "redaction.patterns.email has the name of a rule that is there already"),
        ("[patterns.X-1]\npattern = 'a'", "redaction.patterns.X-1 has a name that is not made of"),
    ] {
        let error = configured(toml).unwrap_err();
        assert!(error.starts_with(part) && !error.contains('\n'), "{error}");
    }
}

/// `cargo test --release -p dify-observe-core --lib -- --ignored speed --nocapture`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "it prints a figure")]
fn speed_where_nothing_is_found() {
    let redactor = redactor();
    let prose = "You answer questions about our products, politely and in the language of the question. 请用中文回答用户的问题，不要编造。";
    let value =
        r#"{"index": 3, "score": 0.8312, "dataset_id": "7379b3a6-1c5e-4f0a-9d52-0f3b6a1c9e77", "content": "Trade in your old phone"}"#;
    for (name, piece) in [("prose", prose), ("values", value)] {
        let text = format!("{piece} ").repeat(64 * 1024 / piece.len());
        let start = std::time::Instant::now();
        let mut bytes = 0;
        while start.elapsed() < std::time::Duration::from_millis(500) {
            assert!(matches!(redactor.redact(&text), Cow::Borrowed(_)));
            bytes += text.len();
        }
        eprintln!("{name}: {:.0} MB/s", bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
    }
}
