//! Numbers that prove themselves by check digits: id cards, bank accounts, payment cards.

use super::numbers::Number;

/// The value of `text` as digits.
fn digit(byte: u8) -> u32 {
    u32::from(byte - b'0')
}

/// The end of a Chinese resident's id: region, birthday, serial number, check digit (ISO 7064 mod 11-2), which may be an X after the last group.
pub(super) fn resident(number: &Number<'_>) -> Option<usize> {
    let digits = number.digits;
    let after = number.after();
    let (check, end) = match digits.len() {
        18 => (digit(digits[17]), number.end()),
        17 if after.starts_with(['X', 'x']) => (10, number.end() + 1),
        _ => return None,
    };
    if number.text[end..].starts_with(|next: char| next.is_ascii_alphanumeric()) {
        return None;
    }
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(byte, weight)| digit(*byte) * weight).sum();
    let fits = (12 - sum % 11) % 11 == check && matches!(digits[0], b'1'..=b'9') && is_birthday(&digits[6..14]);
    fits.then_some(end)
}

/// `YYYYMMDD`
fn is_birthday(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| digits[range].iter().fold(0, |sum, byte| sum * 10 + digit(*byte));
    (1850..2100).contains(&number(0..4)) && (1..=12).contains(&number(4..6)) && (1..=31).contains(&number(6..8))
}

/// Luhn's check, and a first digit that some issuer has.
pub(super) fn is_payment_card(number: &Number<'_>) -> bool {
    let digits = number.digits;
    let usual = number.separators().all(|separator| matches!(separator, " " | "-"));
    let even = number.groups.len() == 1 || number.groups.iter().all(|group| (2..=7).contains(&(group.end - group.start)));
    usual && even && has_issuer(digits) && luhn(digits) && !number.before().ends_with(['.', ','])
}

fn has_issuer(digits: &[u8]) -> bool {
    let lead = |length: usize| digits[..length].iter().fold(0, |sum, byte| sum * 10 + digit(*byte));
    match digits.len() {
        13 => digits[0] == b'4',
        14 => matches!(lead(2), 36 | 38 | 39 | 30),
        15 => matches!(lead(2), 34 | 37),
        16 => {
            matches!(digits[0], b'4' | b'5' | b'6')
                || (2221..=2720).contains(&lead(4))
                || (3528..=3589).contains(&lead(4))
                || matches!(lead(2), 81 | 36)
        }
        17..=19 => matches!(lead(2), 62 | 50 | 56 | 57 | 58 | 60 | 63 | 64 | 65 | 67) || digits[0] == b'4' && digits.len() == 19,
        _ => false,
    }
}

/// The check of payment cards.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let doubled = |value: u32| if value > 4 { value * 2 - 9 } else { value * 2 };
    let sum: u32 = digits.iter().rev().enumerate().map(|(at, byte)| if at % 2 == 1 { doubled(digit(*byte)) } else { digit(*byte) }).sum();
    sum.is_multiple_of(10)
}

/// Id cards of digits only, other than the Chinese one.
pub(super) fn is_id_card(number: &Number<'_>) -> bool {
    let digits = number.digits;
    let single = number.groups.len() == 1;
    match digits.len() {
        9 => {
            is_social_security(number)
                || (is_announced(number, &["bsn", "burgerservice"]) && weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2, -1], 11))
        }
        11 => {
            (single && is_pesel(digits))
                || ((single || number.is_grouped(&[3, 3, 3, 2])) && is_cpf(digits))
                || ((single || number.is_grouped(&[2, 2, 2, 3, 2])) && is_belgian(digits))
                || ((single || number.is_grouped(&[2, 3, 3, 3])) && is_german_tax_id(digits))
        }
        12 => (number.is_grouped(&[4, 4, 4]) || is_announced(number, &["aadhaar", "uidai"])) && verhoeff(digits) && digits[0] > b'1',
        13 => {
            (single || number.is_grouped(&[6, 7])) && is_korean(digits) || number.is_grouped(&[1, 2, 2, 2, 3, 3]) && is_french_stem(digits)
        }
        15 => is_french(digits),
        _ => false,
    }
}

