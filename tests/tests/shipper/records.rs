//! Records as the shipper reads them, for the tests beside this module.

use std::str::FromStr;
use std::time::Duration;

use dify_observe_core::dify::follow::{Detail, Event, Fetch, FollowState, Follower, Start, Step};
use dify_observe_core::dify::session::Database;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::simulator::{Deletions, Options, bulk, live};
use sqlx::postgres::PgConnectOptions;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
const HOUR: i64 = 3_600_000_000;

/// Connections to a database, as whoever the URL says.
pub(crate) fn connect(url: &str) -> Database {
    Database::new(PgConnectOptions::from_str(url).unwrap(), TIMEOUT)
}

/// Loads finished history of the last hours.
pub(crate) async fn load_history(database: &TestDatabase, seed: u64, arrivals: u64) {
    let schema: &Schema = database.schema();
    let options = Options {
        version: schema.version.parse().unwrap(),
        start: live::now() - 7 * HOUR,
        arrivals,
        rate: arrivals as f64 / (5.0 * 3600.0),
        deletions: Deletions::none(),
        ..Options::default()
    };
    let load = bulk::Load { url: database.url().to_owned(), seed, options, jobs: 1, rebuild_indexes: false };
    bulk::load(&load, |_| ()).await.unwrap();
}

/// A follower and what it remembers.
pub(crate) struct Reading {
    pub(crate) follower: Follower,
    pub(crate) state: Option<FollowState>,
}

impl Reading {
    /// Takes at once what it sees, with these settings for everything else.
    pub(crate) fn new(url: &str, detail: Detail, settings: FollowSettings) -> Self {
        let settings = FollowSettings { settle: Duration::ZERO, interrupt_after: Duration::ZERO, ..settings };
        let fetch = Fetch { detail, inputs: true };
        Reading { follower: Follower::new(connect(url), settings, TIMEOUT, fetch), state: None }
    }

    /// Steps until nothing more comes.
    pub(crate) async fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut continues = false;
        loop {
            match self.follower.step(&mut self.state, Start::Beginning, continues).await.unwrap() {
                Step::Done { events: new, more, .. } => {
                    events.extend(new);
                    continues = true;
                    if !more {
                        return events;
                    }
                }
                Step::ServerBehind => panic!("a single server cannot be behind itself"),
            }
        }
    }
}
