//! Telephone numbers: international ones by their `+`, national ones by the plans of China, North America and Europe, all others by the word
//! before them.

use super::numbers::Number;

/// What announces a telephone number as a part of a word, in lower case: `customerPhone`, `Telefonnummer`.
const PARTS: [&str; 15] = [
    "phone",
    "mobile",
    "whatsapp",
    "wechat",
    "telefon",
    "téléphone",
    "teléfono",
    "móvil",
    "movil",
    "cellulare",
    "电话",
    "手机",
    "联系",
    "致电",
    "微信",
];
/// What does so as a word of its own. Others have these letters in them.
const WORDS: [&str; 7] = ["tel", "fax", "cell", "sms", "handy", "mobil", "ph"];

/// Where the telephone number begins, its `+` or bracket included, if this is one.
pub(super) fn begins(number: &Number<'_>) -> Option<usize> {
    let before = number.before();
    let length = number.digits.len();
    if let Some(rest) = before.strip_suffix('+').or_else(|| before.strip_suffix("+(")) {
        return (8..=15).contains(&length).then_some(rest.len());
    }
    if is_date(number) || !has_usual_separators(number) {
        return None;
    }
    let start = if before.ends_with('(') { before.len() - 1 } else { before.len() };
    let is_phone = is_international(number) || is_chinese(number) || is_american(number) || is_european(number) || is_announced(number);
    (is_phone && is_apart(number)).then_some(start)
}

/// Not a list of small numbers, not a decimal fraction.
fn has_usual_separators(number: &Number<'_>) -> bool {
    let dots = number.separators().filter(|separator| *separator == ".").count();
    // One dot is that of a fraction, and zeros in front of it are no trunk prefix.
    dots != 1 && number.groups.iter().skip(1).all(|group| group.end - group.start >= 2) && !number.before().ends_with(['.', ','])
}

/// What goes on at either end is a part of another thing: an id, a path of numbers, a fraction.
fn is_apart(number: &Number<'_>) -> bool {
    let (before, after) = (number.before(), number.after());
    let fraction = after.starts_with(['.', ',', '-', '_']) && after[1..].starts_with(|next: char| next.is_ascii_alphanumeric());
    let time = before.strip_suffix(':').is_some_and(|hours| hours.ends_with(|last: char| last.is_ascii_digit()));
    let joined = time || before.ends_with(['-', '_', '#', '$', '€', '¥', '£']) && !before.ends_with(" -");
    // A mobile number of China in a file name or a user's id is one all the same.
    (!fraction && !joined) || is_chinese_mobile(number.digits)
}

/// 0049…, 8613800138000, 14155552671
fn is_international(number: &Number<'_>) -> bool {
    let digits = number.digits;
    let lead = number.groups[0].end - number.groups[0].start;
    let with_zeros = lead > 2 && digits.starts_with(b"00") && digits[2] != b'0' && (11..=17).contains(&digits.len());
    with_zeros || digits.strip_prefix(b"86").is_some_and(is_chinese_mobile)
}

fn is_chinese(number: &Number<'_>) -> bool {
    is_chinese_mobile(number.digits) || is_chinese_landline(number)
}

fn is_chinese_mobile(digits: &[u8]) -> bool {
    let national = digits.strip_prefix(b"86").filter(|rest| rest.len() == 11).unwrap_or(digits);
    national.len() == 11 && national[0] == b'1' && (b'3'..=b'9').contains(&national[1])
}

/// 010-12345678, (0755) 1234567
fn is_chinese_landline(number: &Number<'_>) -> bool {
    number.digits[0] == b'0'
        && number.digits[1] != b'0'
        && [[3, 8], [3, 7], [4, 7], [4, 8]].iter().any(|lengths| number.is_grouped(lengths))
}

/// 415-555-2671, (415) 555-2671, 1 415 555 2671; without separators only what the plan allows.
fn is_american(number: &Number<'_>) -> bool {
    let digits = number.digits;
    if number.is_grouped(&[3, 3, 4])
        || number.is_grouped(&[1, 3, 3, 4]) && digits[0] == b'1'
        || number.is_grouped(&[3, 4]) && number.before().ends_with('(')
    {
        return true;
    }
    let national = if digits.len() == 11 && digits[0] == b'1' { &digits[1..] } else { digits };
    let planned = |group: &[u8]| (b'2'..=b'9').contains(&group[0]);
    let joined = number.groups.len() == 1 || number.is_grouped(&[3, 7]) || number.is_grouped(&[1, 10]) || number.is_grouped(&[6, 4]);
    joined && national.len() == 10 && planned(national) && planned(&national[3..])
}

/// 030 1234567, 01 23 45 67 89, 07700 900123; 612 345 678.
fn is_european(number: &Number<'_>) -> bool {
    let digits = number.digits;
    if digits[0] == b'0' {
        return digits[1] != b'0' && (9..=12).contains(&digits.len()) && number.groups[0].end - number.groups[0].start >= 2;
    }
    let spaced = number.separators().all(|separator| separator == " ");
    let iberian = number.is_grouped(&[3, 3, 3]) || number.is_grouped(&[3, 2, 2, 2]);
    spaced && iberian && matches!(digits[0], b'6'..=b'9') && number.groups.len() > 1
}

/// A word for a telephone stands shortly before it.
fn is_announced(number: &Number<'_>) -> bool {
    let before = number.before();
    let mut from = before.len().saturating_sub(24);
    while !before.is_char_boundary(from) {
        from += 1;
    }
    // No other number lies between.
    let words = before[from..].to_lowercase();
    let words = words.rsplit(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
    number.digits.len() <= 15 && is_word(words)
}

/// Whether a word for a telephone stands in a text.
pub(super) fn is_word(text: &str) -> bool {
    let text = text.to_lowercase();
    PARTS.iter().any(|part| text.contains(part)) || text.split(|c: char| !c.is_alphabetic()).any(|word| WORDS.contains(&word))
}

/// 01.02.2026, 2026-01-02 …: a date, with or without a time after it.
fn is_date(number: &Number<'_>) -> bool {
    let lengths: Vec<usize> = number.groups.iter().take(3).map(|group| group.end - group.start).collect();
    let value = |at: usize| number.text[number.groups[at].start..number.groups[at].end].parse::<u32>().unwrap_or(u32::MAX);
    match lengths[..] {
        [4, 2, 2] => (1900..2100).contains(&value(0)) && value(1) <= 12 && value(2) <= 31,
        [1..=2, 1..=2, 4] => value(0) <= 31 && value(1) <= 31 && (1900..2100).contains(&value(2)),
        _ => false,
    }
}
