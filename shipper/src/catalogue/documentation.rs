//! The catalogue for people: docs/documents.md.

use std::fmt::Write as _;

use super::{ECS_VERSION, FIELDS, Field, SEMANTIC_CONVENTIONS_VERSION};
use crate::document::Kind;

const INTRODUCTION: &str = "\
<!-- Made from shipper/src/catalogue/fields.rs. After a change there: UPDATE_DOCS=1 cargo test -p dify-shipper --lib catalogue -->

# Documents of dify-shipper

One document for each record of Dify, in the alias `logs-dify.<kind>-<namespace>` of a search engine, or in files. How to ask them is in
[searching.md](searching.md), what is taken out of them before they leave in [redaction.md](redaction.md).

| kind | `_id` | one for each | final when |
|---|---|---|---|
| `workflow_run` | the run's id | workflow run, chatflows and knowledge pipelines included, with a summary of its nodes | the run ended, or was given up after `follow.abandon_after` |
| `node_execution` | the id of its row | execution of a node in a run; up to Dify 1.8.1 also each failed attempt (status `retry`) | its run is |
| `message` | the message's id | question with its answer, of every kind of app that has messages | it is answered or failed, or was given up |
| `tool_call` | `<node or agent thought>-<n>` | call of a tool by a tool node, an agent node or an agent app | the caller is |
| `retrieval` | `<node or message>-0` | search in one or more data sets: by a knowledge node, or, where an app shows citations, for a message | the searcher is |
| `feedback` | the feedback's id | feedback of a person to a message: the last one, whatever was said before | never: it is replaced when it changes and marked when it is withdrawn |

A document is written once its record is final, and again under the same `_id` when the record changes after all. The version of a document
(external) grows with the state of the record: (seconds since 2020 until the record was closed; of messages and feedback, was written) × 2³² + the
row's version (`xmin`). A run's is made of the latest of itself and its nodes, because it sums them up; that of `tool_call` and `retrieval` is
their caller's; that of a withdrawn feedback is one more than the last one.

- A field that is not known is absent. Times are UTC. Durations in `event.duration` are nanoseconds (as ECS wants it), all others seconds.
- **content** fields are there as `shipper.content` says: not at all, cut at `shipper.content_bytes`, or as far as they were fetched
  (`follow.value_bytes`). They are text in real characters; JSON columns of Dify become compact JSON text.
- **sensitive** fields name people or may hold what people wrote. All of them have gone through redaction; `user.id` and `session.id` are keyed hashes
  where `shipper.user_ids` says so.
- `text + keyword`: searched by words as `<field>`, filtered and counted as a whole as `<field>.keyword`.
- Tokens and money that belong together without counting twice are in `dify.usage.*` of `node_execution` and `message`: a chatflow's message has none,
  because its nodes have; neither has an iteration or loop (its children have), nor a workflow used as a tool (its own run has). Sum both kinds, by currency.
";

/// The catalogue as Markdown.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    let names = format!(
        "- Names follow ECS {ECS_VERSION}, below `gen_ai` OpenTelemetry's semantic conventions {SEMANTIC_CONVENTIONS_VERSION}; Dify's own are below `dify`.\n"
    );
    text.push_str(&names);
    let mut group = "";
    for field in FIELDS {
        if group_of(field) != group {
            group = group_of(field);
            write!(text, "\n## `{group}`\n\n| field | type | kinds | meaning |\n|---|---|---|---|\n").expect(INTO_MEMORY);
        }
        writeln!(text, "| `{}` | {} | {} | {}{} |", field.path, field.field_type.as_str(), kinds(field), field.meaning, marks(field))
            .expect(INTO_MEMORY);
    }
    text
}

const INTO_MEMORY: &str = "writing into memory cannot fail";

/// The object that the documentation shows a field under: the first of its path, two of Dify's own.
fn group_of(field: &Field) -> &'static str {
    let parts: Vec<usize> = field.path.match_indices('.').map(|(at, _)| at).collect();
    match (field.path.starts_with("dify."), parts.as_slice()) {
        (true, [_, second, ..]) => &field.path[..*second],
        (_, [first, ..]) => &field.path[..*first],
        _ => field.path,
    }
}

fn kinds(field: &Field) -> String {
    let all = Kind::ALL.iter().filter(|kind| **kind != Kind::Log);
    if all.clone().all(|kind| field.kinds.contains(kind)) {
        return "all".to_owned();
    }
    let names: Vec<&str> = all.filter(|kind| field.kinds.contains(kind)).map(|kind| kind.as_str()).collect();
    names.join(", ")
}

fn marks(field: &Field) -> &'static str {
    match (field.content, field.sensitive) {
        (true, _) => " (**content**)",
        (false, true) => " (**sensitive**)",
        (false, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_documentation_is_not_stale() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/documents.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == markdown(), "docs/documents.md is stale: UPDATE_DOCS=1 cargo test -p dify-shipper --lib catalogue");
    }

    #[test]
    fn fields_of_a_group_stand_together() {
        let mut groups: Vec<&str> = FIELDS.iter().map(group_of).collect();
        groups.dedup();
        let mut distinct = groups.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(groups.len(), distinct.len(), "{groups:?}");
    }
}
