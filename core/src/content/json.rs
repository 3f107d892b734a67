//! JSON text columns, written again: compact, in real characters, redacted string by string.
//!
//! Read as tolerantly as [`crate::dify::json`] reads, without building the value: columns may be megabytes, and all of it is wanted.

use std::borrow::Cow;

use super::edge;
use crate::redaction::{Redactor, Sensitive};

/// Keys under which a name stands whose value stands under one of [`VALUES`]: `{"key": "Cookie", "value": "…"}`.
const NAMES: [&str; 5] = ["key", "name", "header", "variable", "label"];
const VALUES: [&str; 3] = ["value", "val", "content"];

/// The text again, up to about this many bytes. `None` for what is no JSON.
pub(super) fn transcode(redactor: &Redactor, raw: &str, cut: bool, limit: usize) -> Option<String> {
    let text = raw.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r']);
    if !text.starts_with(['{', '[', '"']) {
        return None;
    }
    let out = String::with_capacity(text.len().min(limit).saturating_add(16));
    let mut writer = Transcoder { redactor, text, at: 0, cut, limit, out, frames: Vec::new() };
    match writer.document() {
        Ok(()) | Err(Stopped::End) => Some(writer.out),
        Err(Stopped::NoJson) => None,
    }
}

/// Why reading stopped before the value's end.
enum Stopped {
    /// The text ended, or enough of it is there.
    End,
    /// It goes on in a way that is no JSON.
    NoJson,
}

type Step<T> = Result<T, Stopped>;

/// An object or array that is open.
#[derive(Default)]
struct Frame {
    object: bool,
    begun: bool,
    /// The key whose value comes next.
    key: String,
    /// All below it goes.
    inherited: Option<Sensitive>,
    /// The value under the key goes.
    forced: Option<Sensitive>,
    /// A name was read whose value goes.
    announced: Option<Sensitive>,
}

struct Transcoder<'a> {
    redactor: &'a Redactor,
    text: &'a str,
    at: usize,
    cut: bool,
    limit: usize,
    out: String,
    frames: Vec<Frame>,
}

impl<'a> Transcoder<'a> {
    fn document(&mut self) -> Step<()> {
        loop {
            self.value()?;
            // Back to where the next value is: the end of the document closes all frames.
            loop {
                let Some(frame) = self.frames.last() else { return self.nothing_more() };
                let (object, begun) = (frame.object, frame.begun);
                let next = self.peek()?;
                if next == if object { b'}' } else { b']' } {
                    self.at += 1;
                    self.out.push(char::from(next));
                    self.frames.pop();
                    continue;
                }
                if begun {
                    self.take(b',')?;
                    self.out.push(',');
                }
                self.begin_member(object)?;
                break;
            }
        }
    }