fn is_announced(number: &Number<'_>, words: &[&str]) -> bool {
    let before = number.before();
    let tail: String = before.chars().rev().take(24).collect::<Vec<_>>().into_iter().rev().collect();
    let tail = tail.to_lowercase();
    words.iter().any(|word| tail.contains(word))
}

fn weighted(digits: &[u8], weights: &[i64], modulus: i64) -> bool {
    let sum: i64 = digits.iter().zip(weights).map(|(byte, weight)| i64::from(digit(*byte)) * weight).sum();
    sum % modulus == 0
}

/// United States: 078-05-1120. It has no check digit, so the form must be exact.
fn is_social_security(number: &Number<'_>) -> bool {
    let digits = number.digits;
    number.is_grouped(&[3, 2, 4])
        && number.separators().all(|separator| separator == "-")
        && &digits[..3] != b"000"
        && &digits[..3] != b"666"
        && digits[0] != b'9'
        && &digits[3..5] != b"00"
        && &digits[5..] != b"0000"
}

/// Poland. The month says the century.
fn is_pesel(digits: &[u8]) -> bool {
    let month = (digit(digits[2]) * 10 + digit(digits[3])) % 20;
    let day = digit(digits[4]) * 10 + digit(digits[5]);
    (1..=12).contains(&month) && (1..=31).contains(&day) && weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1], 10)
}

/// Brazil.
fn is_cpf(digits: &[u8]) -> bool {
    let check = |length: usize| {
        let sum: u32 = digits[..length].iter().enumerate().map(|(at, byte)| digit(*byte) * (length as u32 + 1 - at as u32)).sum();
        sum * 10 % 11 % 10 == digit(digits[length])
    };
    digits.iter().any(|byte| *byte != digits[0]) && check(9) && check(10)
}

/// Belgium: a birthday, a serial number, mod 97.
fn is_belgian(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| digits[range].iter().fold(0_u64, |sum, byte| sum * 10 + u64::from(digit(*byte)));
    let check = number(9..11);
    let month = number(2..4);
    let fits = |stem: u64| 97 - stem % 97 == check;
    (1..=12).contains(&month) && (1..=31).contains(&number(4..6)) && (fits(number(0..9)) || fits(2_000_000_000 + number(0..9)))
}

/// Germany: ISO 7064 mod 11, 10, and of the first ten digits one or two stand there twice or thrice.
fn is_german_tax_id(digits: &[u8]) -> bool {
    let mut counts = [0_u8; 10];
    digits[..10].iter().for_each(|byte| counts[digit(*byte) as usize] += 1);
    let repeated = counts.iter().filter(|count| **count > 1).count() == 1 && counts.iter().all(|count| *count <= 3);
    digits[0] != b'0' && repeated && mod_11_10(digits)
}

