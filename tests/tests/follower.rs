//! The follower's statements on every Dify schema.

use std::str::FromStr;
use std::time::Duration;

use dify_observe_core::dify::follow::{Detail, Event, Fetch, FollowState, Follower, Start, Step};
use dify_observe_core::dify::session::Database;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use sqlx::postgres::PgConnectOptions;

/// A follower of the database that takes what it sees at once.
fn follower(url: &str, detail: Detail) -> anyhow::Result<Follower> {
    let settings = FollowSettings { settle: Duration::ZERO, interrupt_after: Duration::ZERO, ..FollowSettings::default() };
    let database = Database::new(PgConnectOptions::from_str(url)?, Duration::from_secs(20));
    Ok(Follower::new(database, settings, Duration::from_secs(20), Fetch { detail, inputs: true }))
}

/// Steps until nothing more comes.
async fn drain(follower: &mut Follower, state: &mut Option<FollowState>, start: Start) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    loop {
        match follower.step(state, start, !events.is_empty()).await? {
            Step::Done { events: new, more, .. } => {
                events.extend(new);
                if !more {
                    return Ok(events);
                }
            }
            Step::ServerBehind => anyhow::bail!("a single server cannot be behind itself"),
        }
    }
}

#[tokio::test]
async fn every_schema_can_be_followed_with_every_detail() -> anyhow::Result<()> {
    let mut schemas = Schema::all()?;
    let seed = dify_observe_tests::seed("every_schema_can_be_followed");
    schemas.push(schemas[seed as usize % schemas.len()].mutated(seed));
    for schema in schemas {
        let database = Cluster::shared()?.database(&schema).await?;
        for detail in [Detail::Metrics, Detail::Documents] {
            let mut follower = follower(database.url(), detail)?;
            for start in [Start::Now, Start::Beginning] {
                let mut state = None;
                let events =
                    drain(&mut follower, &mut state, start).await.map_err(|error| anyhow::anyhow!("{}: {error}", schema.describe()))?;
                assert!(events.is_empty() && state.is_some());
            }
        }
    }
    Ok(())
}
