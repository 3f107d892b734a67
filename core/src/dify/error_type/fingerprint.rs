//! A short name for errors that are alike, so that a hundred failures show as one.

use sha2::{Digest, Sha256};

/// Sixteen hex digits that are equal for texts which differ only in numbers, ids and quoted values.
pub fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(normalise(text).as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The text without what differs from one failure to the next: numbers and ids become `#`, quoted values `?`. Keys and
/// codes stay (`'code': 'insufficient_quota'`), because they tell errors apart. What Dify puts around the same error in a
/// message is left out.
pub fn normalise(text: &str) -> String {
    let text = text.trim().trim_start_matches("Run failed: ");
    let mut out = String::with_capacity(text.len().min(1024));
    let mut rest = text;
    let mut key = String::new();
    while let Some(character) = rest.chars().next() {
        let end = match character {
            '\'' | '"' | '`' if !ends_in_word(&out) => quoted(rest, character, &mut key, &mut out),
            c if is_word(c) => word(rest, &mut out),
            c if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
                c.len_utf8()
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[end..];
    }
    out
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// An apostrophe (`model's`) is no quote.
fn ends_in_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(|c| is_word(c) || c == '#')
}

/// A quoted piece; returns how long it is. One that is never closed is the rest of a cut text.
fn quoted(rest: &str, quote: char, key: &mut String, out: &mut String) -> usize {
    let mut end = rest.len();
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if character == quote && !escaped {
            end = at;
            break;
        }
        escaped = character == '\\' && !escaped;
    }
    let inner = &rest[1..end];
    let after = (end + 1).min(rest.len());
    let is_key = rest[after..].trim_start().starts_with(':');
    let tells_apart = matches!(key.as_str(), "code" | "type" | "error_type" | "class");
    if is_key || (tells_apart && inner.chars().all(|c| is_word(c) || c == '-')) {
        out.push_str(inner);
    } else {
        out.push('?');
    }
    *key = if is_key { inner.to_owned() } else { String::new() };
    after
}

/// A word, or an id: whatever has a digit in it. Parts of a UUID are ids of their own.
fn word(rest: &str, out: &mut String) -> usize {
    let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let word = &rest[..end];
    let hex_id = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
    if word.chars().any(|c| c.is_ascii_digit()) || hex_id {
        // 1.5, 10-20 and a UUID are one thing, not several.
        let joined = out.ends_with("#.") || out.ends_with("#-");
        if joined {
            out.pop();
        } else {
            out.push('#');
        }
    } else {
        out.push_str(word);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ids_and_quoted_values_do_not_matter() {
        for (one, other) in [
            ("Max steps 500 reached.", "Max steps 1000 reached."),
            (
                "Failed to invoke tool c3953c93-0dc5-4d94-9c49-76d2b69d7b4c: broken",
                "Failed to invoke tool 10d82943-8f2b-11f0-9d4b-0242ac120003: broken",
            ),
            ("Variable 'city' not found", "Variable 'country code' not found"),
            ("Variable \"city\" not found", "Variable \"it's\" not found"),
            ("req_id: 3b533d3137 PluginInvokeError", "req_id: deadbeefaa PluginInvokeError"),
            ("Run failed: [Errno 111] Connection refused", "[Errno 111]  Connection refused"),
            ("waited 1.5 s", "waited 12 s"),
        ] {
            assert_eq!(fingerprint(one), fingerprint(other), "{} / {}", normalise(one), normalise(other));
        }
    }

    #[test]
    fn codes_tell_errors_apart() {
        let quota = "[models] Rate Limit Error, Error code: 429 - {'error': {'message': 'You exceeded', 'code': 'insufficient_quota'}}";
        let rate = "[models] Rate Limit Error, Error code: 429 - {'error': {'message': 'Slow down', 'code': 'rate_limit_exceeded'}}";
        assert_ne!(fingerprint(quota), fingerprint(rate));
        assert_eq!(normalise(quota), "[models] Rate Limit Error, Error code: # - {error: {message: ?, code: insufficient_quota}}");
    }

    #[test]
    fn an_apostrophe_is_no_quote() {
        assert_eq!(normalise("This model's maximum is 5, and that's it"), "This model's maximum is #, and that's it");
    }

    #[test]
    fn it_is_sixteen_hex_digits_whatever_the_text() {
        for text in ["", "'", "汉字 'cut", "\"a\\", "1"] {
            let fingerprint = fingerprint(text);
            assert!(fingerprint.len() == 16 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
