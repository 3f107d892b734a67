//! What is looked for, and whether a document is it.

use dify_observe_core::dify::time::Micros;
use serde_json::Value;

use crate::document::Kind;
use crate::ndjson::bloom::Bloom;
use crate::ndjson::line::Head;
use crate::ndjson::terms::{Token, hashes_of, holds, is_value, leaves, text_of, tokens, value_hash};

/// What is looked for. Everything must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// One of these kinds; empty: any.
    kinds: Vec<Kind>,
    /// Not older.
    from: Option<Micros>,
    /// Older.
    to: Option<Micros>,
    fields: Vec<Vec<FieldValue>>,
    phrases: Vec<Phrase>,
}

/// A field and the value that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldValue {
    path: String,
    value: String,
    hash: Option<u64>,
}

impl FieldValue {
    /// The value of a field, by its path with dots.
    pub(crate) fn new(path: &str, value: &str) -> FieldValue {
        FieldValue { path: path.to_owned(), value: value.to_owned(), hash: is_value(value).then(|| value_hash(path, value)) }
    }
}

/// Words that must stand one after the other in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phrase {
    tokens: Vec<Token>,
    hashes: Vec<u64>,
}

impl Query {
    /// Everything of these kinds, from a time on, and before another.
    pub(crate) fn new(kinds: Vec<Kind>, from: Option<Micros>, to: Option<Micros>) -> Query {
        Query { kinds, from, to, ..Query::default() }
    }

    /// Adds a condition: one of these must hold. None at all is no condition.
    pub(crate) fn any_of(&mut self, alternatives: Vec<FieldValue>) {
        if !alternatives.is_empty() {
            self.fields.push(alternatives);
        }
    }

    /// Adds words, and phrases in quotes. An argument of the shell that has spaces and no quotes of its own is words.
    pub(crate) fn text(&mut self, text: &str) {
        for (index, part) in text.split('"').enumerate() {
            if index % 2 == 1 {
                self.phrase(part);
            } else {
                part.split_whitespace().for_each(|word| self.phrase(word));
            }
        }
    }

    fn phrase(&mut self, text: &str) {
        let tokens = tokens(text);
        if !tokens.is_empty() {
            self.phrases.push(Phrase { hashes: hashes_of(&tokens), tokens });
        }
    }

    /// Whether anything between these times can match.
    pub(crate) fn overlaps(&self, first: Micros, last: Micros) -> bool {
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first < to)
    }

    /// Whether a document with one of these values can match.
    pub(crate) fn may_have_values(&self, values: &Bloom) -> bool {
        self.fields.iter().all(|any| any.iter().any(|field| field.hash.is_none_or(|hash| values.may_hold(hash))))
    }

    /// Whether words are looked for.
    pub(crate) fn has_words(&self) -> bool {
        !self.phrases.is_empty()
    }

    /// Whether a document with these words can match.
    pub(crate) fn may_have_words(&self, words: &Bloom) -> bool {
        self.phrases.iter().all(|phrase| phrase.hashes.iter().all(|hash| words.may_hold(*hash)))
    }

    /// Whether a document is looked for, by its head alone.
    pub(crate) fn accepts(&self, head: &Head) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&head.kind)) && self.overlaps(head.time, head.time)
    }

    /// Whether its fields are what is looked for.
    pub(crate) fn matches(&self, document: &Value) -> bool {
        if self.fields.is_empty() && self.phrases.is_empty() {
            return true;
        }
        let mut fields = vec![false; self.fields.len()];
        let mut phrases = vec![false; self.phrases.len()];
        leaves(document, &mut String::new(), &mut |path, leaf| {
            let text = text_of(leaf);
            for (found, any) in fields.iter_mut().zip(&self.fields) {
                *found |= any.iter().any(|field| field.path == path && field.value == text);
            }
            // What stands in front of the line is not the document's text.
            if leaf.is_string() && !path.starts_with('_') && phrases.contains(&false) {
                let tokens = tokens(&text);
                for (found, phrase) in phrases.iter_mut().zip(&self.phrases) {
                    *found |= holds(&tokens, &phrase.tokens);
                }
            }
        });
        !fields.contains(&false) && !phrases.contains(&false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(text: &str, document: &Value) -> bool {
        let mut query = Query::default();
        query.text(text);
        query.matches(document)
    }

    #[test]
    fn all_words_in_whatever_field_and_phrases_as_they_are() {
        let document =
            json!({"_id": "secret", "dify": {"query": "Where is my order?", "answer": "订单已退款。It was refunded", "tags": ["vip"]}});
        for text in ["order refunded", "ORDER vip", "\"was refunded\"", "退款", "已退款 order", "\"my order\" vip", "\"is my\" 退", ""]
        {
            assert!(matches(text, &document), "{text}");
        }
        for text in ["order lost", "\"refunded was\"", "\"order it\"", "款退", "refund", "secret", "\"order 订单\""] {
            assert!(!matches(text, &document), "{text}");
        }
    }

    #[test]
    fn values_are_whole_and_alternatives_are_enough() {
        let document = json!({"dify": {"status": "failed", "app": {"name": "Shop bot"}, "n": 3}});
        let query = |conditions: &[&[(&str, &str)]]| {
            let mut query = Query::default();
            conditions.iter().for_each(|any| query.any_of(any.iter().map(|(path, value)| FieldValue::new(path, value)).collect()));
            query
        };
        for conditions in [
            &[&[("dify.status", "failed")][..]][..],
            &[&[("dify.app.id", "Shop bot"), ("dify.app.name", "Shop bot")], &[("dify.n", "3")]],
            &[&[]],
        ] {
            assert!(query(conditions).matches(&document), "{conditions:?}");
        }
        for conditions in [&[&[("dify.status", "fail")][..]][..], &[&[("dify.status", "failed")], &[("dify.app.name", "Shop")]]] {
            assert!(!query(conditions).matches(&document), "{conditions:?}");
        }
    }
}
