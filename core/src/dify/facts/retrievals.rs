//! What knowledge bases answered.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{UNKNOWN, picked, word};
use crate::dify::catalog::GraphNode;
use crate::dify::json;
use crate::dify::records::{Message, Node, Word};

/// What one data set answered to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// The data set's id; `unknown` where no row says it
    pub dataset: Word,
    /// How many segments came from it. None is a miss.
    pub documents: u64,
    /// Their scores, where they have one. Scales differ between data sets.
    pub scores: Vec<f64>,
}

impl Retrieval {
    /// Whether anything was found.
    pub fn is_hit(&self) -> bool {
        self.documents > 0
    }
}

/// The retrievals of a knowledge-retrieval node that succeeded: one for each data set it is set to. Without the canvas, one
/// for each data set that answered, or one miss of an unknown data set.
pub fn node_retrievals(node: &Node, graph: Option<&GraphNode>) -> Vec<Retrieval> {
    if &*node.node_type != "knowledge-retrieval" || &*node.status != "succeeded" {
        return Vec::new();
    }
    let Some(outputs) = node.outputs.as_deref() else { return Vec::new() };
    let outputs = json::pick(outputs, &["result"]);
    let Some(result) = outputs.get("result").and_then(Value::as_array) else { return Vec::new() };
    let asked = graph.filter(|graph| !graph.picks_one_dataset || graph.dataset_ids.len() == 1).map(|graph| &*graph.dataset_ids);
    let mut found = by_dataset(result.iter().map(|document| &document["metadata"]));
    for dataset in asked.unwrap_or_default() {
        found.entry(dataset.clone()).or_default();
    }
    if found.is_empty() {
        found.insert(UNKNOWN.into(), (0, Vec::new()));
    }
    retrievals(found)
}

/// What a chat or agent app quoted from data sets. Only hits are stored, and only when the app shows citations. A chatflow's
/// message repeats its nodes and has none of its own.
pub fn message_retrievals(message: &Message) -> Vec<Retrieval> {
    if message.workflow_run_id.is_some() || message.app_mode.as_deref() == Some("advanced-chat") {
        return Vec::new();
    }
    let metadata = picked(message.metadata.as_deref(), &["retriever_resources"]);
    let resources = metadata.get("retriever_resources").and_then(Value::as_array);
    retrievals(by_dataset(resources.into_iter().flatten()))
}

fn by_dataset<'a>(documents: impl Iterator<Item = &'a Value>) -> BTreeMap<Word, (u64, Vec<f64>)> {
    let mut found: BTreeMap<Word, (u64, Vec<f64>)> = BTreeMap::new();
    for document in documents {
        let dataset = word(document.get("dataset_id")).unwrap_or_else(|| UNKNOWN.into());
        let (documents, scores) = found.entry(dataset).or_default();
        *documents += 1;
        scores.extend(document.get("score").and_then(json::number));
    }
    found
}

fn retrievals(found: BTreeMap<Word, (u64, Vec<f64>)>) -> Vec<Retrieval> {
    found.into_iter().map(|(dataset, (documents, scores))| Retrieval { dataset, documents, scores }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dify::facts::tests::node;

    fn asked(output: &str, graph: Option<&GraphNode>) -> Vec<(String, u64, usize)> {
        let mut kb = node("knowledge-retrieval", "succeeded");
        kb.outputs = Some(output.into());
        node_retrievals(&kb, graph).into_iter().map(|found| (found.dataset.to_string(), found.documents, found.scores.len())).collect()
    }

    const TWO: &str = r#"{"result": [{"metadata": {"dataset_id": "a", "score": 0.5}}, {"metadata": {"dataset_id": "a", "score": null}}]}"#;

    #[test]
    fn each_data_set_that_was_asked_hits_or_misses() {
        let graph = GraphNode { dataset_ids: vec!["a".into(), "b".into()], ..GraphNode::default() };
        assert_eq!(asked(TWO, Some(&graph)), [("a".into(), 2, 1), ("b".into(), 0, 0)]);
        assert_eq!(asked(r#"{"result": []}"#, Some(&graph)), [("a".into(), 0, 0), ("b".into(), 0, 0)]);
    }

    #[test]
    fn without_the_canvas_hits_are_known_and_a_miss_is_nobodys() {
        assert_eq!(asked(TWO, None), [("a".into(), 2, 1)]);
        assert_eq!(asked(r#"{"result": []}"#, None), [("unknown".into(), 0, 0)]);
        assert!(asked("{}", None).is_empty());
    }

    #[test]
    fn where_a_model_picks_one_the_others_did_not_miss() {
        let graph = GraphNode { dataset_ids: vec!["a".into(), "b".into()], picks_one_dataset: true, ..GraphNode::default() };
        assert_eq!(asked(TWO, Some(&graph)), [("a".into(), 2, 1)]);
        assert_eq!(asked(r#"{"result": []}"#, Some(&graph)), [("unknown".into(), 0, 0)]);
    }

    #[test]
    fn a_failed_retrieval_is_none() {
        let mut kb = node("knowledge-retrieval", "failed");
        kb.outputs = Some(r#"{"result": []}"#.into());
        assert!(node_retrievals(&kb, None).is_empty());
    }
}
