//! What was written is what is read.

use std::collections::HashSet;

use dify_observe_core::dify::retention::{Cell, Column, Key, Piece, Row, Rows, Shape, Wire};
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::seed;
use uuid::Uuid;

use super::super::{BatchState, Filter};
use super::given::{Given, read};
use super::{folder, objects};

#[tokio::test]
async fn random_batches_are_read_as_they_were_written() {
    let seed = seed("random_batches_are_read_as_they_were_written");
    for number in 0..seed::length(20, 2000) {
        let given = Given::random(seed + number);
        let place = tempfile::tempdir().unwrap();
        let archive = folder(place.path());
        let written = given.write(&archive).await.unwrap();
        archive.verify(&written).await.unwrap();

        let [manifest] = <[_; 1]>::try_from(archive.unfinished().await.unwrap()).unwrap();
        assert_eq!(manifest, written, "batch {number}");
        assert_eq!(manifest.rows(), given.rows() as u64);
        let all: Vec<usize> = (0..given.bundles.len()).collect();
        for positions in all.iter().map(std::slice::from_ref).chain([all.as_slice(), &[]]) {
            let ids: Vec<Uuid> = positions.iter().map(|position| given.bundles[*position].id).collect();
            assert_eq!(read(&archive, &manifest, positions).await.unwrap(), given.content(&ids), "batch {number}, bundles {positions:?}");
        }
        expected_rows_are_those_given(&given, &archive.expected(&manifest).await.unwrap());
    }
}

fn expected_rows_are_those_given(given: &Given, expected: &[super::super::ArchivedRow]) {
    let given = given.pieces.iter().filter_map(|piece| if let Piece::Rows(rows) = piece { Some(&rows.rows) } else { None }).flatten();
    let given: Vec<(u32, Key, u32)> = given.map(|row| (row.bundle, row.key, row.xmin)).collect();
    let expected: Vec<(u32, Key, u32)> = expected.iter().map(|row| (row.bundle, row.key, row.xmin)).collect();
    assert_eq!(expected, given);
}

#[tokio::test]
async fn a_batch_is_rewritten_without_what_was_changed() {
    let seed = seed("a_batch_is_rewritten_without_what_was_changed");
    for number in 0..seed::length(12, 1000) {
        let given = Given::random(seed + number);
        let place = tempfile::tempdir().unwrap();
        let archive = folder(place.path());
        let mut manifest = given.write(&archive).await.unwrap();
        archive.set_state(&mut manifest, BatchState::Verified).await.unwrap();
        archive.set_state(&mut manifest, BatchState::Deleting).await.unwrap();
        let mut left: Vec<Uuid> = given.bundles.iter().map(|bundle| bundle.id).collect();
        while let Some(gone) = left.pop() {
            archive.supersede(&mut manifest, &HashSet::from([gone, Uuid::nil()])).await.unwrap();
            let all: Vec<usize> = (0..manifest.bundles.len()).collect();
            assert_eq!(all.len(), left.len());
            assert_eq!(read(&archive, &manifest, &all).await.unwrap(), given.content(&left), "batch {number}");
            if left.len() == given.bundles.len() / 2 {
                break;
            }
        }
        archive.set_state(&mut manifest, BatchState::Done).await.unwrap();
        assert!(archive.unfinished().await.unwrap().is_empty());

        let mut expected: Vec<String> = manifest.objects().map(|object| object.path.clone()).collect();
        let done = super::done(&archive).await;
        if left.is_empty() {
            assert!(done.is_empty());
        } else {
            assert_eq!(done, [manifest]);
            expected.extend(archive.store.list("manifests/done").await.unwrap().into_iter().map(|listed| listed.path));
        }
        expected.sort();
        assert_eq!(objects(&archive).await, expected, "batch {number}");
    }
}

#[tokio::test]
async fn batches_are_found_by_what_they_hold() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let mut batches = Vec::new();
    for number in 0..5 {
        let given = Given::random(number);
        let mut manifest = given.write(&archive).await.unwrap();
        archive.set_state(&mut manifest, BatchState::Done).await.unwrap();
        batches.push(manifest);
    }
    let one = &batches[3];
    let last = one.bundles.len() - 1;
    let found = async |filter: Filter| archive.find(&filter).await.unwrap();

    let by_bundle = found(Filter { bundles: Some(HashSet::from([one.bundles[last].id])), ..Filter::default() }).await;
    assert_eq!(by_bundle, [(one.clone(), vec![last])]);
    let by_app = found(Filter { apps: Some(HashSet::from([one.head.app_id])), ..Filter::default() }).await;
    assert_eq!(by_app, [(one.clone(), (0..=last).collect())]);
    let by_tenant = found(Filter { tenant: Some(one.head.tenant_id), ..Filter::default() }).await;
    assert_eq!(by_tenant, by_app);
    let ended_at = one.bundles[0].ended_at;
    let by_time = found(Filter { from: Some(ended_at), to: Some(Micros(ended_at.0 + 1)), ..Filter::default() }).await;
    assert_eq!(by_time, by_app);
    assert_eq!(found(Filter::default()).await.len(), 5);
    assert_eq!(
        archive.done_since(batches[4].done_at.unwrap()).await.unwrap().iter().map(|batch| batch.id).collect::<Vec<_>>(),
        [batches[4].head.id]
    );
}

#[tokio::test]
async fn many_rows_and_a_large_value_make_many_row_groups() {
    let place = tempfile::tempdir().unwrap();
    let archive = folder(place.path());
    let column = |name: &str, data_type: &str, wire| Column { name: name.to_owned(), data_type: data_type.to_owned(), wire };
    let columns = vec![column("id", "uuid", Wire::Uuid), column("outputs", "text", Wire::Text)];
    let shape = std::sync::Arc::new(Shape { table: "messages".to_owned(), columns, key: vec![0] });
    let mut given = Given::sized(1, 0..=0, 0..=0);
    const SLICE: usize = 4 << 20;
    const LENGTH: usize = 50_000_000;
    for piece in 0..2_u128 {
        let row = |number: u128| {
            let key = Key { id: Uuid::from_u128(piece << 64 | number), second: None };
            let outputs = if number == 0 { Cell::Large(LENGTH as u64) } else { Cell::Bytes(vec![b'a' + number as u8 % 20; 5000]) };
            Row { bundle: 0, key, xmin: 7, cells: vec![Cell::Uuid(key.id), outputs] }
        };
        let rows: Vec<Row> = (0..1500).map(row).collect();
        let key = rows[0].key;
        given.pieces.push(Piece::Rows(Rows { shape: shape.clone(), rows }));
        for (sequence, at) in (0..LENGTH).step_by(SLICE).enumerate() {
            let bytes = vec![b'0' + piece as u8; SLICE.min(LENGTH - at)];
            given.pieces.push(Piece::Slice { shape: shape.clone(), key, column: 1, sequence: sequence as u32, bytes });
        }
    }
    let manifest = given.write(&archive).await.unwrap();
    archive.verify(&manifest).await.unwrap();
    assert!(manifest.tables[0].rows.groups.len() >= 2);
    assert!(manifest.tables[0].chunks.as_ref().unwrap().groups.len() >= 12);
    let ids: Vec<Uuid> = given.bundles.iter().map(|bundle| bundle.id).collect();
    assert_eq!(read(&archive, &manifest, &[0]).await.unwrap(), given.content(&ids));
}
