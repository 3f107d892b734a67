//! Searches over files of the sink, compared with looking at everything.

use std::collections::BTreeMap;

use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::SinkSettings;
use dify_observe_tests::seed;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde_json::{Value, json};

use super::query::{FieldValue, Query};
use super::scan::{Effort, Hit, Scan};
use crate::document::{Document, Kind};
use crate::ndjson::NdjsonSink;
use crate::ndjson::place::Place;
use crate::ndjson::tests::document;
use crate::sink::{Checkpoint, Sink as _};

const WORDS: [&str; 8] = ["timeout", "refund", "退款", "订单", "rate_limit", "the", "order", "申请"];

async fn find(place: &Place, query: &Query, limit: usize) -> (Vec<Hit>, Effort) {
    let mut scan = Scan::begin(place, query).await.unwrap();
    let mut hits = Vec::new();
    while hits.len() < limit
        && let Some(hit) = scan.next().await.unwrap()
    {
        hits.push(hit);
    }
    (hits, scan.effort)
}

/// Random documents; some are later states of earlier ones.
struct Given {
    random: ChaCha8Rng,
    now: i64,
    latest: BTreeMap<(Kind, String), (u64, i64, Value)>,
}

impl Given {
    fn below(&mut self, end: u32) -> u32 {
        self.random.next_u32() % end
    }

    fn document(&mut self) -> Document {
        let again = self.below(6) == 0 && !self.latest.is_empty();
        let (kind, id, revision, time) = if again {
            let which = self.below(self.latest.len() as u32) as usize;
            let ((kind, id), (revision, time, _)) = self.latest.iter().nth(which).unwrap();
            (*kind, id.clone(), revision + 1, *time)
        } else {
            let late = if self.below(10) == 0 { 86_400_000_000 } else { 10_000_000 };
            let time = self.now - i64::from(self.below(1000)) * late / 1000;
            (Kind::ALL[self.below(3) as usize], format!("id{}", self.random.next_u64()), 1, time)
        };
        let words: Vec<&str> = (0..=self.below(6)).map(|_| WORDS[self.below(8) as usize]).collect();
        let status = ["succeeded", "failed"][self.below(2) as usize];
        let source = json!({"dify": {"status": status, "query": words.join(" "), "app": {"id": self.below(5)}}});
        self.latest.insert((kind, id.clone()), (revision, time, source.clone()));
        self.now += 1_000_000;
        document(kind, &id, revision, time, &source)
    }

    fn query(&mut self) -> Query {
        let kinds = (0..self.below(2)).map(|_| Kind::ALL[self.below(3) as usize]).collect();
        let from = (self.below(2) == 0).then(|| Micros(self.now - i64::from(self.below(2_000)) * 1_000_000));
        let to = (self.below(3) == 0).then(|| Micros(self.now - i64::from(self.below(1_000)) * 1_000_000));
        let mut query = Query::new(kinds, from, to);
        if self.below(2) == 0 {
            query.any_of(vec![FieldValue::new("dify.status", "failed")]);
        }
        if self.below(2) == 0 {
            let two = [0; 2].map(|_| FieldValue::new("dify.app.id", &self.below(6).to_string()));
            query.any_of(two.into());
        }
        match self.below(4) {
            0 => query.text(WORDS[self.below(8) as usize]),
            1 => query.text(&format!("\"{} {}\"", WORDS[self.below(8) as usize], WORDS[self.below(8) as usize])),
            2 => query.text("款 order"),
            _ => {}
        }
        query
    }

    /// What a look at everything finds.
    fn expected(&self, query: &Query) -> Vec<(i64, Kind, String, u64)> {
        let mut found: Vec<_> = self
            .latest
            .iter()
            .map(|((kind, id), (revision, time, source))| (document(*kind, id, *revision, *time, source), source))
            .filter(|(document, source)| {
                let head = crate::ndjson::line::Head {
                    id: document.id.clone(),
                    kind: document.kind,
                    version: document.revision,
                    time: document.time,
                };
                query.accepts(&head) && query.matches(source)
            })
            .map(|(document, _)| (document.time.0, document.kind, document.id, document.revision))
            .collect();
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, &a.2).cmp(&(b.1, &b.2))));
        found
    }
}

