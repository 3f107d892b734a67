//! The simulator against real databases of every release.

mod real;

use std::collections::BTreeMap;

use crate::{
    Schema,
    postgres::Cluster,
    seed::{length, seed},
};

use uuid::Uuid;

use super::{Deletions, Faults, Options, Reference, Simulation, Target, Version, Write};

fn options(version: Version, arrivals: u64) -> Options {
    Options {
        version,
        start: 1_795_000_000_000_000,
        arrivals,
        apps: 24,
        faults: Faults::many(),
        deletions: Deletions::many(),
        ..Options::default()
    }
}

fn everything(seed: u64, options: Options) -> Vec<Write> {
    let simulation = Simulation::new(seed, options);
    simulation.setup(seed).into_iter().chain(simulation).collect()
}

#[test]
fn the_same_seed_gives_the_same_transactions_in_commit_order() {
    let options = options(Version::new(1, 12, 1), 150);
    let first = everything(7, options.clone());
    assert_eq!(first, everything(7, options.clone()));
    assert_ne!(first, everything(8, options));
    assert!(first.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[tokio::test]
async fn every_release_takes_every_transaction_and_ends_like_the_reference() {
    let seed = seed("simulator_applies");
    for version in Version::TESTED {
        let schema = Schema::load(&version.to_string()).unwrap();
        for schema in [schema.mutated(seed), schema] {
            let database = Cluster::shared().unwrap().database(&schema).await.unwrap();
            let mut connection = database.connect().await.unwrap();
            let target = Target::probe(&mut connection).await.unwrap();
            let mut reference = Reference::default();
            for celery in [false, true] {
                let seed = seed + u64::from(celery);
                for write in everything(seed, Options { celery, ..options(version, length(40, 400)) }) {
                    target.apply(&mut connection, &write).await.unwrap();
                    reference.apply(&write);
                }
            }
            for table in reference.tables().filter(|table| target.has(table)) {
                let there = database.count(&format!("SELECT count(*) FROM {table}")).await.unwrap();
                assert_eq!(there as usize, reference.present(table).count(), "{table} of {version}");
            }
        }
    }
}

/// Dify's own rule, found in every real run that ended: containers aside, the nodes' tokens are the run's.
#[test]
fn tokens_of_an_ended_run_are_those_of_its_nodes() {
    for version in Version::TESTED {
        let faults = Faults { unknown_word: 0.0, ..Faults::many() };
        let options = Options { faults, deletions: Deletions::none(), ..options(version, 600) };
        let mut reference = Reference::default();
        everything(5, options).iter().for_each(|write| reference.apply(write));
        let mut sums: BTreeMap<Uuid, i64> = BTreeMap::new();
        for (_, node) in reference.ever("workflow_node_executions") {
            let Some(run) = node.get("workflow_run_id").as_uuid() else { continue };
            let metadata: serde_json::Value = serde_json::from_str(node.text("execution_metadata")).unwrap_or_default();
            if !["iteration", "loop"].contains(&node.text("node_type")) {
                *sums.entry(run).or_default() += metadata["total_tokens"].as_i64().unwrap_or(0);
            }
        }
        let ended = reference.ever("workflow_runs").filter(|(_, run)| !run.get("finished_at").is_null());
        for (id, run) in ended {
            assert_eq!(run.get("total_tokens").as_int(), sums.get(&id).copied(), "run {id} of {version}");
        }
    }
}

#[test]
fn a_history_holds_every_kind_of_ending() {
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    let mut reference = Reference::default();
    for write in everything(3, options(Version::new(1, 14, 2), 1_500)) {
        reference.apply(&write);
    }
    for (_, run) in reference.ever("workflow_runs") {
        *statuses.entry(run.text("status").to_owned()).or_default() += 1;
    }
    for status in ["running", "succeeded", "failed", "stopped", "partial-succeeded", "paused", "cancelled-by-policy"] {
        assert!(statuses.contains_key(status), "{status} in {statuses:?}");
    }
}