    fn nothing_more(&mut self) -> Step<()> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(Stopped::NoJson),
        }
    }

    fn begin_member(&mut self, object: bool) -> Step<()> {
        if object {
            self.peek()?;
            let (key, whole) = self.string()?;
            let redacted = self.redactor.redact(&key);
            quote(&mut self.out, &redacted);
            if !whole {
                return Err(Stopped::End);
            }
            self.take(b':')?;
            self.out.push(':');
            let forced = self.redactor.key(&key);
            if let Some(frame) = self.frames.last_mut() {
                let by_name = if VALUES.contains(&key.as_ref()) { frame.announced } else { None };
                frame.forced = frame.inherited.or(forced).or(by_name);
                frame.key = key.into_owned();
            }
        } else if let Some(frame) = self.frames.last_mut() {
            frame.forced = frame.inherited.or(frame.announced.take());
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.begun = true;
        }
        Ok(())
    }

    fn value(&mut self) -> Step<()> {
        let first = self.peek()?;
        if self.out.len() >= self.limit {
            return Err(Stopped::End);
        }
        match first {
            b'{' | b'[' => self.open(first),
            b'"' => self.text_value()?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => self.word()?,
        }
        Ok(())
    }

    fn open(&mut self, bracket: u8) {
        self.at += 1;
        self.out.push(char::from(bracket));
        let inherited = self.frames.last().and_then(|frame| frame.forced).filter(|sensitive| !sensitive.vague);
        self.frames.push(Frame { object: bracket == b'{', inherited, ..Frame::default() });
    }

    fn text_value(&mut self) -> Step<()> {
        let (text, whole) = self.string()?;
        let redactor = self.redactor;
        let frame = self.frames.last();
        let forced = frame.and_then(|frame| frame.forced);
        match forced {
            Some(sensitive) if goes(sensitive, &text) => quote(&mut self.out, redactor.replacement(sensitive)),
            _ => {
                let key = frame.map_or("", |frame| frame.key.as_str());
                quote(&mut self.out, &redactor.redact_value(key, &text));
            }
        }
        if let Some(frame) = self.frames.last_mut() {
            let names = !frame.object || NAMES.contains(&frame.key.as_str());
            if names {
                let is_name = text.len() <= 32 && !text.contains(' ');
                frame.announced = if is_name { redactor.key(&text) } else { None };
            }
        }
        if whole { Ok(()) } else { Err(Stopped::End) }
    }

    /// A number as it stands there. One that reaches the end of the text may be a part of another.
    fn number(&mut self) -> Step<()> {
        let rest = &self.text[self.at..];
        if rest.starts_with("-I") {
            self.at += 1;
            return self.word();
        }
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let end = match end {
            Some(end) => end,
            None if self.frames.is_empty() && !self.cut => rest.len(),
            None => return Err(Stopped::End),
        };
        let number = &rest[..end];
        if number.parse::<f64>().is_err() {
            return Err(Stopped::NoJson);
        }
        self.at += end;
        let frame = self.frames.last();
        let forced = frame.and_then(|frame| frame.forced).filter(|sensitive| !sensitive.vague);
        if let Some(sensitive) = forced {
            quote(&mut self.out, self.redactor.replacement(sensitive));
            return Ok(());
        }
        let key = frame.map_or("", |frame| frame.key.as_str());
        match redacted_number(self.redactor, key, number) {
            Some(redacted) => quote(&mut self.out, &redacted),
            None => self.out.push_str(number),
        }
        Ok(())
    }

    fn word(&mut self) -> Step<()> {
        let rest = &self.text[self.at..];
        for (word, json) in [("null", "null"), ("true", "true"), ("false", "false"), ("NaN", "null"), ("Infinity", "null")] {
            if rest.starts_with(word) {
                self.at += word.len();
                self.out.push_str(json);
                return Ok(());
            }
            if word.starts_with(rest) {
                return Err(Stopped::End);
            }
        }
        Err(Stopped::NoJson)
    }

    /// A decoded text, and whether it was read to its end. Of one that was not, the torn last word is left out.
    fn string(&mut self) -> Step<(Cow<'a, str>, bool)> {
        if self.text.as_bytes().get(self.at) != Some(&b'"') {
            return Err(Stopped::NoJson);
        }
        let start = self.at + 1;
        let budget = self.limit.saturating_sub(self.out.len()).max(1);
        let (decoded, end) = decode(&self.text[start..], budget);
        match end {
            Some(end) => {
                self.at = start + end;
                Ok((decoded, true))
            }
            None => {
                self.at = self.text.len();
                let whole = edge::without_torn_end(&decoded).len();
                Ok((Cow::Owned(decoded[..whole].to_owned()), false))
            }
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Step<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied().ok_or(Stopped::End)
    }

    fn take(&mut self, byte: u8) -> Step<()> {
        if self.peek()? != byte {
            return Err(Stopped::NoJson);
        }
        self.at += 1;
        Ok(())
    }
}

