//! What documents say about failures.

use dify_observe_core::content::Shaper;
use dify_observe_core::dify::error_type::{ErrorType, fingerprint};

use super::parts::ErrorPart;

/// A cut text may end in the middle of a secret that nobody recognises any more: this much of its end is looked at for a place to end before.
const TORN: usize = 512;

/// An error's text, redacted.
pub(super) fn message(shaper: &Shaper, text: &str, cut: bool) -> String {
    shaper.always(if cut { whole_words(text) } else { text })
}

/// A failure: its type, its text, and what makes it the same as others.
///
/// The fingerprint is made of the redacted text: what was taken out of a text can neither be guessed from its fingerprint, nor tell two
/// failures apart.
pub(super) fn failure(error_type: ErrorType, message: Option<String>) -> ErrorPart {
    let fingerprint = message.as_deref().filter(|text| !text.is_empty()).map(fingerprint);
    ErrorPart { error_type: Some(error_type.as_str().into()), message, fingerprint }
}

/// A text that is there although nothing failed in the end: an earlier attempt did, or another record.
pub(super) fn mention(message: String) -> ErrorPart {
    ErrorPart { message: Some(message), ..ErrorPart::default() }
}

fn whole_words(text: &str) -> &str {
    let from = text.floor_char_boundary(text.len().saturating_sub(TORN));
    match text[from..].rfind(char::is_whitespace) {
        Some(space) => &text[..from + space],
        None => &text[..from],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_word_is_left_out() {
        assert_eq!(whole_words("failed for ada@exam"), "failed for");
        assert_eq!(whole_words("汉字"), "");
        let long = format!("{} end", "é".repeat(600));
        assert_eq!(whole_words(&long), "é".repeat(600));
    }
}
