//! Text that never shows itself.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// What stands in place of a secret wherever one would be shown.
pub const REDACTED: &str = "<redacted>";

/// A password, a key, or a URL that holds one. `Debug` and `Serialize` print a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, for the one call that needs it. Never log it, never put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads a secret from a file and removes one line break at its end, which most editors and `echo` add.
    pub fn from_file(path: &Path) -> Result<Self, SecretFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| SecretFileError::Unreadable { path: path.to_owned(), source })?;
        let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if trimmed.is_empty() {
            return Err(SecretFileError::Empty { path: path.to_owned() });
        }
        Ok(Secret::new(trimmed))
    }

    /// Fills `value` from `file`, the partner key `<key>_file`, when that is the one that was given.
    pub fn resolve(value: &mut Option<Secret>, file: Option<&Path>) -> Result<(), SecretFileError> {
        match (&value, file) {
            (Some(_), Some(_)) => Err(SecretFileError::Both),
            (None, Some(path)) => {
                *value = Some(Secret::from_file(path)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Why a secret could not be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("cannot read the file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file has no content.
    #[error("the file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The value and its file are both given.
    #[error("is given twice, as itself and as a file: keep one of the two")]
    Both,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Takes text only. serde's own complaint about another type would show the value.
struct SecretVisitor;

const NOT_TEXT: &str = "a secret is text: put it between quotes";

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text between quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom(NOT_TEXT))
    }
}

/// Removes what stands between `://` and `@` in every URL of a text, for messages that quote what somebody else wrote.
pub fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '`' | '\'')).unwrap_or(after.len());
        let (url, remainder) = after.split_at(end);
        match url.rfind('@') {
            Some(at) => {
                clean.push_str(REDACTED);
                clean.push_str(&url[at..]);
            }
            None => clean.push_str(url),
        }
        rest = remainder;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shows_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "<redacted> Some(<redacted>)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"<redacted>\"");
    }

    #[test]
    fn a_number_in_its_place_is_refused_without_being_shown() {
        for wrong in ["123456789", "12345.5", "true", "[123456789]", "{ a = 123456789 }", "2026-01-01"] {
            #[derive(Debug, serde::Deserialize)]
            struct Holder {
                #[expect(dead_code, reason = "only whether it can be read matters")]
                key: Secret,
            }
            let error = toml::from_str::<Holder>(&format!("key = {wrong}")).unwrap_err();
            assert!(!error.message().contains("12345"), "{}", error.message());
        }
    }

    #[test]
    fn one_line_break_is_removed_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (content, expected) in [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a ")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::from_file(&path).unwrap().expose(), expected);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretFileError::Empty { .. })));
    }

    #[test]
    fn a_secret_and_its_file_exclude_each_other() {
        let mut value = Some(Secret::new("a"));
        assert!(matches!(Secret::resolve(&mut value, Some(Path::new("/nowhere"))), Err(SecretFileError::Both)));
        let mut value = None;
        assert!(matches!(Secret::resolve(&mut value, Some(Path::new("/nowhere"))), Err(SecretFileError::Unreadable { .. })));
    }

    #[test]
    fn scrubbing_removes_every_user_part() {
        assert_eq!(
            scrub("bad `postgres://u:p@ss/w@host/db` and http://k:s@x, see http://example.org/a"),
            "bad `postgres://<redacted>@host/db` and http://<redacted>@x, see http://example.org/a"
        );
        assert_eq!(scrub("nothing here ://"), "nothing here ://");
    }
}