/// Whether a text under such a key is a secret.
fn goes(sensitive: Sensitive, text: &str) -> bool {
    if sensitive.vague { text.len() >= 8 && !text.contains(char::is_whitespace) } else { !text.trim().is_empty() }
}

/// A whole number that names a person. Shorter ones are times, counts and ids, unless their key says otherwise.
fn redacted_number(redactor: &Redactor, key: &str, number: &str) -> Option<String> {
    if number.len() < 7 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let with_key = format!("{key}: {number}");
    let found = if number.len() > 10 { redactor.redact(number) } else { Cow::Borrowed(number) };
    if let Cow::Owned(redacted) = found {
        return Some(redacted);
    }
    if number.len() <= 10 && !crate::redaction::announces_phone(key) {
        return None;
    }
    match redactor.redact(&with_key) {
        Cow::Owned(both) => both.strip_prefix(&format!("{key}: ")).map(str::to_owned),
        Cow::Borrowed(_) => None,
    }
}

/// The text of a JSON string whose opening quote was read, as much of it as is wanted, and where it ends after its closing quote.
fn decode(raw: &str, budget: usize) -> (Cow<'_, str>, Option<usize>) {
    let bytes = raw.as_bytes();
    let plain = special(bytes, 0);
    if bytes.get(plain) == Some(&b'"') && plain <= budget {
        return (Cow::Borrowed(&raw[..plain]), Some(plain + 1));
    }
    let mut out = String::new();
    let mut at = 0;
    loop {
        let end = special(bytes, at);
        let room = budget.saturating_sub(out.len());
        if end - at > room {
            out.push_str(&raw[at..edge::floor(raw, at + room)]);
            return (Cow::Owned(out), None);
        }
        out.push_str(&raw[at..end]);
        match bytes.get(end) {
            Some(b'"') => return (Cow::Owned(out), Some(end + 1)),
            Some(_) => match escape(raw, end + 1) {
                Some((character, next)) => {
                    out.push(character);
                    at = next;
                }
                None => return (Cow::Owned(out), None),
            },
            None => return (Cow::Owned(out), None),
        }
    }
}

/// Where the next quote or backslash is. Strides without either are walked over at once.
fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(stride) = bytes.get(at..at + 16) {
        if stride.iter().fold(false, |any, byte| any | (*byte == b'"') | (*byte == b'\\')) {
            break;
        }
        at += 16;
    }
    at + bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len() - at)
}

/// The character of an escape whose backslash was read, and where it ends. `None` where the text ends in the middle of it.
fn escape(raw: &str, at: usize) -> Option<(char, usize)> {
    let letter = raw.get(at..)?.chars().next()?;
    let next = at + letter.len_utf8();
    Some(match letter {
        'b' => ('\u{8}', next),
        'f' => ('\u{c}', next),
        'n' => ('\n', next),
        'r' => ('\r', next),
        't' => ('\t', next),
        'u' => return unicode(raw, next),
        other => (other, next),
    })
}

fn unicode(raw: &str, at: usize) -> Option<(char, usize)> {
    let Some(first) = hex(raw, at) else {
        // An escape that is none, or one that the end of the text has torn.
        return (raw.len() - at >= 4).then_some((char::REPLACEMENT_CHARACTER, at));
    };
    if (0xd800..0xdc00).contains(&first) && raw[at + 4..].starts_with("\\u") {
        let second = hex(raw, at + 6);
        if second.is_none() && raw.len() < at + 10 {
            return None;
        }
        if let Some(second @ 0xdc00..0xe000) = second {
            let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Some((char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), at + 10));
        }
    }
    Some((char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), at + 4))
}

/// Four hexadecimal digits.
fn hex(raw: &str, at: usize) -> Option<u32> {
    let digits = raw.as_bytes().get(at..at + 4)?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

/// Writes a text as JSON: only what must be escaped is.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        if escaped.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escaped);
        }
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
    out.push('"');
}
