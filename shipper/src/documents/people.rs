//! Who is behind a record, and how documents name them.

use std::time::Duration;

use dify_observe_core::content::PersonIds;
use dify_observe_core::dify::catalog::EndUser;
use dify_observe_core::dify::records::Run;
use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use super::parts::{Id, Source, Time, UserPart};

/// A person whose first contact with the app is younger than this is new, later they are returning. A web app knows its visitors some
/// minutes before their first question. The exporter counts by the same hour.
const NEW_USER: Duration = Duration::from_secs(3600);

/// The input variable in which Dify hands the caller's name for the end user to a workflow.
const VARIABLE: &str = "sys.user_id";

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Person<'a> {
    /// An end user, and what the app knows of them where the row is there.
    EndUser(Uuid, Option<&'a EndUser>),
    /// Somebody with an account of Dify's own.
    Account(Uuid),
    /// Nobody knows.
    Unknown,
}

impl<'a> Person<'a> {
    /// What the caller of the API called them.
    pub(super) fn session(self) -> Option<&'a str> {
        match self {
            Person::EndUser(_, Some(user)) => Some(&user.session_id),
            _ => None,
        }
    }

    /// Whether they were new when they asked.
    pub(super) fn is_new(self, at: Micros) -> Option<bool> {
        match self {
            Person::EndUser(_, Some(user)) => Some(at.since(user.first_seen) < NEW_USER),
            _ => None,
        }
    }
}

/// The end user behind a run, if it was one.
pub(super) fn end_user_of_run(run: &Run) -> Option<Uuid> {
    matches!(&*run.created_by_role, "end_user" | "end-user").then_some(run.created_by)
}

/// Names a person in a document; says what goes under `dify.user`.
pub(super) fn name(source: &mut Source, ids: &PersonIds, person: Person<'_>, at: Micros) -> Option<UserPart> {
    let (id, role) = match person {
        Person::EndUser(id, _) => (id, "end_user"),
        Person::Account(id) => (id, "account"),
        Person::Unknown => return None,
    };
    source.user = Some(Id { id: Some(ids.id(&id.hyphenated().to_string())) });
    source.session = person.session().map(|plain| Id { id: Some(ids.id(plain)) });
    let first_seen = match person {
        Person::EndUser(_, Some(user)) => Time::of(user.first_seen),
        _ => None,
    };
    let age = person.is_new(at).map(|new| if new { "new" } else { "returning" });
    Some(UserPart { role: Some(role), first_seen, age })
}

/// Where documents name people by hashes, their content must not name them in clear: `session` as a word of its own, and whatever the
/// inputs of a workflow say under the variable of that name, become the hash.
pub(super) fn hide(ids: &PersonIds, mut text: String, session: Option<&str>) -> String {
    if matches!(ids, PersonIds::Plain) {
        return text;
    }
    if text.contains(VARIABLE) {
        text = hide_variable(ids, &text);
    }
    match session.filter(|session| session.chars().count() > 1 && text.contains(session)) {
        Some(session) => hide_word(&text, session, &ids.id(session)),
        None => text,
    }
}

fn hide_word(text: &str, word: &str, hash: &str) -> String {
    let mut out = String::with_capacity(text.len() + hash.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let joins = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric());
        out.push_str(before);
        let is_part = joins(before.chars().next_back().or(out.chars().next_back())) || joins(after.chars().next());
        out.push_str(if is_part { word } else { hash });
        rest = after;
    }
    out + rest
}

/// The variable's name, perhaps as `#sys.user_id#`, a colon, and a text: compact JSON, as documents hold it.
fn hide_variable(ids: &PersonIds, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(VARIABLE) {
        let end = at + VARIABLE.len();
        out.push_str(&rest[..end]);
        rest = &rest[end..];
        let key_end = rest.strip_prefix('#').unwrap_or(rest);
        let Some(value) = key_end.strip_prefix("\":\"") else { continue };
        let close = closing_quote(value);
        let plain = serde_json::from_str(&format!("\"{}\"", &value[..close])).unwrap_or_else(|_| value[..close].to_owned());
        out.push_str(&rest[..rest.len() - value.len()]);
        out.push_str(&ids.id(&plain));
        rest = &value[close..];
    }
    out + rest
}

/// Where a JSON text ends; the end of the whole where it was cut.
fn closing_quote(value: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return at,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str, session: Option<&str>) -> String {
        let ids = PersonIds::hashed(b"a key of sixteen bytes or more");
        let hash = |plain: &str| ids.id(plain);
        hide(&ids, text.to_owned(), session).replace(&hash("u-1"), "<u-1>").replace(&hash("王 \"x\""), "<王>")
    }

    #[test]
    fn a_name_is_hidden_where_it_is_a_word_of_its_own() {
        assert_eq!(hidden("u-1 and (u-1), u-12, xu-1, 汉u-1字", Some("u-1")), "<u-1> and (<u-1>), u-12, xu-1, 汉<u-1>字");
        assert_eq!(hidden("u-1u-1 u-1", Some("u-1")), "u-1u-1 <u-1>");
        assert_eq!(hidden("nobody known: u-1", None), "nobody known: u-1");
    }

    #[test]
    fn the_variable_is_hidden_whoever_it_is() {
        assert_eq!(
            hidden(r##"{"sys.user_id":"u-1","#sys.user_id#":"u-1"}"##, None),
            r##"{"sys.user_id":"<u-1>","#sys.user_id#":"<u-1>"}"##
        );
        assert_eq!(hidden(r#"{"sys.user_id":"王 \"x\"","a":1}"#, None), r#"{"sys.user_id":"<王>","a":1}"#);
        assert_eq!(hidden(r#"{"sys.user_id":null}, sys.user_id"#, None), r#"{"sys.user_id":null}, sys.user_id"#);
        let cut = hidden(r#"{"sys.user_id":"u-12"#, None);
        assert!(!cut.contains("u-12") && cut.starts_with(r#"{"sys.user_id":"h:"#), "{cut}");
    }

    #[test]
    fn plain_ids_leave_texts_as_they_are() {
        assert_eq!(hide(&PersonIds::Plain, r#"{"sys.user_id":"u-1"}"#.to_owned(), Some("u-1")), r#"{"sys.user_id":"u-1"}"#);
    }
}
