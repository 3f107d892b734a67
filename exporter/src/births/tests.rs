//! The promise as a simulation: records happen, two Prometheus replicas scrape in turn, answers are lost, the process is
//! killed at every instant that differs from another, disks are full, apps are renamed. In the end each replica must have
//! seen as much of each series as there was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::BirthRules;
use crate::catalogue;
use crate::store::{AppLabels, Exposed, FamilyDef, Labels, Scheme, Totals};

const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);
const REPLICAS: usize = 2;
const SEEDS: u64 = 20;

/// Something that is to be counted, in whole numbers so that sums are exact.
#[derive(Clone, Debug)]
struct Record {
    app: AppLabels,
    status: &'static str,
    amount: u32,
}

/// What is durable: totals, and how many records they contain.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Durable {
    totals: Totals,
    taken: usize,
}

/// One answer: what stood in it, and who stored it.
struct Answer {
    samples: BTreeMap<String, f64>,
    stored_by: Option<usize>,
}

struct World {
    rng: ChaCha8Rng,
    rules: BirthRules,
    now: Micros,
    names: [&'static str; 3],
    records: Vec<Record>,
    disk: Vec<u8>,
    /// The process: its memory, and whether it has answered since it started.
    process: Option<(Durable, bool)>,
    answers: Vec<Answer>,
    next_replica: usize,
    is_quiet: bool,
}

impl World {
    fn new(seed: u64, rules: BirthRules) -> Self {
        let empty = Durable { totals: Totals::new(Scheme::default()), taken: 0 };
        World {
            rng: ChaCha8Rng::seed_from_u64(seed),
            rules,
            now: Micros::from_secs(1_700_000_000),
            names: ["one", "two", "three"],
            records: Vec::new(),
            disk: postcard::to_stdvec(&empty).unwrap(),
            process: None,
            answers: Vec::new(),
            next_replica: 0,
            is_quiet: false,
        }
    }

    fn chance(&mut self, percent: f64) -> bool {
        !self.is_quiet && self.rng.random_bool(percent / 100.0)
    }

    fn run(&mut self, scrapes: usize) {
        for _ in 0..scrapes {
            self.happen();
            if self.chance(2.0) {
                self.process = None;
            }
            if self.chance(5.0) {
                self.scrape(None);
            }
            let replica = self.next_replica;
            self.next_replica = (replica + 1) % REPLICAS;
            self.scrape(Some(replica));
            self.now = self.now.plus(SCRAPE_INTERVAL / REPLICAS as u32);
        }
    }

    /// Records of a few apps with a few statuses, most of them common, some rare; and now and then an app is renamed.
    fn happen(&mut self) {
        if self.is_quiet {
            return;
        }
        if self.rng.random_bool(0.01) {
            let app = self.rng.random_range(0..self.names.len());
            self.names[app] = if self.names[app] == "renamed" { "again" } else { "renamed" };
        }
        for _ in 0..self.rng.random_range(0..4) {
            let app = self.rng.random_range(0..self.names.len());
            let status = if self.rng.random_bool(0.05) { "failed" } else { "succeeded" };
            self.records.push(Record {
                app: AppLabels { id: Uuid::from_u128(app as u128), name: self.names[app].into() },
                status,
                amount: self.rng.random_range(1..5),
            });
        }
    }

    /// A scrape by a replica, or a look by a person. Returns early where the process dies on the way.
    fn scrape(&mut self, replica: Option<usize>) {
        let (mut state, has_answered) = match self.process.take() {
            Some(process) => process,
            None => (self.load(), false),
        };
        if has_answered {
            for record in &self.records[state.taken..] {
                count(&mut state.totals, record);
            }
            state.taken = self.records.len();
            state.totals.ripen(self.rules, self.now);
            if self.chance(1.0) {
                return; // killed before the state was written
            }
            if state.totals.is_dirty() {
                if self.chance(2.0) {
                    state = self.load(); // the disk is full: back to what is durable
                } else {
                    self.disk = postcard::to_stdvec(&state).unwrap();
                    state.totals.saved();
                }
            }
            if self.chance(1.0) {
                return; // killed before the answer
            }
        }
        let ticket = replica.map(|_| state.totals.begin_answer());
        let stored_by = replica.filter(|_| !self.chance(3.0));
        self.answers.push(Answer { samples: samples(&state.totals), stored_by });
        if self.chance(1.0) {
            return; // killed before the answer was reported
        }
        if let Some(ticket) = ticket {
            state.totals.answered(ticket, self.now);
        }
        self.process = Some((state, true));
    }

    fn load(&self) -> Durable {
        let mut state: Durable = postcard::from_bytes(&self.disk).unwrap();
        assert!(state.totals.adopt(Scheme::default()).is_empty());
        state
    }

    /// No more records, kills and losses, until everything has been shown and stored.
    fn settle(&mut self) {
        self.is_quiet = true;
        self.run(80);
    }

