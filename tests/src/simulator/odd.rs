//! JSON texts that Python writes or reads without complaint and strict parsers refuse, and values that are too large.

use super::{
    dice::Dice,
    json::{Json, object},
};

/// Makes a JSON object's text odd: a bare NaN or Infinity, an escaped NUL, half a surrogate pair, or a cut end.
pub(crate) fn spoil(dice: &mut Dice, text: &str) -> String {
    let Some(rest) = text.strip_prefix('{') else { return text.to_owned() };
    let comma = if rest.starts_with('}') { "" } else { ", " };
    match dice.weighted(&[2.0, 1.0, 2.0, 2.0, 1.0]) {
        0 => format!("{{\"score\": NaN{comma}{rest}"),
        1 => format!("{{\"limit\": -Infinity{comma}{rest}"),
        2 => format!("{{\"note\": \"a\\u0000b\"{comma}{rest}"),
        3 => format!("{{\"emoji\": \"\\ud83d\"{comma}{rest}"),
        _ => text[..text.len() * 2 / 3].to_owned(),
    }
}

/// Puts a large text into a node's outputs.
pub(crate) fn enlarge(outputs: Option<Json>, bytes: usize) -> Json {
    let body = "0123456789abcdef".repeat(bytes / 16 + 1);
    match outputs {
        Some(Json::Object(mut entries)) => {
            match entries.iter_mut().find(|(key, _)| key == "body") {
                Some((_, value)) => *value = body.into(),
                None => entries.push(("body".to_owned(), body.into())),
            }
            Json::Object(entries)
        }
        _ => object! { "body" => body },
    }
}

/// What is left of large outputs in the row once they are kept as a file.
pub(crate) fn truncated(outputs: &Json) -> Json {
    match outputs {
        Json::Object(entries) => Json::Object(
            entries
                .iter()
                .map(|(key, value)| match value {
                    Json::Text(text) if text.len() > 1_000 => (key.clone(), Json::from(format!("{}...", &text[..1_000]))),
                    value => (key.clone(), value.clone()),
                })
                .collect(),
        ),
        other => other.clone(),
    }
}
