//! What a document can be found by: the values of its fields, and the words of its texts.

use std::collections::HashSet;

use serde_json::Value;

use super::bloom::Hash;
use super::line::Head;

/// Longer values are found by their words only.
const LONGEST_VALUE: usize = 256;

/// Words are cut here, in documents and in what is looked for alike: encoded files are no words.
const LONGEST_WORD: usize = 64;

const VALUE: Hash = Hash::new(1);
const WORD: Hash = Hash::new(2);
const ID: Hash = Hash::new(3);

/// A word; or a character of a script that puts no space between words, of which neighbours count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// In small letters.
    Word(String),
    /// Chinese, Japanese or Korean.
    Character(char),
}

/// The words of a text, in order.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    for character in text.chars().map(narrow) {
        let stands_alone = is_cjk(character);
        if !stands_alone && (character.is_alphanumeric() || character == '_') {
            if word.len() < LONGEST_WORD {
                word.extend(character.to_lowercase());
            }
            continue;
        }
        if !word.is_empty() {
            tokens.push(Token::Word(std::mem::take(&mut word)));
        }
        if stands_alone {
            tokens.push(Token::Character(character));
        }
    }
    if !word.is_empty() {
        tokens.push(Token::Word(word));
    }
    tokens
}

/// Full-width letters and digits as everybody types them.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xfee0).unwrap_or(character),
        other => other,
    }
}

fn is_cjk(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9d}' | '\u{20000}'..='\u{3ffff}')
}

/// What must be in a frame for these words to stand in it one after the other: words, pairs of characters, single characters.
pub(crate) fn hashes_of(tokens: &[Token]) -> Vec<u64> {
    let mut hashes = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) => hashes.push(WORD.text(word).finish()),
            Token::Character(character) => {
                hashes.push(characters(&[*character]));
                if let Some(Token::Character(next)) = tokens.get(index + 1) {
                    hashes.push(characters(&[*character, *next]));
                }
            }
        }
    }
    hashes
}

fn characters(characters: &[char]) -> u64 {
    characters.iter().fold(WORD, |hash, character| hash.bytes(&u32::from(*character).to_le_bytes())).finish()
}

/// Whether `wanted` stand one after the other in `tokens`.
pub(crate) fn holds(tokens: &[Token], wanted: &[Token]) -> bool {
    wanted.is_empty() || tokens.windows(wanted.len()).any(|window| window == wanted)
}

/// The hash of a field's value.
pub(crate) fn value_hash(path: &str, value: &str) -> u64 {
    VALUE.text(path).bytes(&[0]).text(value).finish()
}

/// The hash of a document's kind and id.
pub(crate) fn id_hash(head: &Head) -> u64 {
    ID.text(head.kind.as_str()).bytes(&[0]).text(&head.id).finish()
}

/// Calls `each` with every text, number and truth value in a document, and the path of its field.
pub(crate) fn leaves<'a>(value: &'a Value, path: &mut String, each: &mut impl FnMut(&str, &'a Value)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                leaves(value, path, each);
                path.truncate(length);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| leaves(value, path, each)),
        Value::Null => {}
        leaf => each(path, leaf),
    }
}

/// A leaf as text.
pub(crate) fn text_of(leaf: &Value) -> std::borrow::Cow<'_, str> {
    match leaf {
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// What the documents of a frame can be found by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Ids, and values of fields.
    pub(crate) values: HashSet<u64>,
    /// Words of texts.
    pub(crate) words: HashSet<u64>,
}

impl Terms {
    /// Adds a document.
    pub(crate) fn add(&mut self, head: &Head, document: &Value) {
        self.values.insert(id_hash(head));
        let Terms { values, words } = self;
        leaves(document, &mut String::new(), &mut |path, leaf| {
            let text = text_of(leaf);
            if text.len() <= LONGEST_VALUE {
                values.insert(value_hash(path, &text));
            }
            if leaf.is_string() {
                words.extend(hashes_of(&tokens(&text)));
            }
        });
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.words.clear();
    }
}

/// Whether a value can be looked for as a whole.
pub(crate) fn is_value(value: &str) -> bool {
    value.len() <= LONGEST_VALUE
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(text: &str) -> String {
        let word = |token: &Token| match token {
            Token::Word(word) => word.clone(),
            Token::Character(character) => character.to_string(),
        };
        tokens(text).iter().map(word).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn words_are_what_people_look_for() {
        assert_eq!(shown("Refund: HTTP-500, order_id=42!"), "refund|http|500|order_id|42");
        assert_eq!(shown("退款GPT-4申请 か한"), "退|款|gpt|4|申|请|か|한");
        assert_eq!(shown("ＡＢＣ１２３　Straße"), "abc123|straße");
        assert_eq!(shown(&"x".repeat(100)), "x".repeat(64));
    }

    #[test]
    fn phrases_are_words_one_after_the_other() {
        let text = tokens("the order 退款申请 was not found");
        assert!(holds(&text, &tokens("not found")) && holds(&text, &tokens("款申")) && holds(&text, &tokens("Order 退款")));
        assert!(!holds(&text, &tokens("found not")) && !holds(&text, &tokens("退申")) && !holds(&text, &tokens("ord")));
    }

    #[test]
    fn whatever_matches_is_in_the_index() {
        let head = Head { id: "a".to_owned(), kind: crate::document::Kind::Message, version: 1, time: Default::default() };
        let document = json!({"dify": {"tags": ["x", "y"], "answer": "我想申请退款, please", "n": 4.5, "ok": true, "none": null}});
        let mut terms = Terms::default();
        terms.add(&head, &document);
        for (path, value) in [("dify.tags", "y"), ("dify.n", "4.5"), ("dify.ok", "true")] {
            assert!(terms.values.contains(&value_hash(path, value)), "{path}");
        }
        for text in ["款", "退款", "申请退款 please", "PLEASE"] {
            assert!(hashes_of(&tokens(text)).iter().all(|hash| terms.words.contains(hash)), "{text}");
        }
        assert!(!hashes_of(&tokens("款退")).iter().all(|hash| terms.words.contains(hash)));
        assert!(terms.values.contains(&id_hash(&head)));
    }
}
