//! Content as documents carry it: of the length that is wanted, in real characters, redacted; and people as documents name them.

mod edge;
mod json;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ring::hmac;

use crate::redaction::Redactor;
use crate::settings::{ContentMode, ShipperSettings, UserIds};

/// How much further than its limit a text is read, so that what begins before the limit is recognised whole.
const MARGIN: usize = 4096;

/// Makes content ready for documents.
#[derive(Clone, Debug)]
pub struct Shaper {
    /// How much of it.
    pub mode: ContentMode,
    /// Most bytes of a field where the mode is `truncated`.
    pub bytes: usize,
    /// What is taken out.
    pub redactor: Arc<Redactor>,
}

impl Shaper {
    /// As the settings say.
    pub fn new(settings: &ShipperSettings, redactor: Arc<Redactor>) -> Self {
        Shaper { mode: settings.content, bytes: settings.content_bytes as usize, redactor }
    }

    /// Prose: a question, an answer, a prompt. `cut` says that the text goes on in the database: its torn last word is left out.
    /// `None` where no content is wanted.
    pub fn text(&self, raw: &str, cut: bool) -> Option<String> {
        let limit = self.limit()?;
        Some(self.prose(raw, cut, limit))
    }

    /// A column of JSON text: real characters instead of escapes, redacted inside of decoded strings, compact. What is no JSON is prose.
    /// Where it is longer than wanted it ends in the middle, and is no JSON any more.
    pub fn json(&self, raw: &str, cut: bool) -> Option<String> {
        let limit = self.limit()?;
        let shaped = json::transcode(&self.redactor, raw, cut, limit.saturating_add(MARGIN));
        Some(shaped.map_or_else(|| self.prose(raw, cut, limit), |shaped| truncated(shaped, limit)))
    }

    /// Titles, errors, names, log texts: redacted whatever the mode, of any length.
    pub fn always(&self, raw: &str) -> String {
        self.redactor.redact(raw).into_owned()
    }

    fn limit(&self) -> Option<usize> {
        match self.mode {
            ContentMode::Off => None,
            ContentMode::Truncated => Some(self.bytes),
            ContentMode::Full => Some(usize::MAX),
        }
    }

    fn prose(&self, raw: &str, cut: bool, limit: usize) -> String {
        let (head, cut_here) = edge::head(raw, limit.saturating_add(MARGIN));
        let whole = if cut || cut_here { edge::without_torn_end(head) } else { head };
        truncated(self.redactor.redact(whole).into_owned(), limit)
    }
}

/// Cut at the last boundary of a character before the limit.
fn truncated(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(edge::floor(&text, limit));
    }
    text
}

/// How documents name people.
#[derive(Clone)]
pub enum PersonIds {
    /// As Dify stores them.
    Plain,
    /// By keyed hashes, which are equal for equal ids.
    Hashed(hmac::Key),
}

impl PersonIds {
    /// As the settings say.
    pub fn new(settings: &ShipperSettings) -> Self {
        match (settings.user_ids, &settings.user_ids_key) {
            (UserIds::Hashed, key) => PersonIds::hashed(key.as_ref().map(crate::secret::Secret::expose).unwrap_or_default().as_bytes()),
            (UserIds::Plain, _) => PersonIds::Plain,
        }
    }

    /// With this key.
    pub fn hashed(key: &[u8]) -> Self {
        PersonIds::Hashed(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// What a document says in place of this id. One can search for it: it is the same for the same id and key.
    pub fn id(&self, plain: &str) -> String {
        match self {
            PersonIds::Plain => plain.to_owned(),
            PersonIds::Hashed(key) => {
                let tag = hmac::sign(key, plain.as_bytes());
                let hex: String = tag.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
                format!("h:{hex}")
            }
        }
    }
}

impl std::fmt::Debug for PersonIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PersonIds::Plain => "Plain",
            PersonIds::Hashed(_) => "Hashed",
        })
    }
}
