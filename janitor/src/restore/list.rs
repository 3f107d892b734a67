//! What the archive holds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use dify_observe_core::dify::retention::Root;
use serde::Serialize;
use uuid::Uuid;

use super::Found;

/// Up to so many bundles are listed one by one.
const FEW: usize = 20;

/// A batch, or as much of it as was asked for.
#[derive(Debug, Serialize)]
pub(super) struct ListedBatch<'a> {
    batch: Uuid,
    tenant_id: Uuid,
    app_id: Uuid,
    day: String,
    kind: Root,
    policy: &'a str,
    /// Of the whole batch.
    rows: u64,
    /// Of the whole batch, compressed.
    bytes: u64,
    bundles: Vec<ListedBundle>,
}

/// A bundle.
#[derive(Debug, Serialize)]
struct ListedBundle {
    id: Uuid,
    ended_at: String,
    runs: usize,
    messages: usize,
}

/// For programs: batch by batch.
pub(super) fn batches(found: &[Found]) -> Vec<ListedBatch<'_>> {
    let bundle = |(manifest, position): (&crate::archive::Manifest, &usize)| {
        let bundle = &manifest.bundles[*position];
        let (runs, messages) = (bundle.runs.len(), bundle.messages.len());
        ListedBundle { id: bundle.id, ended_at: bundle.ended_at.to_string(), runs, messages }
    };
    let batch = |(manifest, positions): &'_ Found| {
        (manifest.rows(), manifest.bytes(), positions.iter().map(|position| bundle((manifest, position))).collect())
    };
    found
        .iter()
        .map(|found| {
            let (rows, bytes, bundles) = batch(found);
            let head = &found.0.head;
            let (batch, tenant_id, app_id) = (head.id, head.tenant_id, head.app_id);
            ListedBatch { batch, tenant_id, app_id, day: day(head.day), kind: head.root, policy: &head.policy, rows, bytes, bundles }
        })
        .collect()
}

/// For people: by day and app, and the bundles themselves where they are few.
pub(super) fn write_text(found: &[Found], out: &mut impl Write) -> io::Result<()> {
    let mut lines: BTreeMap<(i32, Uuid, Root), (usize, u64, u64)> = BTreeMap::new();
    for (manifest, positions) in found {
        let line = lines.entry((manifest.head.day, manifest.head.app_id, manifest.head.root)).or_default();
        line.0 += positions.len();
        line.1 += manifest.rows();
        line.2 += manifest.bytes();
    }
    if lines.is_empty() {
        return writeln!(out, "the archive holds nothing that fits");
    }
    writeln!(out, "{:10}  {:36}  {:13}  {:>9}  {:>11}  {:>14}", "day", "app", "kind", "bundles", "batch rows", "batch bytes")?;
    for ((on, app_id, root), (bundles, rows, bytes)) in &lines {
        writeln!(out, "{:10}  {app_id}  {:13}  {bundles:>9}  {rows:>11}  {bytes:>14}", day(*on), root.table())?;
    }
    let all = || found.iter().flat_map(|(manifest, positions)| positions.iter().map(|position| &manifest.bundles[*position]));
    let count = all().count();
    if count <= FEW {
        for bundle in all() {
            let (runs, messages) = (bundle.runs.len(), bundle.messages.len());
            writeln!(out, "{} {}: ended {}, {runs} runs, {messages} messages", bundle.root.table(), bundle.id, bundle.ended_at)?;
        }
    }
    writeln!(out, "{count} bundles in {} batches", found.len())
}

fn day(day: i32) -> String {
    chrono::NaiveDate::from_epoch_days(day).map_or_else(|| day.to_string(), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use dify_observe_core::dify::retention::Bundle;
    use dify_observe_core::dify::time::Micros;

    use super::*;
    use crate::archive::{BatchHead, Kept, Manifest};

    fn found(bundles: usize) -> Vec<Found> {
        let id = |number: usize| Uuid::from_u128(number as u128);
        let bundle = |number| Bundle {
            root: Root::Conversation,
            id: id(number),
            tenant_id: id(1),
            app_id: id(2),
            status: None,
            ended_at: Micros::from_secs(86_400),
            newest: Micros::from_secs(86_400),
            runs: Vec::new(),
            messages: vec![id(3), id(4)],
        };
        let head = BatchHead {
            id: id(5),
            tenant_id: id(1),
            app_id: id(2),
            day: 1,
            root: Root::Conversation,
            policy: "default".to_owned(),
            written_at: Micros(0),
            alembic: None,
            database: String::new(),
        };
        let manifest = Manifest::new(head, Kept::Rows, (0..bundles).map(bundle).collect(), Vec::new());
        vec![(manifest, (0..bundles).collect())]
    }

    fn text(found: &[Found]) -> String {
        let mut out = Vec::new();
        write_text(found, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn few_bundles_are_listed_one_by_one_and_many_by_day() {
        let one = text(&found(1));
        assert!(one.contains("1970-01-02  00000000-0000-0000-0000-000000000002  conversations"), "{one}");
        assert!(
            one.contains("conversations 00000000-0000-0000-0000-000000000000: ended 1970-01-02T00:00:00Z, 0 runs, 2 messages"),
            "{one}"
        );
        let many = text(&found(FEW + 1));
        assert!(!many.contains("ended") && many.ends_with("21 bundles in 1 batches\n"), "{many}");
        assert_eq!(text(&[]), "the archive holds nothing that fits\n");
    }

    #[test]
    fn programs_get_every_bundle() {
        let found = found(FEW + 1);
        let json = serde_json::to_value(batches(&found)).unwrap();
        assert_eq!(json[0]["bundles"].as_array().map(Vec::len), Some(FEW + 1));
        assert_eq!((json[0]["day"].as_str(), json[0]["kind"].as_str()), (Some("1970-01-02"), Some("conversation")));
    }
}
