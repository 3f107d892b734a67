//! The reader behind [`parse`](super::parse) and [`pick`](super::pick).

use serde_json::{Map, Number, Value};

/// Values nested deeper than this are walked over. Dify's own nest a dozen deep; the stack bears this many.
const DEEPEST: usize = 128;

/// Reading stopped: the text ended, or goes on in a way that is no JSON. What was read before stays.
struct Stopped;

type Step<T> = Result<T, Stopped>;

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    complete: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Reader { text, at: if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }, complete: true }
    }

    /// The whole text's value; only these keys of it, if it is an object and some are asked for.
    pub(super) fn document(&mut self, keys: Option<&[&str]>) -> Option<Value> {
        self.space();
        let value = match self.peek() {
            Some(b'{') => Some(self.object(0, keys)),
            _ => self.value(0).ok(),
        };
        self.space();
        self.complete &= value.is_some() && self.at == self.text.len();
        value
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes this byte, after white space.
    fn take(&mut self, byte: u8) -> Step<()> {
        self.space();
        if self.peek() != Some(byte) {
            return Err(Stopped);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Step<Value> {
        self.space();
        match self.peek().ok_or(Stopped)? {
            b'{' | b'[' if depth >= DEEPEST => {
                self.complete = false;
                self.skip()?;
                Ok(Value::Null)
            }
            b'{' => Ok(self.object(depth, None)),
            b'[' => Ok(self.array(depth)),
            b'"' => Ok(Value::String(self.string()?)),
            b'-' | b'0'..=b'9' => self.number(depth),
            _ => self.word(),
        }
    }

    /// An object as far as it goes. One that does not reach its end leaves the reader at the end of the text, so that
    /// whatever surrounds it ends as well.
    fn object(&mut self, depth: usize, keys: Option<&[&str]>) -> Value {
        let mut map = Map::new();
        if self.members(&mut map, depth, keys).is_err() {
            self.stop();
        }
        Value::Object(map)
    }

    fn members(&mut self, map: &mut Map<String, Value>, depth: usize, keys: Option<&[&str]>) -> Step<()> {
        self.take(b'{')?;
        if self.take(b'}').is_ok() {
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string()?;
            self.take(b':')?;
            if keys.is_none_or(|keys| keys.contains(&key.as_str())) {
                let value = self.value(depth + 1)?;
                map.insert(key, value);
            } else {
                self.skip()?;
            }
            if self.take(b',').is_err() {
                return self.take(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Value {
        let mut items = Vec::new();
        if self.items(&mut items, depth).is_err() {
            self.stop();
        }
        Value::Array(items)
    }

    fn items(&mut self, items: &mut Vec<Value>, depth: usize) -> Step<()> {
        self.take(b'[')?;
        if self.take(b']').is_ok() {
            return Ok(());
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b',').is_err() {
                return self.take(b']');
            }
        }
    }

    fn stop(&mut self) {
        self.at = self.text.len();
        self.complete = false;
    }

    /// A text. Escapes that are none stand for their character, halves of surrogate pairs for the replacement character.
    fn string(&mut self) -> Step<String> {
        if self.peek() != Some(b'"') {
            return Err(Stopped);
        }
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(['"', '\\']).ok_or(Stopped)?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            if rest.as_bytes()[plain] == b'"' {
                return Ok(out);
            }
            out.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Step<char> {
        let character = self.text[self.at..].chars().next().ok_or(Stopped)?;
        self.at += character.len_utf8();
        Ok(match character {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unicode()?,
            other => other,
        })
    }

    /// The character after `\u`.
    fn unicode(&mut self) -> Step<char> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Step<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = u32::from_str_radix(digits.ok_or(Stopped)?, 16).map_err(|_| Stopped)?;
        self.at += 4;
        Ok(number)
    }

    /// A number. Inside something, one that reaches the end of the text may be a part of a longer one.
    fn number(&mut self, depth: usize) -> Step<Value> {
        let rest = &self.text[self.at..];
        if rest.starts_with("-I") {
            self.at += 1;
            return self.word();
        }
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        if end == rest.len() && depth > 0 {
            return Err(Stopped);
        }
        let value = number_of(&rest[..end])?;
        self.at += end;
        Ok(value)
    }

    fn word(&mut self) -> Step<Value> {
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Null),
            ("Infinity", Value::Null),
        ] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(Stopped)
    }

    /// Walks over a value of any depth without keeping it.
    fn skip(&mut self) -> Step<()> {
        let mut depth = 0_usize;
        loop {
            self.space();
            match self.peek().ok_or(Stopped)? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or(Stopped)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                b',' | b':' => return Err(Stopped),
                _ => self.skip_scalar()?,
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn skip_string(&mut self) -> Step<()> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            match bytes.get(at).ok_or(Stopped)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Ok(())
    }

    fn skip_scalar(&mut self) -> Step<()> {
        let rest = &self.text[self.at..];
        let end = rest.find([',', '}', ']', ':', '"', '{', '[', ' ', '\t', '\n', '\r']).ok_or(Stopped)?;
        self.at += end;
        Ok(())
    }
}

/// The value of a number's text. One that is too large for a float is null, as `Infinity` is.
fn number_of(text: &str) -> Step<Value> {
    if let Ok(whole) = text.parse::<u64>() {
        return Ok(Value::from(whole));
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(Value::from(whole));
    }
    let float: f64 = text.parse().map_err(|_| Stopped)?;
    Ok(Number::from_f64(float).map_or(Value::Null, Value::Number))
}
