//! A text as the rules look at it: plain characters in place of their disguises.
//!
//! The same address may stand there as `ada@b.c`, `ada\u0040b.c` (JSON inside a text, escaped any number of times), `ada%40b.c`, `ada＠b.c` or
//! `ada&#64;b.c`. The rules see the first; what they find is taken out of the text as it was.

use std::borrow::Cow;

/// Bytes with which a disguise begins.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    special[b'\\' as usize] = true;
    special[b'%' as usize] = true;
    special[b'&' as usize] = true;
    // Soft hyphens and no-break spaces; zero-width characters, dashes and spaces; full-width forms; mathematical digits are left alone.
    special[0xc2] = true;
    special[0xe2] = true;
    special[0xef] = true;
    special
};

/// A text without disguises, and where each part of it came from.
pub(super) struct Folded<'a> {
    pub(super) text: Cow<'a, str>,
    /// Where a stretch begins that is the same in both: in the folded text, in the original.
    stretches: Vec<(usize, usize)>,
}

/// What stands at a place of a text.
enum Disguise {
    /// This character, written in so many bytes.
    Of(char, usize),
    /// Nothing that anybody sees, in so many bytes.
    Nothing(usize),
    /// Itself.
    None,
}

impl<'a> Folded<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let Some((mut at, mut disguise)) = next(text, 0) else {
            return Folded { text: Cow::Borrowed(text), stretches: Vec::new() };
        };
        let mut folded = String::with_capacity(text.len());
        let mut stretches = vec![(0, 0)];
        let mut copied = 0;
        loop {
            folded.push_str(&text[copied..at]);
            let length = match disguise {
                Disguise::Of(character, length) => {
                    stretches.push((folded.len(), at));
                    folded.push(character);
                    length
                }
                Disguise::Nothing(length) => length,
                Disguise::None => 0,
            };
            copied = (at + length).min(bytes.len());
            stretches.push((folded.len(), copied));
            match next(text, copied) {
                Some((later, what)) => (at, disguise) = (later, what),
                None => break,
            }
        }
        folded.push_str(&text[copied..]);
        Folded { text: Cow::Owned(folded), stretches }
    }

    /// Whether anything was in disguise.
    pub(super) fn is_changed(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    /// The place in the original text.
    pub(super) fn original(&self, at: usize) -> usize {
        if self.stretches.is_empty() {
            return at;
        }
        let next = self.stretches.partition_point(|(folded, _)| *folded <= at);
        let (folded, original) = self.stretches[next - 1];
        original + (at - folded)
    }
}

/// The next disguise from here on.
fn next(text: &str, from: usize) -> Option<(usize, Disguise)> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        at += bytes[at..].iter().position(|byte| SPECIAL[usize::from(*byte)])?;
        match disguise(bytes, at) {
            Disguise::None => at += 1,
            found => return Some((at, found)),
        }
    }
}

fn disguise(bytes: &[u8], at: usize) -> Disguise {
    match bytes[at] {
        b'\\' => escape(bytes, at),
        b'%' => percent(bytes, at),
        b'&' => entity(bytes, at),
        0xc2 => match bytes.get(at + 1) {
            Some(0xad) => Disguise::Nothing(2),
            Some(0xa0) => Disguise::Of(' ', 2),
            _ => Disguise::None,
        },
        0xe2 => punctuation(bytes.get(at + 1), bytes.get(at + 2)),
        _ => full_width(bytes.get(at + 1), bytes.get(at + 2)),
    }
}

/// A character after any number of backslashes. JSON within JSON doubles them at each level.
fn escape(bytes: &[u8], at: usize) -> Disguise {
    let slashes = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
    let letter = at + slashes;
    let plain = |character| Disguise::Of(character, slashes + 1);
    match bytes.get(letter) {
        Some(b'u') => match hex(bytes, letter + 1, 4) {
            Some(first @ 0xd800..0xdc00) => surrogates(bytes, first, at, letter + 5),
            Some(code) => char::from_u32(code).map_or(Disguise::None, |character| simple(character, slashes + 5)),
            None => Disguise::None,
        },
        Some(b'x') => match hex(bytes, letter + 1, 2).and_then(char::from_u32) {
            Some(character) if character.is_ascii() => Disguise::Of(character, slashes + 3),
            _ => Disguise::None,
        },
        Some(b'n' | b'r') => plain('\n'),
        Some(b't' | b'f' | b'b') => plain('\t'),
        Some(quote @ (b'"' | b'\'' | b'/')) => plain(char::from(*quote)),
        _ => Disguise::None,
    }
}

fn surrogates(bytes: &[u8], first: u32, start: usize, at: usize) -> Disguise {
    let slashes = bytes[at.min(bytes.len())..].iter().take_while(|byte| **byte == b'\\').count();
    if slashes > 0
        && bytes.get(at + slashes) == Some(&b'u')
        && let Some(second @ 0xdc00..0xe000) = hex(bytes, at + slashes + 1, 4)
        && let Some(character) = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    {
        return Disguise::Of(character, at + slashes + 5 - start);
    }
    Disguise::None
}

