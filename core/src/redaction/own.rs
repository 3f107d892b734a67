//! The operator's own rules: `[redaction.patterns.<name>]`.

use regex::{Regex, RegexBuilder};

use super::{RULES, RedactionError};
use crate::settings::PatternSettings;

/// The group that is taken out where a pattern names it.
const GROUP: &str = "secret";

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    name: String,
    regex: Regex,
    has_group: bool,
}

impl Pattern {
    pub(super) fn new(name: &str, settings: &PatternSettings) -> Result<Self, RedactionError> {
        let wrong = |key: &str, problem: String| RedactionError { key: format!("patterns.{name}{key}"), problem };
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.bytes().all(is_word) {
            return Err(wrong("", "has a name that is not made of lower-case letters, digits and underscores (64 at most)".to_owned()));
        }
        if RULES.contains(&name) {
            let problem = "has the name of a rule that is there already: choose another, and disable that rule if yours replaces it";
            return Err(wrong("", problem.to_owned()));
        }
        let regex = RegexBuilder::new(&settings.pattern).size_limit(4 << 20).build().map_err(|error| {
            let reason = error.to_string();
            wrong(".pattern", format!("is not a regular expression: {}", reason.lines().last().unwrap_or_default().trim()))
        })?;
        if regex.is_match("") {
            return Err(wrong(
                ".pattern",
                "matches the empty text, so it would be found everywhere: ask for one character or more".to_owned(),
            ));
        }
        let has_group = regex.capture_names().flatten().any(|group| group == GROUP);
        Ok(Pattern { name: name.to_owned(), regex, has_group })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it wants something out.
    pub(super) fn find(&self, text: &str) -> impl Iterator<Item = (usize, usize)> {
        let (groups, wholes) = if self.has_group {
            (Some(self.regex.captures_iter(text).filter_map(|found| found.name(GROUP))), None)
        } else {
            (None, Some(self.regex.find_iter(text)))
        };
        let found = groups.into_iter().flatten().chain(wholes.into_iter().flatten());
        found.filter(|found| !found.is_empty()).map(|found| (found.start(), found.end()))
    }
}
