//! Values that must not leave the process: addresses, numbers with check digits, keys and passwords, made from a seed.
//!
//! Check digits are computed here by the book, apart from the code under test.

use base64::Engine as _;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One value, with what belongs before it to be told for what it is.
#[derive(Clone, Debug)]
pub struct Planted {
    /// The rule that is to find it.
    pub rule: &'static str,
    /// What is written: `password=…`, or only the value.
    pub text: String,
    /// Letters and digits of it of which not even half may be found again.
    pub needle: String,
    /// Made of digits and what stands between them, so that it may also be written in full-width digits.
    pub is_number: bool,
}

/// So many of them, of every sort in turn.
pub fn values(seed: u64, count: usize) -> Vec<Planted> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|at| SORTS[at % SORTS.len()](&mut dice)).collect()
}

type Sort = fn(&mut ChaCha8Rng) -> Planted;

const SORTS: [Sort; 40] = [
    email,
    email_with_dots,
    chinese_mobile,
    chinese_mobile_in_groups,
    chinese_mobile_with_country,
    chinese_landline,
    german,
    german_trunk,
    british,
    french,
    spanish,
    american,
    american_in_brackets,
    american_with_country,
    american_plain,
    resident,
    resident,
    resident,
    dni,
    pesel,
    cpf,
    hong_kong,
    singapore,
    taiwanese,
    iban_german,
    iban_british,
    iban_in_groups,
    visa,
    mastercard_in_groups,
    openai,
    openai_project,
    aws,
    github,
    google,
    slack,
    dify,
    named_key,
    jwt,
    bearer,
    password,
];

/// The letters and digits of a text, full-width ones as plain ones, in lower case.
pub fn letters(text: &str) -> String {
    let plain = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        other => other,
    };
    text.chars().map(plain).filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn digits(dice: &mut ChaCha8Rng, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + dice.random_range(0..10))).collect()
}

fn from(dice: &mut ChaCha8Rng, characters: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(characters[dice.random_range(0..characters.len())])).collect()
}

