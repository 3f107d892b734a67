//! The simulator against real databases of every release.

use std::collections::BTreeMap;

use crate::{Schema, postgres::Cluster, seed};

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
                for write in everything(seed, Options { celery, ..options(version, 120) }) {
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