fn mod_11_10(digits: &[u8]) -> bool {
    let (check, rest) = (digit(digits[digits.len() - 1]), &digits[..digits.len() - 1]);
    let product = rest.iter().fold(10, |product, byte| {
        let sum = (digit(*byte) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == check
}

/// India.
fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let permuted = |times: usize, value: u8| (0..times % 8).fold(value, |value, _| PERMUTATION[usize::from(value)]);
    // The dihedral group of the pentagon.
    let multiply = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    digits.iter().rev().enumerate().fold(0, |check, (at, byte)| multiply(check, permuted(at, byte - b'0'))) == 0
}

/// Korea: a birthday, the century and sex, a check digit.
fn is_korean(digits: &[u8]) -> bool {
    let number = |at: usize| digit(digits[at]) * 10 + digit(digits[at + 1]);
    let sum: u32 = digits.iter().zip([2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]).map(|(byte, weight)| digit(*byte) * weight).sum();
    (1..=12).contains(&number(2)) && (1..=31).contains(&number(4)) && (11 - sum % 11) % 10 == digit(digits[12])
}

/// France: 1 85 05 78 006 084 and its key, which is 97 minus the rest by 97.
fn is_french(digits: &[u8]) -> bool {
    let number = |range: &[u8]| range.iter().fold(0_u64, |sum, byte| sum * 10 + u64::from(digit(*byte)));
    is_french_stem(digits) && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
}

fn is_french_stem(digits: &[u8]) -> bool {
    matches!(digits[0], b'1' | b'2') && matches!((digits[3], digits[4]), (b'0', b'1'..=b'9') | (b'1', b'0'..=b'2'))
}

/// Id cards with letters in them: the part of the text that is one, around this token.
pub(super) fn lettered(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let token = &bytes[start..end];
    // Hashes are written in lower case, and one of eleven of them would pass.
    if token.iter().any(u8::is_ascii_lowercase) {
        return None;
    }
    let fits = match token.len() {
        9 => is_spanish(token) || is_singapore(token),
        10 => is_taiwanese(token) || is_german_card(token),
        16 => is_italian(token),
        _ => false,
    };
    if fits {
        return Some((start, end));
    }
    // A123456(3) of Hong Kong; 131052-308T of Finland.
    if matches!(token.len(), 7 | 8) && bytes.get(end) == Some(&b'(') && bytes.get(end + 2) == Some(&b')') {
        let check = bytes[end + 1].to_ascii_uppercase();
        return is_hong_kong(token, check).then_some((start, end + 3));
    }
    if matches!(token.len(), 8 | 9) && is_hong_kong(&token[..token.len() - 1], token[token.len() - 1]) {
        return Some((start, end));
    }
    if token.len() == 6 && matches!(bytes.get(end), Some(b'-' | b'+')) {
        let last = bytes.get(end + 1..end + 5)?;
        let over = bytes.get(end + 5).is_none_or(|next| !next.is_ascii_alphanumeric());
        return (over && is_finnish(token, last)).then_some((start, end + 5));
    }
    None
}

fn all_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

fn value(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum * 10 + u64::from(digit(*byte)))
}

/// Spain: 12345678Z, X1234567L.
fn is_spanish(token: &[u8]) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let lead = match token[0] {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        byte if byte.is_ascii_digit() => u64::from(digit(byte)),
        _ => return false,
    };
    all_digits(&token[1..8]) && LETTERS[((lead * 10_000_000 + value(&token[1..8])) % 23) as usize] == token[8]
}

fn is_singapore(token: &[u8]) -> bool {
    if !matches!(token[0], b'S' | b'T' | b'F' | b'G') || !all_digits(&token[1..8]) {
        return false;
    }
    let sum: u32 = token[1..8].iter().zip([2, 7, 6, 5, 4, 3, 2]).map(|(byte, weight)| digit(*byte) * weight).sum();
    let sum = sum + if matches!(token[0], b'T' | b'G') { 4 } else { 0 };
    let letters: &[u8; 11] = if matches!(token[0], b'S' | b'T') { b"JZIHGFEDCBA" } else { b"XWUTRQPNMLK" };
    letters[(sum % 11) as usize] == token[8]
}

fn is_taiwanese(token: &[u8]) -> bool {
    const LETTERS: &[u8; 26] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let Some(place) = LETTERS.iter().position(|letter| *letter == token[0]) else { return false };
    if !all_digits(&token[1..]) || !matches!(token[1], b'1' | b'2' | b'8' | b'9') {
        return false;
    }
    let code = place as u32 + 10;
    let sum: u32 = token[1..].iter().zip([8, 7, 6, 5, 4, 3, 2, 1, 1]).map(|(byte, weight)| digit(*byte) * weight).sum();
    (code / 10 + code % 10 * 9 + sum).is_multiple_of(10)
}

/// Germany's card: nine characters and a check digit by 7, 3, 1.
fn is_german_card(token: &[u8]) -> bool {
    const ALLOWED: &[u8] = b"0123456789CFGHJKLMNPRTVWXYZ";
    let first = matches!(
        token[0],
        b'C' | b'F' | b'G' | b'H' | b'J' | b'K' | b'L' | b'M' | b'N' | b'P' | b'R' | b'T' | b'V' | b'W' | b'X' | b'Y' | b'Z'
    );
    if !first || !token[9].is_ascii_digit() || token[..9].iter().any(|byte| !ALLOWED.contains(byte)) {
        return false;
    }
    let number = |byte: u8| if byte.is_ascii_digit() { digit(byte) } else { u32::from(byte - b'A') + 10 };
    let sum: u32 = token[..9].iter().enumerate().map(|(at, byte)| number(*byte) * [7, 3, 1][at % 3]).sum();
    sum % 10 == digit(token[9])
}