    /// What there was, by series: each app under each of its names by itself, so that nothing ends.
    fn truth(&self) -> BTreeMap<String, f64> {
        let mut by_app: BTreeMap<(Uuid, &str), Totals> = BTreeMap::new();
        for record in &self.records {
            count(by_app.entry((record.app.id, &record.app.name)).or_default(), record);
        }
        let mut truth = BTreeMap::new();
        for totals in by_app.values_mut() {
            answer(totals, 0);
            totals.ripen(BirthRules { answers: 0, hold: Duration::ZERO }, self.now);
            truth.extend(samples(totals));
        }
        truth
    }

    /// The reset-aware difference of the samples that a replica stored.
    fn seen(&self, replica: usize, series: &str) -> f64 {
        let mut last: Option<f64> = None;
        let mut seen = 0.0;
        for answer in self.answers.iter().filter(|answer| answer.stored_by == Some(replica)) {
            let Some(value) = answer.samples.get(series).copied() else { continue };
            match last {
                None => {}
                Some(before) if value < before => seen += value,
                Some(before) => seen += value - before,
            }
            last = Some(value);
        }
        seen
    }

    /// Whether the promise covers this series for this replica: in each of its lives the replica stored one sample while
    /// it was held and, where the life has ended, one with its last value.
    fn is_covered(&self, replica: usize, series: &str) -> bool {
        let lives = self.answers.split(|answer| !answer.samples.contains_key(series)).filter(|life| !life.is_empty());
        lives.into_iter().all(|life| {
            let value = |answer: &Answer| answer.samples.get(series).copied();
            let is_stored = |answer: &&Answer| answer.stored_by == Some(replica);
            let last = life.last().and_then(value);
            life.iter().take_while(|answer| value(answer) == Some(0.0)).any(|answer| is_stored(&answer))
                && life.iter().rev().take_while(|answer| value(answer) == last).any(|answer| is_stored(&answer))
        })
    }
}

fn count(totals: &mut Totals, record: &Record) {
    let labels = Labels::of_app(&record.app, ["workflow", "app-run", record.status]);
    totals.add(&catalogue::WORKFLOW_RUNS, &labels, u64::from(record.amount));
    totals.observe(&catalogue::WORKFLOW_RUN_DURATION, &labels, f64::from(record.amount), None);
    totals.add_decimal(&catalogue::LLM_COST, Labels::of_app(&record.app, ["p", "m", "USD"]), record.amount.into());
}

const FAMILIES: [&FamilyDef; 3] = [&catalogue::WORKFLOW_RUNS, &catalogue::WORKFLOW_RUN_DURATION, &catalogue::LLM_COST];

/// Everything that an answer shows, by a text that names the series.
fn samples(totals: &Totals) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for family in FAMILIES {
        for series in totals.exposed(family) {
            let name = format!("{} {}", family.name, series.label_values().collect::<Vec<_>>().join(","));
            match series.value() {
                Exposed::Counter(total, _) => _ = samples.insert(name, total as f64),
                Exposed::Decimal(total) => _ = samples.insert(name, total.to_string().parse().unwrap()),
                Exposed::Histogram(shown) => {
                    samples.insert(format!("{name} count"), shown.map_or(0.0, |shown| shown.count() as f64));
                    samples.insert(format!("{name} sum"), shown.map_or(0.0, |shown| shown.sum()));
                    samples.insert(format!("{name} le 1"), shown.map_or(0.0, |shown| shown.buckets()[..4].iter().sum::<u64>() as f64));
                }
            }
        }
    }
    samples
}

/// Runs a history and returns how many series there were for a replica, and how many of them the promise covered.
fn check(seed: u64, rules: BirthRules) -> (usize, usize) {
    let mut world = World::new(seed, rules);
    world.run(500);
    world.settle();
    let truth = world.truth();
    let exposed: BTreeSet<&String> = world.answers.iter().flat_map(|answer| answer.samples.keys()).collect();
    assert_eq!(exposed.len(), truth.len(), "seed {seed}: every series was exposed");
    let mut covered = 0;
    for (series, truth) in &truth {
        for replica in 0..REPLICAS {
            let seen = world.seen(replica, series);
            assert!(seen <= *truth, "seed {seed}: replica {replica} saw {seen} of {truth} of {series}");
            if world.is_covered(replica, series) {
                covered += 1;
                assert_eq!(seen, *truth, "seed {seed}: replica {replica}, {series}");
            }
        }
    }
    (truth.len() * REPLICAS, covered)
}

#[test]
fn every_replica_sees_every_increase_through_kills_and_losses() {
    let rules = BirthRules::new(Duration::from_secs(120));
    let (mut all, mut covered) = (0, 0);
    for seed in 0..SEEDS {
        let (series, of_them) = check(seed, rules);
        all += series;
        covered += of_them;
    }
    // Two minutes hold eight scrapes of each replica: hardly ever are all of them lost.
    assert!(covered * 1000 >= all * 999, "{covered} of {all}");
}

