//! Keys that tell by their first letters what they are, JSON web tokens, and private keys.

use super::{Rule, Span};

/// How a vendor's keys look.
pub(super) struct Key {
    /// What they begin with.
    pub(super) prefix: &'static str,
    /// The characters after it.
    body: fn(u8) -> bool,
    /// How many of them there are at least.
    least: usize,
}

const fn key(prefix: &'static str, body: fn(u8) -> bool, least: usize) -> Key {
    Key { prefix, body, least }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    name(byte) || byte == b'.'
}

fn capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// The vendors. Dify's own are `app-` and `dataset-`.
pub(super) const KEYS: [Key; 31] = [
    key("sk-", name, 16),
    key("sk_", name, 16),
    key("rk_", name, 16),
    key("pk_", name, 16),
    key("AKIA", capital, 12),
    key("ASIA", capital, 12),
    key("ghp_", word, 16),
    key("gho_", word, 16),
    key("ghu_", word, 16),
    key("ghs_", word, 16),
    key("ghr_", word, 16),
    key("github_pat_", name, 16),
    key("glpat-", name, 16),
    key("AIza", name, 24),
    key("xoxa-", name, 8),
    key("xoxb-", name, 8),
    key("xoxe", dotted, 12),
    key("xoxp-", name, 8),
    key("xoxr-", name, 8),
    key("xoxs-", name, 8),
    key("xapp-", name, 8),
    key("app-", word, 16),
    key("dataset-", word, 16),
    key("hf_", word, 20),
    key("gsk_", word, 20),
    key("npm_", word, 30),
    key("ya29.", name, 16),
    key("LTAI", word, 12),
    key("AKID", word, 24),
    key("SG.", dotted, 32),
    key("nvapi-", name, 20),
];

/// The key whose prefix stands at this place.
pub(super) fn vendor_key(text: &str, which: usize, start: usize, end: usize) -> Option<Span> {
    let key = &KEYS[which];
    let bytes = text.as_bytes();
    if &text[start..end] != key.prefix || start.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric()) {
        return None;
    }
    let length = run(bytes, end, key.body);
    (length >= key.least && looks_random(&bytes[end..end + length])).then_some(Span {
        start,
        end: end + length,
        rule: Rule::ApiKey.index(),
    })
}

/// Words are not random: `app-internationalization`, `sk-some-long-name`.
pub(super) fn looks_random(body: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| body.iter().any(test);
    let capitals = body.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    has(u8::is_ascii_digit) || (capitals > 1 && has(u8::is_ascii_lowercase))
}

/// Two or three stretches of base64 with dots between them, the first of which begins as `{"` does.
pub(super) fn jwt(text: &str, start: usize, end: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    if &text[start..end] != "eyJ" || start.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric()) {
        return None;
    }
    let length = run(bytes, end, dotted);
    let token = text[start..end + length].trim_end_matches('.');
    (token.len() >= 32 && token.contains('.')).then_some(Span { start, end: start + token.len(), rule: Rule::Jwt.index() })
}

/// A private key from `-----BEGIN` to the line that ends it, or to the end of a text that was cut.
pub(super) fn private_key(text: &str, start: usize, end: usize) -> Option<Span> {
    let rest = &text[end..];
    let title = rest.char_indices().take(64).find(|(at, _)| rest[*at..].starts_with("-----"))?.0;
    if !rest[..title].to_ascii_uppercase().ends_with("PRIVATE KEY") && !rest[..title].to_ascii_uppercase().ends_with("PRIVATE KEY BLOCK") {
        return None;
    }
    let body = end + title + 5;
    let end = match text[body..].find("-----END") {
        Some(last) => {
            let closing = body + last + 8;
            text[closing..].find("-----").map_or(text.len(), |dashes| closing + dashes + 5)
        }
        None => text.len(),
    };
    Some(Span { start, end, rule: Rule::PrivateKey.index() })
}

pub(super) fn run(bytes: &[u8], from: usize, belongs: fn(u8) -> bool) -> usize {
    bytes[from..].iter().take_while(|byte| belongs(**byte)).count()
}
