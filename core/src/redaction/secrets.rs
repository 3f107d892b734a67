//! Secrets that are known by what stands before them: `password=…`, `Authorization: …`, `Bearer …`, `user:…@host`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::triggers::Name;
use super::{Rule, Span, keys};

/// How far from its name a value may stand: quotes, spaces, a colon.
pub(super) const GAP: usize = 12;

/// The value after a name that ends at `end`.
pub(super) fn named(text: &str, name: Name, end: usize) -> Option<Span> {
    let value = value_start(text, end)?;
    match name {
        Name::Authorization => line(text, value, Rule::Authorization),
        Name::Cookie => line(text, value, Rule::Cookie),
        Name::Password => word(text, value, Rule::Password).filter(|span| span.end - span.start >= 3),
        Name::Key => word(text, value, Rule::ApiKey).filter(|span| span.end - span.start >= 6),
        Name::Vague => word(text, value, Rule::ApiKey).filter(|span| is_secret(&text.as_bytes()[span.start..span.end])),
    }
}

/// Whether a value is a secret where its name alone does not say so.
fn is_secret(value: &[u8]) -> bool {
    value.len() >= 8 && keys::looks_random(value) && value.iter().any(u8::is_ascii_alphabetic)
}

/// Where the value begins: after an optional quote, `=`, `:` or a word for "is", and another quote.
fn value_start(text: &str, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = end;
    // `密码：`, `passwords:`, `password (admin):` are not worth more than this.
    at += usize::from(bytes.get(at) == Some(&b's') && bytes.get(at + 1).is_some_and(|next| !next.is_ascii_alphanumeric()));
    let limit = (at + GAP).min(bytes.len());
    let skip = |mut at: usize| {
        while at < limit && matches!(bytes[at], b' ' | b'\t' | b'"' | b'\'' | b'`' | b'\\' | b']') {
            at += 1;
        }
        at
    };
    at = skip(at);
    at += separator(&text[at..])?;
    at = skip(at);
    bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()).then_some(at)
}

fn separator(rest: &str) -> Option<usize> {
    ["=>", ":=", "==", "=", ":", "是", "为", "is ", "ist ", "es ", "est "]
        .iter()
        .find(|word| rest.starts_with(**word))
        .map(|word| word.len())
}

/// Up to the end of the line or of the quotation.
fn line(text: &str, start: usize, rule: Rule) -> Option<Span> {
    let quoted = text.as_bytes().get(start.wrapping_sub(1)).is_some_and(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let rest = &text[start..];
    let end = rest.find(|c: char| c == '\n' || c == '\r' || c == '"' || c == '`' || (quoted && c == '\'')).unwrap_or(rest.len());
    let value = rest[..end].trim_end_matches(['\'', ' ', '\\', ',', '}', ']', ')']);
    kept(value, start, rule)
}

/// Up to what ends a word of configuration, of a URL or of code.
fn word(text: &str, start: usize, rule: Rule) -> Option<Span> {
    let quote = start.checked_sub(1).map(|before| text.as_bytes()[before]).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    let rest = &text[start..];
    let ends = |c: char| match quote {
        Some(quote) => c == char::from(quote) || c == '\n',
        None => c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | ';' | '&' | '<' | '>' | ')' | ']' | '}' | '，' | '。' | '；'),
    };
    let end = rest.find(ends).unwrap_or(rest.len());
    kept(rest[..end].trim_end_matches('\\'), start, rule)
}

/// What stands for "no value", and what was redacted already, is no secret.
fn kept(value: &str, start: usize, rule: Rule) -> Option<Span> {
    let nothing = ["", "null", "none", "true", "false", "undefined", "string", "required", "optional"];
    let is_nothing = nothing.contains(&value.trim().to_ascii_lowercase().as_str()) || is_placeholder(value);
    (!is_nothing).then_some(Span { start, end: start + value.len(), rule: rule.index() })
}

/// `[password]`, `<password>`, `${PASSWORD}`, `{{password}}`, `****`.
fn is_placeholder(value: &str) -> bool {
    let bracketed = value.strip_prefix('[').map(|rest| rest.split(']').next().unwrap_or_default());
    bracketed.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        || value.starts_with("${")
        || value.starts_with("{{")
        || (value.starts_with('<') && value.ends_with('>'))
        || value.bytes().all(|byte| byte == b'*')
}

/// The token after `Bearer` or `Basic`.
pub(super) fn credentials(text: &str, start: usize, end: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    if start.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric()) {
        return None;
    }
    let gap = keys::run(bytes, end, |byte| matches!(byte, b' ' | b'\t' | b'+' | b':' | b'\n'));
    let token = end + gap;
    let length = keys::run(bytes, token, |byte| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte));
    let value = text[token..token + length].trim_end_matches('.');
    let is_token = if text[start..end].eq_ignore_ascii_case("basic") { is_pair(value) } else { is_bearer(value) };
    (gap > 0 && is_token).then_some(Span { start: token, end: token + value.len(), rule: Rule::Authorization.index() })
}

fn is_bearer(token: &str) -> bool {
    token.len() >= 8 && (keys::looks_random(token.as_bytes()) || token.len() >= 24)
}

/// Base64 of `user:password`.
fn is_pair(token: &str) -> bool {
    let decoded = STANDARD.decode(token).or_else(|_| STANDARD_NO_PAD.decode(token.trim_end_matches('=')));
    token.len() >= 4 && decoded.is_ok_and(|pair| pair.contains(&b':') && pair.iter().all(|byte| !byte.is_ascii_control()))
}

/// The password of a URL whose `://` ends at `end`; all that stands before the `@` where there is no colon and it is long enough for a token.
pub(super) fn url_password(text: &str, end: usize) -> Option<Span> {
    let rest = &text[end..];
    let mut stop = rest
        .char_indices()
        .take_while(|(at, _)| *at < 512)
        .find(|(_, c)| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\'));
    let authority = &rest[..stop.take().map_or_else(|| floor(rest, 512), |(at, _)| at)];
    // A password may hold a slash that was not escaped; a path may hold an `@`. What has its colon before the first slash has a password.
    let slash = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let at = authority[..slash]
        .rfind('@')
        .or_else(|| authority[..slash].contains(':').then(|| password_with_slash(authority, slash)).flatten())?;
    let user = &authority[..at];
    let start = match user.find(':') {
        Some(colon) => colon + 1,
        None if user.len() >= 16 => 0,
        None => return None,
    };
    kept(&user[start..], end + start, Rule::Password)
}

/// `user:p/ss@host`: not `host:8080/path@x`.
fn password_with_slash(authority: &str, slash: usize) -> Option<usize> {
    let port = authority[..slash].rsplit(':').next().is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if port { None } else { authority.rfind('@') }
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
