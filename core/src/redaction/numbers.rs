//! Numbers that name a person or an account: where digits stand close together, and what they may be.
//!
//! Digits are everywhere (times, prices, counts, ids, hashes), so a number is taken out only if it proves what it is: by check digits, by the
//! plan of a country's telephone numbers, or by the word before it.

use super::{Rule, Span, ids, phone};

/// Fewer digits name nobody.
const LEAST: usize = 7;
/// Digits further apart than this do not belong together.
const FAR: usize = 8;
/// A number has no more groups of digits than this.
const GROUPS: usize = 8;
/// What may part them. Anything else, a comma above all, parts two numbers.
const SEPARATORS: [&str; 12] = [" ", "-", ".", "/", ") ", ")", " (", ")-", "(", " - ", "\t", "--"];

/// Digits without anything between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Some groups in a row with what parts them, as one candidate.
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    pub(super) groups: &'a [Group],
    /// The digits of all groups.
    pub(super) digits: &'a [u8],
}

impl Number<'_> {
    pub(super) fn start(&self) -> usize {
        self.groups[0].start
    }

    pub(super) fn end(&self) -> usize {
        self.groups[self.groups.len() - 1].end
    }

    /// The lengths of the groups are these.
    pub(super) fn is_grouped(&self, lengths: &[usize]) -> bool {
        self.groups.len() == lengths.len() && self.groups.iter().zip(lengths).all(|(group, length)| group.end - group.start == *length)
    }

    /// What stands between a group and the next one.
    pub(super) fn separator(&self, after: usize) -> &str {
        &self.text[self.groups[after].end..self.groups[after + 1].start]
    }

    pub(super) fn separators(&self) -> impl Iterator<Item = &str> {
        (0..self.groups.len() - 1).map(|after| self.separator(after))
    }

    pub(super) fn before(&self) -> &str {
        &self.text[..self.start()]
    }

    pub(super) fn after(&self) -> &str {
        &self.text[self.end()..]
    }
}

/// Which kinds of numbers are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) phone: bool,
    pub(super) id_card: bool,
    pub(super) iban: bool,
    pub(super) payment_card: bool,
}

/// Finds them all, in order.
pub(super) fn find(text: &str, wanted: Wanted, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(first) = next_digit(bytes, at) {
        let (end, digits) = cluster(bytes, first);
        if digits >= LEAST || (digits + 1 == LEAST && has_letter_for_check(&bytes[end..])) {
            examine(text, first, end, wanted, spans);
        }
        at = end;
    }
}

/// The check character of an id card of Hong Kong may be an A: `C161325(A)`.
fn has_letter_for_check(rest: &[u8]) -> bool {
    matches!(rest, [b'(' | b'A', ..]) && matches!(rest.strip_prefix(b"(").unwrap_or(rest), [b'A' | b'a', ..])
}

/// The next digit. Most of a text has none, and is walked over in strides that compilers turn into vector instructions.
fn next_digit(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(stride) = bytes.get(at..at + 32) {
        if stride.iter().fold(false, |any, byte| any | byte.wrapping_sub(b'0').lt(&10)) {
            break;
        }
        at += 32;
    }
    bytes[at..].iter().position(u8::is_ascii_digit).map(|digit| at + digit)
}

/// Where a cluster of digits ends that begins here, and how many it has.
fn cluster(bytes: &[u8], first: usize) -> (usize, usize) {
    let (mut last, mut digits, mut at) = (first, 1, first + 1);
    while at < bytes.len() && at - last <= FAR {
        if bytes[at].is_ascii_digit() {
            last = at;
            digits += 1;
        }
        at += 1;
    }
    (last + 1, digits)
}

fn examine(text: &str, start: usize, end: usize, wanted: Wanted, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < end {
        if !bytes[at].is_ascii_alphanumeric() {
            at += 1;
            continue;
        }
        // A cluster may begin in the middle of a token: `a13…`, `RSSMRA85…`.
        let token_start = at - bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let token_end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if let Some(end_of_uuid) = uuid(bytes, token_start) {
            at = end_of_uuid;
            continue;
        }
        let found = lettered(text, token_start, token_end, wanted).or_else(|| plain(text, token_start, token_end, wanted));
        match found {
            Some(span) => {
                at = span.end;
                spans.push(span);
            }
            None => at = token_end,
        }
    }
}