fn random(dice: &mut ChaCha8Rng, count: usize) -> String {
    // With one of each kind, as a long random key has.
    let body = from(dice, b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", count - 3);
    format!("{}aZ7", body)
}

fn number(rule: &'static str, text: impl Into<String>) -> Planted {
    let text = text.into();
    Planted { rule, needle: letters(&text), text, is_number: true }
}

fn secret(rule: &'static str, before: &str, value: &str, after: &str) -> Planted {
    Planted { rule, text: format!("{before}{value}{after}"), needle: letters(value), is_number: false }
}

fn email(dice: &mut ChaCha8Rng) -> Planted {
    let local = from(dice, b"abcdefghijkmnopqrstuvwxyz", 11);
    Planted { rule: "email", text: format!("{local}@{}.example.com", from(dice, b"abcdefgh", 4)), needle: local, is_number: false }
}

fn email_with_dots(dice: &mut ChaCha8Rng) -> Planted {
    let (first, last) = (from(dice, b"abcdefghijkm", 6), from(dice, b"nopqrstuvwxyz", 7));
    let ending = ["cn", "de", "co.uk", "org"].choose(dice).copied().unwrap_or("org");
    Planted {
        rule: "email",
        text: format!("{first}.{last}+x_1@mail-{}.{ending}", digits(dice, 2)),
        needle: format!("{first}{last}"),
        is_number: false,
    }
}

fn mobile(dice: &mut ChaCha8Rng) -> [String; 3] {
    [format!("1{}{}", dice.random_range(3..=9), digits(dice, 1)), digits(dice, 4), digits(dice, 4)]
}

fn chinese_mobile(dice: &mut ChaCha8Rng) -> Planted {
    number("phone", mobile(dice).concat())
}

fn chinese_mobile_in_groups(dice: &mut ChaCha8Rng) -> Planted {
    let separator = [" ", "-"].choose(dice).copied().unwrap_or(" ");
    number("phone", mobile(dice).join(separator))
}

fn chinese_mobile_with_country(dice: &mut ChaCha8Rng) -> Planted {
    let lead = ["+86", "+86 ", "+86-", "86", "0086"].choose(dice).copied().unwrap_or("86");
    number("phone", format!("{lead}{}", mobile(dice).concat()))
}

fn chinese_landline(dice: &mut ChaCha8Rng) -> Planted {
    let area = ["010", "021", "0755", "0571"].choose(dice).copied().unwrap_or("010");
    number("phone", format!("{area}-{}{}", dice.random_range(2..=8), digits(dice, 7)))
}

fn german(dice: &mut ChaCha8Rng) -> Planted {
    let lead = ["+49 ", "+49-", "0049 ", "+49 (0)"].choose(dice).copied().unwrap_or("+49 ");
    number("phone", format!("{lead}17{} {}", dice.random_range(0..=9), digits(dice, 7)))
}

fn german_trunk(dice: &mut ChaCha8Rng) -> Planted {
    let separator = [" ", "-", "/"].choose(dice).copied().unwrap_or(" ");
    number("phone", format!("0{}{separator}{}", dice.random_range(151..=179), digits(dice, 7)))
}

fn british(dice: &mut ChaCha8Rng) -> Planted {
    let lead = if dice.random_bool(0.5) { "+44 7" } else { "07" };
    number("phone", format!("{lead}{} {}", digits(dice, 3), digits(dice, 6)))
}

fn french(dice: &mut ChaCha8Rng) -> Planted {
    let separator = [" ", "."].choose(dice).copied().unwrap_or(" ");
    let groups: Vec<String> = (0..4).map(|_| digits(dice, 2)).collect();
    number("phone", format!("0{}{separator}{}", dice.random_range(1..=7), groups.join(separator)))
}

fn spanish(dice: &mut ChaCha8Rng) -> Planted {
    number("phone", format!("+34 6{} {} {}", digits(dice, 2), digits(dice, 3), digits(dice, 3)))
}

fn american_parts(dice: &mut ChaCha8Rng) -> [String; 3] {
    [
        format!("{}{}", dice.random_range(2..=9), digits(dice, 2)),
        format!("{}{}", dice.random_range(2..=9), digits(dice, 2)),
        digits(dice, 4),
    ]
}

fn american(dice: &mut ChaCha8Rng) -> Planted {
    let separator = ["-", ".", " "].choose(dice).copied().unwrap_or("-");
    number("phone", american_parts(dice).join(separator))
}

fn american_in_brackets(dice: &mut ChaCha8Rng) -> Planted {
    let [area, exchange, line] = american_parts(dice);
    number("phone", format!("({area}) {exchange}-{line}"))
}

fn american_with_country(dice: &mut ChaCha8Rng) -> Planted {
    let lead = ["+1 ", "1-", "+1-", "+1"].choose(dice).copied().unwrap_or("+1");
    number("phone", format!("{lead}{}", american_parts(dice).join("-")))
}

fn american_plain(dice: &mut ChaCha8Rng) -> Planted {
    number("phone", american_parts(dice).concat())
}

/// GB 11643.
fn resident(dice: &mut ChaCha8Rng) -> Planted {
    let region = ["110105", "310112", "440305", "510107"].choose(dice).copied().unwrap_or("110105");
    let birthday = format!("{}{:02}{:02}", dice.random_range(1940..2015), dice.random_range(1..=12), dice.random_range(1..=28));
    let stem = format!("{region}{birthday}{}", digits(dice, 3));
    // The weight of a place is a power of two, counted from the right.
    let sum: u32 = stem.bytes().rev().enumerate().map(|(at, byte)| u32::from(byte - b'0') * (2_u32.pow(at as u32 + 1) % 11)).sum();
    let check = char::from(b"10X98765432"[(sum % 11) as usize]);
    number("id_card", format!("{stem}{check}"))
}

fn dni(dice: &mut ChaCha8Rng) -> Planted {
    let stem = dice.random_range(10_000_000_u32..99_999_999);
    number("id_card", format!("{stem}{}", char::from(b"TRWAGMYFPDXBNJZSQVHLCKE"[(stem % 23) as usize])))
}

fn pesel(dice: &mut ChaCha8Rng) -> Planted {
    let stem =
        format!("{:02}{:02}{:02}{}", dice.random_range(40..99), dice.random_range(1..=12), dice.random_range(1..=28), digits(dice, 4));
    let sum: u32 = stem.bytes().zip([1, 3, 7, 9, 1, 3, 7, 9, 1, 3]).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
    number("id_card", format!("{stem}{}", (10 - sum % 10) % 10))
}

fn cpf(dice: &mut ChaCha8Rng) -> Planted {
    let mut stem = format!("{}{}", dice.random_range(1..=9), digits(dice, 8));
    for _ in 0..2 {
        let sum: u32 = stem.bytes().rev().zip(2..).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
        let rest = sum % 11;
        stem.push(char::from(b'0' + if rest < 2 { 0 } else { (11 - rest) as u8 }));
    }
    number("id_card", format!("{}.{}.{}-{}", &stem[..3], &stem[3..6], &stem[6..9], &stem[9..]))
}

fn hong_kong(dice: &mut ChaCha8Rng) -> Planted {
    let letter = dice.random_range(b'A'..=b'Z');
    let stem = digits(dice, 6);
    // A blank before the single letter counts 36, A counts 10.
    let lead = 36 * 9 + (u32::from(letter - b'A') + 10) * 8;
    let sum: u32 = lead + stem.bytes().zip([7, 6, 5, 4, 3, 2]).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum::<u32>();
    let check = match (11 - sum % 11) % 11 {
        10 => "A".to_owned(),
        digit => digit.to_string(),
    };
    number("id_card", format!("{}{stem}({check})", char::from(letter)))
}

fn singapore(dice: &mut ChaCha8Rng) -> Planted {
    let stem = digits(dice, 7);
    let sum: u32 = stem.bytes().zip([2, 7, 6, 5, 4, 3, 2]).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
    number("id_card", format!("S{stem}{}", char::from(b"JZIHGFEDCBA"[(sum % 11) as usize])))
}

fn taiwanese(dice: &mut ChaCha8Rng) -> Planted {
    // A of Taipei counts 10: 1 and 0 times 9.
    let stem = format!("{}{}", dice.random_range(1..=2), digits(dice, 7));
    let sum: u32 = 1 + stem.bytes().zip([8, 7, 6, 5, 4, 3, 2, 1]).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum::<u32>();
    number("id_card", format!("A{stem}{}", (10 - sum % 10) % 10))
}

/// ISO 13616: the check digits that leave 1 by 97.
fn iban(country: &str, account: &str) -> String {
    let spelled: String = format!("{account}{country}00").chars().map(|c| c.to_digit(36).unwrap_or(0).to_string()).collect();
    let rest = spelled.bytes().fold(0, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97);
    format!("{country}{:02}{account}", 98 - rest)
}

fn iban_german(dice: &mut ChaCha8Rng) -> Planted {
    number("iban", iban("DE", &digits(dice, 18)))
}

fn iban_british(dice: &mut ChaCha8Rng) -> Planted {
    number("iban", iban("GB", &format!("WEST{}", digits(dice, 14))))
}

fn iban_in_groups(dice: &mut ChaCha8Rng) -> Planted {
    let account = iban("NL", &format!("ABNA{}", digits(dice, 10)));
    let groups: Vec<&str> = account.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    number("iban", groups.join(" "))
}

fn card(dice: &mut ChaCha8Rng, lead: &str, length: usize) -> String {
    let stem = format!("{lead}{}", digits(dice, length - lead.len() - 1));
    let with = |check: u32| format!("{stem}{check}");
    let sum = |number: &str| -> u32 {
        number
            .bytes()
            .rev()
            .enumerate()
            .map(|(at, byte)| (u32::from(byte - b'0') * (1 + at as u32 % 2)).to_string().bytes().map(|b| u32::from(b - b'0')).sum::<u32>())
            .sum()
    };
    (0..10).map(with).find(|number| sum(number) % 10 == 0).unwrap_or_default()
}

fn visa(dice: &mut ChaCha8Rng) -> Planted {
    let (lead, length) = [("4", 16), ("37", 15), ("6222", 19)].choose(dice).copied().unwrap_or(("4", 16));
    number("payment_card", card(dice, lead, length))
}

fn mastercard_in_groups(dice: &mut ChaCha8Rng) -> Planted {
    let card = card(dice, "52", 16);
    let separator = [" ", "-"].choose(dice).copied().unwrap_or(" ");
    number("payment_card", [&card[..4], &card[4..8], &card[8..12], &card[12..]].join(separator))
}

fn openai(dice: &mut ChaCha8Rng) -> Planted {
    secret("api_key", "", &format!("sk-{}", random(dice, 48)), "")
}

fn openai_project(dice: &mut ChaCha8Rng) -> Planted {
    secret("api_key", "", &format!("sk-proj-{}_{}", random(dice, 20), random(dice, 20)), "")
}

fn aws(dice: &mut ChaCha8Rng) -> Planted {
    secret("api_key", "", &format!("AKIA{}7", from(dice, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 15)), "")
}

fn github(dice: &mut ChaCha8Rng) -> Planted {
    secret("api_key", "", &format!("ghp_{}", random(dice, 36)), "")
}

fn google(dice: &mut ChaCha8Rng) -> Planted {
    secret("api_key", "", &format!("AIza{}", random(dice, 35)), "")
}

fn slack(dice: &mut ChaCha8Rng) -> Planted {
    secret("api_key", "", &format!("xoxb-{}-{}", digits(dice, 12), random(dice, 24)), "")
}

fn dify(dice: &mut ChaCha8Rng) -> Planted {
    let lead = ["app-", "dataset-"].choose(dice).copied().unwrap_or("app-");
    secret("api_key", "", &format!("{lead}{}", random(dice, 24)), "")
}

fn named_key(dice: &mut ChaCha8Rng) -> Planted {
    let name = ["api_key=", "apikey: ", "X-Api-Key: ", "access_token=", "client_secret = "].choose(dice).copied().unwrap_or("api_key=");
    secret("api_key", name, &random(dice, 20), "")
}

fn jwt(dice: &mut ChaCha8Rng) -> Planted {
    let signature = random(dice, 43);
    Planted {
        rule: "jwt",
        text: format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{}.{signature}", random(dice, 20)),
        needle: letters(&signature),
        is_number: false,
    }
}

fn bearer(dice: &mut ChaCha8Rng) -> Planted {
    match dice.random_range(0..3) {
        0 => secret("authorization", "Bearer ", &random(dice, 32), ""),
        1 => secret("authorization", "Authorization: Token ", &random(dice, 20), ""),
        _ => {
            let pair = format!("user:{}", random(dice, 12));
            secret("authorization", "Basic ", base64::engine::general_purpose::STANDARD.encode(pair).trim_end_matches('='), "")
        }
    }
}

fn password(dice: &mut ChaCha8Rng) -> Planted {
    match dice.random_range(0..3) {
        0 => secret("password", "postgres://ada:", &random(dice, 12), "@db.internal:5432/dify"),
        1 => secret("password", "password=", &random(dice, 12), ""),
        _ => secret("cookie", "Cookie: session=", &random(dice, 20), ""),
    }
}