#[tokio::test]
async fn a_search_finds_what_a_look_at_everything_finds_newest_first() {
    let seed = seed("a_search_finds_what_a_look_at_everything_finds_newest_first");
    let mut found = 0;
    for history in 0..seed::length(2, 100) {
        let state = tempfile::tempdir().unwrap();
        let settings = SinkSettings { segment_bytes: 20_000, ..SinkSettings::default() };
        let sink = NdjsonSink::new("files", &settings, state.path()).unwrap();
        let place = Place::of("files", &settings, state.path()).unwrap();
        let random = ChaCha8Rng::seed_from_u64(seed + history);
        let mut given = Given { random, now: Micros::now().0 - 7_200_000_000, latest: BTreeMap::new() };
        sink.open().await.unwrap();
        for commit in 0..40 {
            let batch: Vec<Document> = (0..given.below(60)).map(|_| given.document()).collect();
            sink.deliver(batch.into()).await.unwrap();
            sink.commit(&Checkpoint { follow: FollowState::for_tests(commit) }).await.unwrap();
            if commit % 7 == 0 {
                sink.close().await.unwrap();
            }
        }
        for number in 0..60 {
            let query = given.query();
            let expected = given.expected(&query);
            let limit = if number % 2 == 0 { usize::MAX } else { 10 };
            let (hits, effort) = find(&place, &query, limit).await;
            let shown: Vec<_> = hits.into_iter().map(|hit| (hit.head.time.0, hit.head.kind, hit.head.id, hit.head.version)).collect();
            let expected = &expected[..limit.min(expected.len())];
            let differs = shown.iter().zip(expected).position(|(shown, expected)| shown != expected);
            let what = format!("seed {}, query {number}: {query:?}", seed + history);
            assert_eq!((differs.map(|at| (&shown[at], &expected[at])), shown.len()), (None, expected.len()), "{what}");
            assert!(effort.segments > 5, "{effort:?}");
            found += shown.len();
        }
    }
    assert!(found > 500, "{found} found");
}

#[tokio::test]
async fn only_frames_that_may_match_are_read() {
    let state = tempfile::tempdir().unwrap();
    let settings = SinkSettings::default();
    let sink = NdjsonSink::backfill("files", &settings, state.path(), "b1").unwrap();
    sink.open().await.unwrap();
    let start = Micros::now().0 - 3_600_000_000;
    for number in 0..4000_u32 {
        let mut random = ChaCha8Rng::seed_from_u64(number.into());
        let noise: String = (0..400).map(|_| format!("{:x} ", random.next_u32())).collect();
        let time = start + i64::from(number) * 100_000;
        let source =
            json!({"dify": {"query": noise, "node": {"id": format!("node-{number}")}, "status": "failed"}, "needle": number == 700});
        sink.deliver(vec![document(Kind::Message, &number.to_string(), 1, time, &source)].into()).await.unwrap();
    }
    sink.commit(&Checkpoint { follow: FollowState::for_tests(1) }).await.unwrap();
    sink.close().await.unwrap();
    let place = Place::of("files", &settings, state.path()).unwrap();
    let all = find(&place, &Query::default(), usize::MAX).await.1;
    assert!(all.frames >= 10, "{all:?}");

    let mut by_value = Query::default();
    by_value.any_of(vec![FieldValue::new("dify.node.id", "node-700")]);
    let mut by_word = Query::default();
    by_word.text(&format!("{:x}", ChaCha8Rng::seed_from_u64(700).next_u32()));
    let by_time = Query::new(vec![], Some(Micros(start + 70_000_000)), Some(Micros(start + 70_000_001)));
    for (query, most) in [(by_value, 2), (by_word, 3), (by_time, 1)] {
        let (hits, effort) = find(&place, &query, 10).await;
        assert_eq!(hits.iter().map(|hit| hit.head.id.as_str()).collect::<Vec<_>>(), ["700"]);
        assert!(effort.frames_read <= most, "{effort:?}");
    }
    // The newest are in the last frame.
    let (hits, effort) = find(&place, &Query::default(), 5).await;
    assert_eq!((hits[0].head.id.as_str(), hits.len(), effort.frames_read), ("3999", 5, 1));
}