/// The end of the UUID of which a group begins here. It names a record and not a person.
fn uuid(bytes: &[u8], group: usize) -> Option<usize> {
    [0, 9, 14, 19, 24].into_iter().find_map(|before| uuid_from(bytes, group.checked_sub(before)?))
}

fn uuid_from(bytes: &[u8], start: usize) -> Option<usize> {
    let candidate = bytes.get(start..start + 36)?;
    let is_uuid = candidate.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    is_uuid.then_some(start + 36)
}

/// Tokens that mix letters and digits.
fn lettered(text: &str, start: usize, end: usize, wanted: Wanted) -> Option<Span> {
    if wanted.iban
        && let Some(end) = ids::iban(text, start, end)
    {
        return Some(Span { start, end, rule: Rule::Iban.index() });
    }
    if wanted.id_card
        && let Some((start, end)) = ids::lettered(text, start, end)
    {
        return Some(Span { start, end, rule: Rule::IdCard.index() });
    }
    None
}

/// Numbers that begin with this token. The longest one counts.
fn plain(text: &str, start: usize, end: usize, wanted: Wanted) -> Option<Span> {
    let bytes = text.as_bytes();
    let first = bytes[start..end].iter().position(u8::is_ascii_digit)? + start;
    if !all_digits(&bytes[first..end]) && !is_last_letter(bytes, first, end) || !may_stand_before(&bytes[start..first]) {
        return None;
    }
    let mut groups = [Group { start: 0, end: 0 }; GROUPS];
    let count = collect(text, first, &mut groups);
    let mut digits = Vec::with_capacity(32);
    for count in (1..=count).rev() {
        let groups = &groups[..count];
        digits.clear();
        groups.iter().for_each(|group| digits.extend_from_slice(&bytes[group.start..group.end]));
        if !(LEAST..=19).contains(&digits.len()) {
            continue;
        }
        let number = Number { text, groups, digits: &digits };
        if let Some(span) = judge(&number, wanted) {
            return Some(span);
        }
    }
    None
}

fn all_digits(token: &[u8]) -> bool {
    token.iter().all(u8::is_ascii_digit)
}

/// The letter at the end of a resident's id (`…X`) is a part of it.
fn is_last_letter(bytes: &[u8], start: usize, end: usize) -> bool {
    matches!(bytes[end - 1], b'X' | b'x') && all_digits(&bytes[start..end - 1])
}

/// Letters right before a number: a word (`tel138…`), not the beginning of a hash.
fn may_stand_before(letters: &[u8]) -> bool {
    letters.is_empty() || (letters.len() <= 8 && letters.iter().any(|byte| !byte.is_ascii_hexdigit()))
}

/// The groups of digits from here on, as far as what parts them may stand within a number.
fn collect(text: &str, first: usize, groups: &mut [Group; GROUPS]) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut count) = (first, 0);
    loop {
        let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        groups[count] = Group { start: at, end };
        count += 1;
        let gap = SEPARATORS.iter().find(|separator| follows(&bytes[end..], separator.as_bytes())).map(|separator| separator.len());
        let Some(gap) = gap.filter(|_| count < GROUPS) else { return count };
        at = end + gap;
    }
}

/// The separator comes now, and a digit after it.
fn follows(bytes: &[u8], separator: &[u8]) -> bool {
    bytes.starts_with(separator) && bytes.get(separator.len()).is_some_and(u8::is_ascii_digit)
}

/// What a number is, if it is any of these.
fn judge(number: &Number<'_>, wanted: Wanted) -> Option<Span> {
    let (start, end) = (number.start(), number.end());
    let ends = !number.after().starts_with(|next: char| next.is_ascii_alphanumeric());
    if wanted.id_card
        && let Some(end) = ids::resident(number)
    {
        return Some(Span { start, end, rule: Rule::IdCard.index() });
    }
    if !ends {
        return None;
    }
    if wanted.payment_card && ids::is_payment_card(number) {
        return Some(Span { start, end, rule: Rule::PaymentCard.index() });
    }
    if wanted.id_card && ids::is_id_card(number) {
        return Some(Span { start, end, rule: Rule::IdCard.index() });
    }
    if wanted.phone
        && let Some(start) = phone::begins(number)
    {
        return Some(Span { start, end, rule: Rule::Phone.index() });
    }
    None
}
