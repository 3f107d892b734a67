//! The end of a text that was cut: what was torn there cannot be recognised any more, so it goes.

/// The last boundary of a character at or before a place.
pub(super) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The beginning of a text, and whether that is not all of it.
pub(super) fn head(text: &str, bytes: usize) -> (&str, bool) {
    if text.len() <= bytes { (text, false) } else { (&text[..floor(text, bytes)], true) }
}

/// Without the last word, and without the groups of digits before it: a telephone number, a card and an account may be written in groups.
pub(super) fn without_torn_end(text: &str) -> &str {
    let mut rest = without_word(text);
    for _ in 0..12 {
        let trimmed = rest.trim_end();
        let shorter = without_word(trimmed);
        let word = &trimmed[shorter.len()..];
        if trimmed.is_empty() || !is_group(word) {
            break;
        }
        rest = shorter;
    }
    rest
}

fn without_word(text: &str) -> &str {
    text.trim_end_matches(belongs)
}

/// Characters of which addresses, numbers and keys are made. Quotes and brackets are not; Chinese, Japanese and Korean writing is not.
fn belongs(character: char) -> bool {
    let parts = matches!(character, '"' | '\'' | '`' | ',' | ';' | '<' | '>' | '{' | '}' | '[' | ']');
    let full_width = ('\u{ff01}'..='\u{ff5e}').contains(&character);
    !character.is_whitespace() && !parts && (character < '\u{2e80}' || full_width)
}

/// A short word that may be a part of a number written in groups: it has digits, or only capitals (of a bank), or signs.
fn is_group(word: &str) -> bool {
    let short = !word.is_empty() && word.chars().count() <= 12;
    let digits = word.chars().any(|c| c.is_numeric() || ('０'..='９').contains(&c));
    short && (digits || word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_punctuation()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_words_and_groups_of_digits_go() {
        for (text, whole) in [
            ("write to ada@exam", "write to "),
            ("call +49 170 12345", "call "),
            ("card 4111 1111 1111 11", "card "),
            ("to GB82 WEST 1234 56", "to "),
            ("电话13800138", "电话"),
            ("{\"a\":\"b\",\"mail\":\"ada@e", "{\"a\":\"b\",\"mail\":\""),
            ("a whole sentence.", "a whole "),
            ("汉字", "汉字"),
            ("", ""),
        ] {
            assert_eq!(without_torn_end(text).trim_end(), whole.trim_end(), "{text}");
        }
    }

    #[test]
    fn a_head_ends_between_characters() {
        assert_eq!(head("汉字", 4), ("汉", true));
        assert_eq!(head("汉字", 6), ("汉字", false));
    }
}
