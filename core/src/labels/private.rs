//! Values that could name a person or a single record.

/// Longer values are free text.
const LONGEST: usize = 64;
/// From this many digits on, a number is a phone number, an order, a time; not a category.
const MOST_DIGITS: usize = 6;
/// A run of hexadecimal digits of this length, with digits among them, is a hash or half a UUID.
const LONGEST_HEX: usize = 12;
/// A word of this length that mixes letters with several digits is a key or a token.
const LONGEST_MIXED: usize = 16;

/// Whether a value may name a person or a single record: e-mail addresses, phone numbers, UUIDs and other ids, long
/// digit strings, keys, and free text. Errs on the side of yes: the answer to a wrong yes is an allow list.
pub(super) fn may_be_private(value: &str) -> bool {
    value.chars().count() > LONGEST
        || value.chars().any(char::is_control)
        || value.contains(['@', '＠'])
        || value.chars().filter(|c| c.is_numeric()).count() > MOST_DIGITS
        || value.split(|c: char| !c.is_alphanumeric()).any(is_id)
}

fn is_id(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hash = word.len() >= LONGEST_HEX && digits >= 1 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let is_token = word.len() >= LONGEST_MIXED && digits >= 3;
    is_hash || is_token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_numbers_and_ids_are_private() {
        for value in [
            "ada@example.com",
            "＋８６１３８００１３８０００",
            "+49 (170) 1234567",
            "138-0013-8000",
            "11010519491231002X",
            "0195c6a2-7f3e-7b1c-9d00-abcdefabcdef",
            "deadbeefcafe4",
            "sk-proj1Ab2Cd3Ef4Gh5Ij6",
            "2026-11-21",
            "line\nbreak",
            "I would like to know why the last invoice that I received is so much higher than before",
        ] {
            assert!(may_be_private(value), "{value}");
        }
    }

    #[test]
    fn categories_are_not() {
        for value in ["billing", "tier-2", "2026-Q4", "售后服务", "EMEA/north", "gpt-4o-mini", "Mon 9:00", "feedbacked"] {
            assert!(!may_be_private(value), "{value}");
        }
    }
}