/// Italy: letters of the name, birthday, place, check letter.
fn is_italian(token: &[u8]) -> bool {
    const ODD: [u32; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let letters = [0, 1, 2, 3, 4, 5, 8, 11, 15];
    let shape = (0..16).all(|at| if letters.contains(&at) { token[at].is_ascii_uppercase() } else { token[at].is_ascii_alphanumeric() });
    let place = |byte: u8| if byte.is_ascii_digit() { digit(byte) as usize } else { usize::from(byte - b'A') };
    let sum: u32 = token[..15].iter().enumerate().map(|(at, byte)| if at % 2 == 0 { ODD[place(*byte)] } else { place(*byte) as u32 }).sum();
    shape && sum % 26 == u32::from(token[15].wrapping_sub(b'A'))
}

/// Hong Kong: one or two letters, six digits, a check character.
fn is_hong_kong(stem: &[u8], check: u8) -> bool {
    let letters = stem.len().saturating_sub(6);
    if !matches!(letters, 1 | 2) || !stem[..letters].iter().all(u8::is_ascii_uppercase) || !all_digits(&stem[letters..]) {
        return false;
    }
    let number = |byte: u8| if byte.is_ascii_digit() { digit(byte) } else { u32::from(byte - b'A') + 10 };
    let lead = if letters == 1 { 36 * 9 } else { 0 };
    let first = 9 - u32::from(letters == 1);
    let sum: u32 = lead + stem.iter().enumerate().map(|(at, byte)| number(*byte) * (first - at as u32)).sum::<u32>();
    let expected = (11 - sum % 11) % 11;
    check == if expected == 10 { b'A' } else { b'0' + expected as u8 }
}

fn is_finnish(birthday: &[u8], last: &[u8]) -> bool {
    const LETTERS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    if !all_digits(birthday) || !all_digits(&last[..3]) {
        return false;
    }
    let number = value(birthday) * 1000 + value(&last[..3]);
    value(&birthday[..2]) <= 31 && value(&birthday[2..4]) <= 12 && LETTERS[(number % 31) as usize] == last[3].to_ascii_uppercase()
}

/// How long accounts are, by country.
const IBAN_LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23\
    GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28\
    PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20";

/// The end of the bank account number (ISO 13616) that begins with this token, written in one or in groups.
pub(super) fn iban(text: &str, start: usize, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let token = &bytes[start..end];
    if token.len() < 4 || !token[..2].iter().all(u8::is_ascii_alphabetic) || !all_digits(&token[2..4]) {
        return None;
    }
    let country = text[start..start + 2].to_ascii_uppercase();
    let length = (0..IBAN_LENGTHS.len()).step_by(4).find(|at| IBAN_LENGTHS[*at..*at + 2] == country)?;
    let length: usize = IBAN_LENGTHS[length + 2..length + 4].parse().ok()?;
    let mut account = Vec::with_capacity(length);
    let mut at = start;
    while account.len() < length {
        let byte = *bytes.get(at)?;
        if byte.is_ascii_alphanumeric() {
            account.push(byte.to_ascii_uppercase());
        } else if !matches!(byte, b' ' | b'-') || !bytes.get(at + 1)?.is_ascii_alphanumeric() {
            return None;
        }
        at += 1;
    }
    let over = bytes.get(at).is_none_or(|next| !next.is_ascii_alphanumeric());
    (over && is_iban(&account)).then_some(at)
}

fn is_iban(account: &[u8]) -> bool {
    let rest = account[4..].iter().chain(&account[..4]).fold(0, |rest, byte| {
        if byte.is_ascii_digit() { (rest * 10 + digit(*byte)) % 97 } else { (rest * 100 + u32::from(byte - b'A') + 10) % 97 }
    });
    rest == 1
}
