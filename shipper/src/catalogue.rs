//! Every field that documents may have: the one list from which come the mappings of search engines, docs/documents.md, the columns of
//! exports, and the test that no document has a field that is not in it.
//!
//! To add a field, add a line to `catalogue/fields.rs`, the member to `documents/parts.rs`, and write the documentation anew with
//! `UPDATE_DOCS=1 cargo test -p dify-shipper --lib catalogue`.

mod documentation;
mod fields;
mod mapping;

use crate::document::Kind;

pub use documentation::markdown;
pub use fields::FIELDS;
pub use mapping::{LONGEST_KEYWORD, mapping};

/// The version of the Elastic Common Schema whose names the fields outside of `dify`, `gen_ai` and `labels` have.
pub const ECS_VERSION: &str = "8.11.0";
/// The version of OpenTelemetry's semantic conventions whose names the fields below `gen_ai` have.
pub const SEMANTIC_CONVENTIONS_VERSION: &str = "1.37.0";

/// What a field holds, in words that every search engine without a plugin knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// One word, or a list of them: found as a whole.
    Keyword,
    /// Text: found by its words.
    Text,
    /// Text that is found by its words, and, while it is not long, as a whole by `<path>.keyword`.
    TextKeyword,
    /// A whole number.
    Long,
    /// A number.
    Double,
    /// A time in UTC.
    Date,
    /// True or false.
    Boolean,
    /// An object with one keyword for each of the operator's labels.
    Labels,
}

impl FieldType {
    /// The word for it in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            FieldType::Keyword => "keyword",
            FieldType::Text => "text",
            FieldType::TextKeyword => "text + keyword",
            FieldType::Long => "long",
            FieldType::Double => "double",
            FieldType::Date => "date",
            FieldType::Boolean => "boolean",
            FieldType::Labels => "object of keywords",
        }
    }
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its path, with dots between the objects that it is in.
    pub path: &'static str,
    /// What it holds.
    pub field_type: FieldType,
    /// The kinds of documents that may have it.
    pub kinds: &'static [Kind],
    /// One sentence without its full stop.
    pub meaning: &'static str,
    /// Whether `shipper.content` decides how much of it there is.
    pub content: bool,
    /// Whether it names a person, or may hold free text of one.
    pub sensitive: bool,
}

/// The fields that documents of a kind may have, in the order of the list.
pub fn of_kind(kind: Kind) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| field.kinds.contains(&kind))
}

/// The field with this path.
pub fn by_path(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_are_unique_and_no_field_is_inside_of_another() {
        let mut paths = BTreeSet::new();
        for field in FIELDS {
            assert!(paths.insert(field.path), "{} is there twice", field.path);
        }
        for path in &paths {
            for (at, _) in path.match_indices('.') {
                assert!(!paths.contains(&path[..at]), "{path} is inside of a field");
            }
        }
    }

    #[test]
    fn content_is_sensitive_and_text() {
        for field in FIELDS.iter().filter(|field| field.content) {
            assert!(field.sensitive, "{}", field.path);
            assert_eq!(field.field_type, FieldType::Text, "{}: content may be longer than any keyword", field.path);
        }
    }

    #[test]
    fn meanings_are_one_line_without_a_final_dot() {
        for field in FIELDS {
            assert!(!field.meaning.is_empty() && !field.meaning.contains(['\n', '|']) && !field.meaning.ends_with('.'), "{}", field.path);
        }
    }

    #[test]
    fn every_kind_but_logs_has_what_people_filter_by() {
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Log) {
            for path in ["@timestamp", "dify.tenant_id", "dify.app.id", "dify.app.name", "user.id", "session.id", "labels", "trace.id"] {
                assert!(by_path(path).unwrap().kinds.contains(&kind), "{path} of {}", kind.as_str());
            }
        }
    }
}