/// A character of an escape may itself be one that stands for another.
fn simple(character: char, length: usize) -> Disguise {
    let mut buffer = [0; 4];
    match disguise_of_character(character.encode_utf8(&mut buffer).as_bytes()) {
        Disguise::Of(simpler, _) => Disguise::Of(simpler, length),
        Disguise::Nothing(_) => Disguise::Nothing(length),
        Disguise::None => Disguise::Of(character, length),
    }
}

fn disguise_of_character(bytes: &[u8]) -> Disguise {
    if matches!(bytes[0], 0xc2 | 0xe2 | 0xef) { disguise(bytes, 0) } else { Disguise::None }
}

/// `%40`, and `%2540`, which is the same escaped twice.
fn percent(bytes: &[u8], at: usize) -> Disguise {
    let mut digits = at + 1;
    while bytes.get(digits..digits + 2) == Some(b"25") && hex(bytes, digits + 2, 2).is_some() {
        digits += 2;
    }
    match hex(bytes, digits, 2).and_then(char::from_u32) {
        Some(character @ ' '..='~') => Disguise::Of(character, digits + 2 - at),
        Some('\t' | '\n' | '\r') => Disguise::Of('\n', digits + 2 - at),
        _ => Disguise::None,
    }
}

/// `&#64;`, `&#x40;` and the two names that matter.
fn entity(bytes: &[u8], at: usize) -> Disguise {
    for (name, character) in [(&b"&amp;"[..], '&'), (b"&quot;", '"'), (b"&nbsp;", ' ')] {
        if bytes[at..].starts_with(name) {
            return Disguise::Of(character, name.len());
        }
    }
    if bytes.get(at + 1) != Some(&b'#') {
        return Disguise::None;
    }
    let (start, radix) = if matches!(bytes.get(at + 2), Some(b'x' | b'X')) { (at + 3, 16) } else { (at + 2, 10) };
    let length = bytes[start.min(bytes.len())..].iter().take(6).position(|byte| *byte == b';');
    let code = length
        .and_then(|length| std::str::from_utf8(&bytes[start..start + length]).ok())
        .and_then(|text| u32::from_str_radix(text, radix).ok());
    match (code.and_then(char::from_u32), length) {
        (Some(character @ ' '..='~'), Some(length)) => Disguise::Of(character, start + length + 1 - at),
        _ => Disguise::None,
    }
}

fn punctuation(second: Option<&u8>, third: Option<&u8>) -> Disguise {
    match (second, third) {
        (Some(0x80), Some(0x8b..=0x8f | 0xaa..=0xae)) | (Some(0x81), Some(0xa0..=0xa4)) => Disguise::Nothing(3),
        (Some(0x80), Some(0x80..=0x8a | 0xaf)) => Disguise::Of(' ', 3),
        (Some(0x80), Some(0x90..=0x95)) | (Some(0x88), Some(0x92)) => Disguise::Of('-', 3),
        _ => Disguise::None,
    }
}

/// The full-width forms of ASCII; the byte order mark.
fn full_width(second: Option<&u8>, third: Option<&u8>) -> Disguise {
    match (second, third) {
        (Some(0xbb), Some(0xbf)) => Disguise::Nothing(3),
        (Some(0xbc), Some(third @ 0x81..=0xbf)) => Disguise::Of(char::from(third - 0x81 + b'!'), 3),
        (Some(0xbd), Some(third @ 0x80..=0x9e)) => Disguise::Of(char::from(third - 0x80 + b'`'), 3),
        _ => Disguise::None,
    }
}

fn hex(bytes: &[u8], at: usize, digits: usize) -> Option<u32> {
    let digits = bytes.get(at..at + digits)?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_become_what_they_stand_for() {
        for (text, folded) in [
            ("ada@b.c", "ada@b.c"),
            (r"ada\u0040b.c ada\\u0040b.c ada\\\\u0040b.c", "ada@b.c ada@b.c ada@b.c"),
            ("ada%40b.c ada%2540b.c ada&#64;b.c ada&#x40;b.c", "ada@b.c ada@b.c ada@b.c ada@b.c"),
            ("ada＠b．c １３８", "ada@b.c 138"),
            (r"\uff20\uff11", "@1"),
            ("1\u{200b}38\u{ad}0", "1380"),
            ("+49\u{a0}170\u{2011}1", "+49 170-1"),
            (r"a\nb\/c\x40d", "a\nb/c@d"),
            (r"\ud83d\ude00 \ud83d \u00zz \", "😀 \\ud83d \\u00zz \\"),
            ("50% &c; 100%", "50% &c; 100%"),
        ] {
            assert_eq!(Folded::new(text).text, folded);
        }
    }

    #[test]
    fn places_lead_back_to_the_original() {
        let text = "x＠y%40\u{200b}z";
        let folded = Folded::new(text);
        assert_eq!(folded.text, "x@y@z");
        let places: Vec<&str> = (0..5).map(|at| &text[folded.original(at)..folded.original(at + 1)]).collect();
        assert_eq!(places, ["x", "＠", "y", "%40\u{200b}", "z"]);
    }
}
