//! One thing that an engine must hold.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::elasticsearch::partitions::MARK;

/// Where it is, what it is made from, and where its mark is found.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// What people call it.
    pub(super) name: String,
    /// The path of GET and PUT.
    pub(super) path: String,
    /// What is put.
    pub(super) body: Value,
    /// Of the body before the mark was put into it.
    pub(super) fingerprint: String,
    /// The mark in the answer to a GET, as a JSON pointer.
    pub(super) mark: String,
    pub(super) sort: Sort,
}

/// What has to be done differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A PUT replaces it.
    Plain,
    /// OpenSearch's policies are replaced by who names the version that is replaced, and may be missing altogether.
    Policy,
}

impl Object {
    /// An object whose body takes a `_meta` at `meta`, a JSON pointer in the body ("" is the top).
    pub(super) fn marked(name: String, path: String, mut body: Value, meta: &str, mark: String) -> Self {
        let fingerprint = fingerprint(&body);
        if let Some(holder) = body.pointer_mut(meta) {
            holder["_meta"][MARK]["fingerprint"] = json!(fingerprint);
        }
        Object { name, path, body, fingerprint, mark, sort: Sort::Plain }
    }

    /// Whether what a GET answered was made from the same.
    pub(super) fn is_same(&self, answer: &Value) -> bool {
        answer.pointer(&self.mark).and_then(Value::as_str).is_some_and(|mark| mark.contains(&self.fingerprint))
    }
}

/// Sixteen hexadecimal digits of what an object is made from.
pub(super) fn fingerprint(body: &Value) -> String {
    let digest = Sha256::digest(body.to_string());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
