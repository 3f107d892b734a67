//! JSON as Python writes it: keys in insertion order, `", "` and `": "`, everything beyond ASCII escaped.

use std::fmt::Write as _;

use super::value::Value;

/// A JSON value whose keys keep their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number, or any other token (`NaN`), as it is to appear.
    Raw(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// Builds an object: `object! { "a" => 1, "b" => "x" }`.
macro_rules! object {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::simulator::json::Json::Object(vec![$(($key.to_string(), $crate::simulator::json::Json::from($value))),*])
    };
}
pub(crate) use object;

impl Json {
    /// A number as Python prints a float.
    pub fn float(value: f64) -> Self {
        Self::Raw(if value == value.trunc() && value.abs() < 1e15 { format!("{value:.1}") } else { value.to_string() })
    }

    /// Python's `json.dumps` with its defaults.
    pub fn dumps(&self) -> String {
        self.text(Style { comma: ", ", colon: ": ", ascii: true })
    }

    /// Compact JSON with real characters, as pydantic and orjson write it.
    pub fn compact(&self) -> String {
        self.text(Style { comma: ",", colon: ":", ascii: false })
    }

    /// Adds a key to an object; other values stay as they are.
    pub fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        if let Self::Object(entries) = &mut self {
            entries.push((key.to_owned(), value.into()));
        }
        self
    }

    /// The same object with its keys in another order: what the second save of a node execution leaves behind.
    pub fn reordered(&self) -> Self {
        match self {
            Self::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key.clone(), value.reordered())).collect();
                entries.sort_by(|left, right| left.0.cmp(&right.0));
                Self::Object(entries)
            }
            Self::List(items) => Self::List(items.iter().map(Self::reordered).collect()),
            other => other.clone(),
        }
    }

    fn text(&self, style: Style) -> String {
        let mut out = String::new();
        self.write(&mut out, style);
        out
    }

    fn write(&self, out: &mut String, style: Style) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Raw(value) => out.push_str(value),
            Self::Text(value) => write_string(out, value, style.ascii),
            Self::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    out.push_str(if position == 0 { "" } else { style.comma });
                    item.write(out, style);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (position, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if position == 0 { "" } else { style.comma });
                    write_string(out, key, style.ascii);
                    out.push_str(style.colon);
                    value.write(out, style);
                }
                out.push('}');
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Style {
    comma: &'static str,
    colon: &'static str,
    ascii: bool,
}

fn write_string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if (character as u32) < 0x20 || (ascii && !character.is_ascii()) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Json {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Self::float(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<uuid::Uuid> for Json {
    fn from(value: uuid::Uuid) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<Vec<Json>> for Json {
    fn from(value: Vec<Json>) -> Self {
        Self::List(value)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<&Json> for Value {
    fn from(value: &Json) -> Self {
        value.dumps().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_like_python() {
        let value = object! { "text" => "手机 \"x\"\n😀", "n" => 1, "list" => vec![Json::Null, Json::float(2.0)] };
        assert_eq!(value.dumps(), r#"{"text": "\u624b\u673a \"x\"\n\ud83d\ude00", "n": 1, "list": [null, 2.0]}"#);
        assert_eq!(value.compact(), "{\"text\":\"手机 \\\"x\\\"\\n😀\",\"n\":1,\"list\":[null,2.0]}");
    }

    #[test]
    fn reorders_keys_and_keeps_values() {
        let value = object! { "b" => 1, "a" => object! { "z" => true, "y" => false } };
        assert_eq!(value.reordered().dumps(), r#"{"a": {"y": false, "z": true}, "b": 1}"#);
    }
}