#[test]
fn without_time_three_answers_help_but_do_not_suffice() {
    let rules = BirthRules::new(Duration::ZERO);
    let (all, covered) = (0..SEEDS).map(|seed| check(seed, rules)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert!(covered < all, "the simulation loses answers: {covered} of {all}");
    assert!(covered * 100 >= all * 90, "{covered} of {all}");
}

#[test]
fn without_births_increases_are_lost() {
    let rules = BirthRules { answers: 0, hold: Duration::ZERO };
    let mut world = World::new(7, rules);
    world.run(500);
    world.settle();
    let truth = world.truth();
    let lost = truth.iter().filter(|(series, truth)| world.seen(0, series) < **truth).count();
    assert!(lost > 0, "the simulation must be able to see the loss that births prevent");
}

fn labels(name: &str) -> Labels {
    Labels::of_app(&AppLabels { id: Uuid::from_u128(1), name: name.into() }, ["workflow", "app-run", "failed"])
}

fn shown(totals: &Totals) -> Vec<(String, u64)> {
    let series = totals.exposed(&catalogue::WORKFLOW_RUNS);
    let counters = series.filter_map(|series| match series.value() {
        Exposed::Counter(total, _) => Some((series.label_values().nth(1)?.to_owned(), total)),
        _ => None,
    });
    counters.collect()
}

fn answer(totals: &mut Totals, at: u64) {
    let ticket = totals.begin_answer();
    totals.answered(ticket, Micros::from_secs(at as i64));
}

#[test]
fn a_value_waits_for_three_answers_and_the_hold() {
    let rules = BirthRules::new(Duration::from_secs(120));
    let mut totals = Totals::new(Scheme::default());
    totals.add(&catalogue::WORKFLOW_RUNS, labels("a"), 5);
    totals.saved();
    for second in [0, 15, 119] {
        totals.ripen(rules, Micros::from_secs(second));
        assert_eq!(shown(&totals), [("a".to_owned(), 0)], "after {second} s");
        answer(&mut totals, second as u64);
    }
    assert!(!totals.is_dirty(), "answers by themselves are not worth a write");
    totals.ripen(rules, Micros::from_secs(120));
    assert_eq!(shown(&totals), [("a".to_owned(), 5)]);
    assert!(totals.is_dirty(), "that a value is shown must be durable before it is");
}

#[test]
fn an_answer_that_began_before_the_birth_does_not_count() {
    let rules = BirthRules { answers: 1, hold: Duration::ZERO };
    let mut totals = Totals::new(Scheme::default());
    let early = totals.begin_answer();
    totals.add(&catalogue::WORKFLOW_RUNS, labels("a"), 5);
    totals.answered(early, Micros(1));
    totals.ripen(rules, Micros(1));
    assert_eq!(shown(&totals), [("a".to_owned(), 0)]);
    answer(&mut totals, 1);
    totals.ripen(rules, Micros::from_secs(1));
    assert_eq!(shown(&totals), [("a".to_owned(), 5)]);
}

#[test]
fn a_renamed_app_ends_when_its_last_value_was_seen() {
    let rules = BirthRules { answers: 1, hold: Duration::ZERO };
    let mut totals = Totals::new(Scheme::default());
    let turn = |totals: &mut Totals| {
        totals.ripen(rules, Micros(1));
        let before = shown(totals);
        answer(totals, 0);
        before
    };
    totals.add(&catalogue::WORKFLOW_RUNS, labels("old"), 5);
    assert_eq!(turn(&mut totals), [("old".to_owned(), 0)]);
    assert_eq!(turn(&mut totals), [("old".to_owned(), 5)]);
    totals.add(&catalogue::WORKFLOW_RUNS, labels("old"), 1);
    totals.add(&catalogue::WORKFLOW_RUNS, labels("new"), 2);
    assert_eq!(turn(&mut totals), [("new".to_owned(), 0), ("old".to_owned(), 6)], "the last value once more");
    assert_eq!(turn(&mut totals), [("new".to_owned(), 2)]);
    assert_eq!(totals.counter(&catalogue::WORKFLOW_RUNS, labels("old")), 0);
}

#[test]
fn a_histogram_is_all_zero_or_all_shown() {
    let rules = BirthRules { answers: 1, hold: Duration::ZERO };
    let mut totals = Totals::new(Scheme::default());
    totals.observe(&catalogue::WORKFLOW_RUN_DURATION, labels("a"), 3.0, None);
    let value = |totals: &Totals| match totals.exposed(&catalogue::WORKFLOW_RUN_DURATION).next().unwrap().value() {
        Exposed::Histogram(shown) => shown.map(|shown| (shown.count(), shown.sum())),
        other => panic!("{other:?}"),
    };
    assert_eq!(value(&totals), None);
    answer(&mut totals, 0);
    totals.ripen(rules, Micros(1));
    assert_eq!(value(&totals), Some((1, 3.0)));
}
