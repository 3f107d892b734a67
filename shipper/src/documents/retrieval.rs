//! Searches in data sets.

use std::collections::BTreeSet;

use dify_observe_core::dify::facts::{self, Retrieval, UNKNOWN};
use dify_observe_core::dify::json;
use dify_observe_core::dify::records::{Message, Value, Word};
use serde_json::Value as Json;
use uuid::Uuid;

use super::node::{self, Step};
use super::parts::{NodePart, RetrievalPart, some};
use super::revision;
use super::scene::{Base, Identity, Scene, event, span};
use crate::document::{Document, Kind};

/// Most segments of one search whose documents and scores are listed. Dify returns ten or fewer by default.
const MOST: usize = 100;

/// The search of a knowledge-retrieval node.
pub(super) fn of_node(scene: Scene<'_>, base: &Base<'_>, step: &Step<'_>, part: &NodePart, out: &mut Vec<Document>) {
    let node = step.node;
    let found = facts::node_retrievals(node, step.graph);
    if found.is_empty() {
        return;
    }
    let outputs = node.outputs.as_deref().map(|text| json::pick(text, &["result"])).unwrap_or_default();
    let result = outputs.get("result").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let segments: Vec<&Json> = result.iter().map(|segment| &segment["metadata"]).collect();
    let inputs = node.inputs.as_deref().map(|text| json::pick(text, &["query"])).unwrap_or_default();
    let query = inputs.get("query").and_then(json::text);
    let mut source = base.source.clone();
    let (start, end) = node::times(node);
    source.span = Some(span(node.id));
    source.event = Some(event("success", step.ran().then_some(node.elapsed_seconds), start, end));
    if let Some(dify) = source.dify.as_mut() {
        dify.status = Some(step.status.clone());
        dify.node = Some(Box::new(part.clone()));
        let query = scene.text(base, query, node.cuts.has(Value::Inputs));
        dify.retrieval = Some(Box::new(RetrievalPart { query, ..describe(scene, base, &found, &segments) }));
    }
    base.write(source, node::identity(node, Kind::Retrieval, Some(0)), out);
}

/// What a chat or agent app quoted.
pub(super) fn of_message(scene: Scene<'_>, base: &Base<'_>, message: &Message, status: &Word, out: &mut Vec<Document>) {
    let found = facts::message_retrievals(message);
    if found.is_empty() {
        return;
    }
    let resources = resources(message);
    let segments: Vec<&Json> = resources.iter().collect();
    let mut source = base.source.clone();
    source.span = Some(span(message.id));
    source.event = Some(event("success", None, Some(message.created_at), None));
    if let Some(dify) = source.dify.as_mut() {
        dify.status = Some(status.clone());
        let query = scene.text(base, message.query.as_deref(), message.cuts.has(Value::Query));
        dify.retrieval = Some(Box::new(RetrievalPart { query, ..describe(scene, base, &found, &segments) }));
    }
    let id = format!("{}-0", message.id.hyphenated());
    base.write(source, Identity { kind: Kind::Retrieval, id, revision: revision::of_message(message), time: message.created_at }, out);
}

/// The segments that a message quotes, of every kind of app.
pub(super) fn resources(message: &Message) -> Vec<Json> {
    let mut metadata = message.metadata.as_deref().map(|text| json::pick(text, &["retriever_resources"])).unwrap_or_default();
    match metadata.remove("retriever_resources") {
        Some(Json::Array(resources)) => resources,
        _ => Vec::new(),
    }
}

fn describe(scene: Scene<'_>, base: &Base<'_>, found: &[Retrieval], segments: &[&Json]) -> RetrievalPart {
    let listed = &segments[..segments.len().min(MOST)];
    let ids = |key: &str| -> Vec<Word> {
        let ids: BTreeSet<&str> = listed.iter().filter_map(|segment| json::text(&segment[key])).collect();
        ids.into_iter().map(Word::from).collect()
    };
    let names =
        |key: &str| -> BTreeSet<String> { listed.iter().filter_map(|segment| scene.title(base, json::text(&segment[key])?)).collect() };
    let known = |retrieval: &&Retrieval| &*retrieval.dataset != UNKNOWN;
    let missed: Vec<Word> = found.iter().filter(known).filter(|found| !found.is_hit()).map(|found| found.dataset.clone()).collect();
    let named = missed.iter().filter_map(|id| scene.catalog.dataset(Uuid::parse_str(id).ok()?));
    let mut datasets = names("dataset_name");
    datasets.extend(named.filter_map(|dataset| scene.title(base, &dataset.name)));
    let scores: Vec<f64> = listed.iter().filter_map(|segment| json::number(&segment["score"])).collect();
    RetrievalPart {
        query: None,
        result: Some(if found.iter().any(Retrieval::is_hit) { "hit" } else { "miss" }),
        count: Some(found.iter().map(|found| found.documents).sum()),
        dataset_ids: some(found.iter().filter(known).map(|found| found.dataset.clone()).collect()),
        datasets: some(datasets.into_iter().collect()),
        missed_dataset_ids: some(missed),
        document_ids: some(ids("document_id")),
        documents: some(names("document_name").into_iter().collect()),
        top_score: scores.iter().copied().reduce(f64::max),
        scores: some(scores),
    }
}
