//! Where a rule may find something: one pass over the text for all words that begin or announce a secret.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// What a word announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Something with an `@` in it.
    At,
    /// A key of a vendor, by its place in [`super::keys::KEYS`].
    Key(usize),
    /// A JSON web token.
    Jwt,
    /// A block of armoured text.
    Armour,
    /// `Bearer` or `Basic`.
    Scheme,
    /// A name whose value is a secret: `password`, `api_key` and so on.
    Name(Name),
    /// The beginning of a URL's authority.
    Url,
}

/// What the value of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `authorization`: all of the line.
    Authorization,
    /// `cookie`: all of the line.
    Cookie,
    /// A password, however short.
    Password,
    /// `api_key` and the like.
    Key,
    /// Words that are as often about something else: `token`, `secret`.
    Vague,
}

/// Names, in lower case. They count with anything but a letter or digit before them or one of the usual words (`client_secret`).
const NAMES: [(&str, Name); 29] = [
    ("authorization", Name::Authorization),
    ("cookie", Name::Cookie),
    ("password", Name::Password),
    ("passwd", Name::Password),
    ("passphrase", Name::Password),
    ("passcode", Name::Password),
    ("pwd", Name::Password),
    ("密码", Name::Password),
    ("口令", Name::Password),
    ("passwort", Name::Password),
    ("contraseña", Name::Password),
    ("mot de passe", Name::Password),
    ("api_key", Name::Key),
    ("apikey", Name::Key),
    ("api-key", Name::Key),
    ("api key", Name::Key),
    ("access_key", Name::Key),
    ("accesskey", Name::Key),
    ("access-key", Name::Key),
    ("secret_key", Name::Key),
    ("secretkey", Name::Key),
    ("private_key", Name::Key),
    ("client_secret", Name::Key),
    ("access_token", Name::Key),
    ("refresh_token", Name::Key),
    ("signature", Name::Vague),
    ("credential", Name::Vague),
    ("secret", Name::Vague),
    ("token", Name::Vague),
];

/// Finds every [`Trigger`] of a text.
#[derive(Clone, Debug)]
pub(super) struct Triggers {
    words: AhoCorasick,
    meanings: Vec<Trigger>,
}

impl Triggers {
    pub(super) fn new() -> Self {
        let mut words =
            vec!["@".to_owned(), "eyj".to_owned(), "-----begin".to_owned(), "bearer".to_owned(), "basic".to_owned(), "://".to_owned()];
        let mut meanings = vec![Trigger::At, Trigger::Jwt, Trigger::Armour, Trigger::Scheme, Trigger::Scheme, Trigger::Url];
        for (at, key) in super::keys::KEYS.iter().enumerate() {
            words.push(key.prefix.to_ascii_lowercase());
            meanings.push(Trigger::Key(at));
        }
        for (word, name) in NAMES {
            words.push(word.to_owned());
            meanings.push(Trigger::Name(name));
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::DFA))
            .build(words)
            .expect("a few short words make a small automaton");
        Triggers { words, meanings }
    }

    /// Each of them, with where its word begins and ends.
    pub(super) fn find(&self, text: &str) -> impl Iterator<Item = (Trigger, usize, usize)> {
        self.words.find_iter(text.as_bytes()).map(|found| (self.meanings[found.pattern().as_usize()], found.start(), found.end()))
    }
}

/// What the value under a key of an object, or of a header, is, if the key alone says that it is a secret.
pub(super) fn name_of_key(key: &str) -> Option<Name> {
    let key = key.trim().as_bytes();
    let one = key.strip_suffix(b"s").unwrap_or(key);
    let (word, name) = NAMES.iter().find(|(word, _)| ends_with(key, word) || ends_with(one, word))?;
    // `tokens`, `prompt_tokens`: numbers. `cookies`, `credentials`: secrets.
    let plural = !ends_with(key, word);
    (!plural || !matches!(*word, "token" | "signature" | "secret")).then_some(*name)
}

fn ends_with(key: &[u8], word: &str) -> bool {
    key.len() >= word.len() && key[key.len() - word.len()..].eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_objects_tell_what_their_values_are() {
        for (key, name) in [
            ("Authorization", Some(Name::Authorization)),
            ("Set-Cookie", Some(Name::Cookie)),
            ("cookies", Some(Name::Cookie)),
            ("x-api-key", Some(Name::Key)),
            ("client_secret", Some(Name::Key)),
            ("db_password", Some(Name::Password)),
            ("token", Some(Name::Vague)),
            ("prompt_tokens", None),
            ("total_tokens", None),
            ("text", None),
        ] {
            assert_eq!(name_of_key(key), name, "{key}");
        }
    }
}
