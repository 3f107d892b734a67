//! What became of each document of a bulk request, and of the request as a whole.

use serde::Deserialize;

use super::answer::{Answer, word};
use super::setback::Setback;

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is there now.
    Written,
    /// It, or a later state of it, was there already.
    Known,
    /// Not now.
    Again(Setback),
    /// Its index is gone, and may have to be made anew.
    Homeless,
    /// Never.
    Rejected {
        /// The engine's word for it.
        reason: String,
        /// The engine's sentence, which may quote the document.
        detail: String,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was worked through: one verdict for each document, in order.
    Items(Vec<Verdict>),
    /// Nothing was done; the same may succeed later.
    Again(Setback),
    /// Nothing was done; a part of it may succeed. With one document left, this is why it never will.
    TooMuch { reason: String, detail: String },
}

#[derive(Deserialize)]
struct Bulk {
    items: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    index: Item,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Option<Cause>,
    #[serde(default)]
    failure_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Cause {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    caused_by: Option<Box<Cause>>,
}

/// Judges the answer to a request of `count` documents.
pub(crate) fn judge(answer: &Answer, count: usize) -> Outcome {
    if answer.is_success() {
        return match serde_json::from_slice::<Bulk>(&answer.body) {
            Ok(bulk) if bulk.items.len() == count => Outcome::Items(bulk.items.into_iter().map(|entry| verdict(entry.index)).collect()),
            _ => Outcome::Again(Setback::new("lost_answer", "the engine's answer to a bulk request was not complete; it is sent again")),
        };
    }
    let error = answer.error_type();
    match answer.status {
        413 => Outcome::TooMuch { reason: "too_large".to_owned(), detail: "the engine takes no request of this size".to_owned() },
        // The engine could not read it, and one document may be to blame. Anything else of this status is a proxy's.
        400 if ["parse", "illegal_argument", "json"].iter().any(|part| error.contains(part)) => {
            Outcome::TooMuch { reason: error, detail: answer.error_reason() }
        }
        _ => Outcome::Again(Setback::of(answer, "send a bulk request")),
    }
}

fn verdict(item: Item) -> Verdict {
    let error = item.error.unwrap_or_default();
    let kind = word(&error.kind);
    match (item.status, kind.as_str()) {
        // A success by its status, and yet the document is not where it was sent to.
        (200 | 201, _) if item.failure_store.as_deref() == Some("used") => {
            Verdict::Rejected { reason: "failure_store".to_owned(), detail: "it is in the failure store of the engine".to_owned() }
        }
        (200 | 201, _) => Verdict::Written,
        (409, _) => Verdict::Known,
        (404, "index_not_found_exception") => Verdict::Homeless,
        (_, "cluster_block_exception" | "index_closed_exception") => {
            Verdict::Again(Setback::new("blocked", format!("an index takes no documents ({kind}): free space, or lift the block")))
        }
        (401 | 403, _) => Verdict::Again(Setback::new(
            "security",
            "the sink's user may not write: give it the rights that docs/search-engines.md lists".to_owned(),
        )),
        (429, _) => Verdict::Again(Setback::new("throttled", "the engine takes no more at the moment; it is tried again")),
        (500.., _) => {
            Verdict::Again(Setback::new("unavailable", format!("a part of the engine is not available ({kind}); it is tried again")))
        }
        _ => Verdict::Rejected { reason: if kind.is_empty() { format!("status_{}", item.status) } else { kind }, detail: sentence(&error) },
    }
}

fn sentence(error: &Cause) -> String {
    let mut sentence = error.reason.clone().unwrap_or_default();
    let mut cause = error.caused_by.as_deref();
    while let Some(inner) = cause {
        if let Some(reason) = &inner.reason {
            sentence.push_str(": ");
            sentence.push_str(reason);
        }
        cause = inner.caused_by.as_deref();
    }
    sentence.chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn judged(status: u16, body: &Value, count: usize) -> Outcome {
        judge(&Answer { status, body: Bytes::from(body.to_string()) }, count)
    }

    fn one(item: &Value) -> Verdict {
        match judged(200, &json!({ "items": [{ "index": item }] }), 1) {
            Outcome::Items(mut verdicts) => verdicts.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn again(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Again(setback) => setback.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_document_is_judged_by_itself() {
        assert_eq!(one(&json!({ "status": 201 })), Verdict::Written);
        assert_eq!(one(&json!({ "status": 200, "failure_store": "not_applicable_or_unknown" })), Verdict::Written);
        assert_eq!(one(&json!({ "status": 409, "error": { "type": "version_conflict_engine_exception" } })), Verdict::Known);
        assert_eq!(one(&json!({ "status": 404, "error": { "type": "index_not_found_exception" } })), Verdict::Homeless);
    }

    #[test]
    fn what_passes_is_not_rejected() {
        let failed = |status: u16, kind: &str| one(&json!({ "status": status, "error": { "type": kind, "reason": "x" } }));
        assert_eq!(again(&failed(429, "es_rejected_execution_exception")), "throttled");
        assert_eq!(again(&failed(429, "cluster_block_exception")), "blocked");
        assert_eq!(again(&failed(403, "cluster_block_exception")), "blocked");
        assert_eq!(again(&failed(400, "index_closed_exception")), "blocked");
        assert_eq!(again(&failed(403, "security_exception")), "security");
        assert_eq!(again(&failed(503, "unavailable_shards_exception")), "unavailable");
    }

    #[test]
    fn what_never_passes_has_its_reason() {
        let cause = json!({ "type": "illegal_argument_exception", "reason": "For input string" });
        let error = json!({ "type": "mapper_parsing_exception", "reason": "failed to parse", "caused_by": cause });
        let rejected = Verdict::Rejected { reason: "mapper_parsing_exception".into(), detail: "failed to parse: For input string".into() };
        assert_eq!(one(&json!({ "status": 400, "error": error })), rejected);
        let stored = one(&json!({ "status": 201, "failure_store": "used" }));
        assert!(matches!(stored, Verdict::Rejected { reason, .. } if reason == "failure_store"));
    }

    #[test]
    fn an_answer_that_is_not_whole_says_nothing() {
        let reason = |outcome: Outcome| match outcome {
            Outcome::Again(setback) => setback.reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(judged(200, &json!({ "items": [] }), 1)), "lost_answer");
        assert_eq!(reason(judge(&Answer { status: 200, body: Bytes::from_static(b"{\"items\":[{") }, 1)), "lost_answer");
        assert_eq!(reason(judged(502, &Value::Null, 1)), "unavailable");
        assert_eq!(reason(judged(400, &Value::Null, 1)), "refused");
    }

    #[test]
    fn a_request_that_is_too_much_is_told_from_one_that_comes_too_early() {
        assert!(matches!(judged(413, &Value::Null, 2), Outcome::TooMuch { .. }));
        let broken = json!({ "error": { "type": "x_content_parse_exception", "reason": "x" }, "status": 400 });
        assert!(matches!(judged(400, &broken, 2), Outcome::TooMuch { .. }));
        assert!(matches!(judged(429, &Value::Null, 2), Outcome::Again(_)));
    }
}
