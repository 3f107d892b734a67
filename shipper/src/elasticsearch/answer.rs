//! What an engine answered.

use bytes::Bytes;
use serde_json::Value;

/// Status and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, `null` where it is no JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The engine's word for the error. Its sentence may quote a document, and is left where it is.
    pub(crate) fn error_type(&self) -> String {
        word(self.json()["error"]["type"].as_str().unwrap_or_default())
    }

    /// The engine's sentence, for requests that carry no document.
    pub(crate) fn error_reason(&self) -> String {
        let answer = self.json();
        let cause = &answer["error"]["caused_by"]["reason"];
        let reason = answer["error"]["reason"].as_str().or(answer["error"].as_str()).unwrap_or_default();
        match cause.as_str() {
            Some(cause) => format!("{reason}: {cause}"),
            None => reason.to_owned(),
        }
    }
}

/// An error type as engines write them; anything else is nothing.
pub(crate) fn word(text: &str) -> String {
    let plain = text.len() <= 80 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { text.to_owned() } else { String::new() }
}
