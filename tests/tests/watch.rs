//! The follower and the recorder as libraries: what an exporter makes of a database, one step at a time.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use dify_exporter::births::BirthRules;
use dify_exporter::encode::{Answer, Format};
use dify_exporter::record::{self, Context, SideState};
use dify_exporter::state::{self, Loaded};
use dify_exporter::store::{GaugeSet, Scheme, Totals};
use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::{Detail, Event, Fetch, FollowError, FollowState, Follower, Start, Step};
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::settings::follow::FollowSettings;
use dify_observe_tests::truth::{Figures, parse_exposition};
use sqlx::postgres::PgConnectOptions;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Only a broken test waits that long; loaded machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// The follower's times with a day in ten seconds; what is seen final is taken at once.
pub(crate) fn short() -> FollowSettings {
    FollowSettings {
        overlap: Duration::from_millis(300),
        trail: [1, 3, 8].map(Duration::from_secs).to_vec(),
        horizon: Duration::from_secs(10),
        settle: Duration::ZERO,
        interrupt_after: Duration::ZERO,
        abandon_after: Duration::from_secs(3600),
        ..FollowSettings::default()
    }
}

/// A follower, and all that was made of what it told.
pub(crate) struct Watch {
    database: Database,
    follower: Follower,
    start: Start,
    catalog: Catalog,
    labels: LabelRules,
    side: SideState,
    pub(crate) state: Option<FollowState>,
    pub(crate) totals: Totals,
    /// Everything told so far.
    pub(crate) told: Vec<Event>,
    /// How often another database was behind the URL.
    pub(crate) other_databases: u32,
}

impl Watch {
    pub(crate) fn new(url: &str, settings: FollowSettings, start: Start) -> anyhow::Result<Self> {
        Self::capped(url, settings, start, Scheme::default())
    }

    /// The same with bounds on the label sets.
    pub(crate) fn capped(url: &str, settings: FollowSettings, start: Start, scheme: Scheme) -> anyhow::Result<Self> {
        let (database, follower) = connect(url, settings)?;
        Ok(Watch {
            database,
            follower,
            start,
            catalog: Catalog::default(),
            labels: LabelRules::default(),
            side: SideState::default(),
            state: None,
            totals: Totals::new(scheme),
            told: Vec::new(),
            other_databases: 0,
        })
    }

    /// A new process with what the old one made durable: through the state file, with nothing else kept.
    pub(crate) fn restart(&mut self, url: &str, settings: FollowSettings) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("state");
        state::write(&path, &(&self.state, &self.totals, &self.side))?;
        let scheme = self.totals.scheme().clone();
        let Loaded::Found((state, totals, side)) = state::read(&path, Micros::now())? else { bail!("the state was not read back") };
        (self.state, self.totals, self.side) = (state, totals, side);
        self.totals.adopt(scheme);
        self.catalog = Catalog::default();
        (self.database, self.follower) = connect(url, settings)?;
        Ok(())
    }

    /// One step; whether another one would bring more at once.
    pub(crate) async fn try_step(&mut self) -> Result<bool, FollowError> {
        let step = self.follower.step(&mut self.state, self.start, false).await?;
        let Step::Done { events, more, another_database, .. } = step else { return Ok(false) };
        self.other_databases += u32::from(another_database);
        self.record(events).await?;
        Ok(more)
    }

    /// Counts events.
    pub(crate) async fn record(&mut self, events: Vec<Event>) -> Result<(), FollowError> {
        let mut tx = self.database.read(TIMEOUT).await?;
        self.catalog.prepare(&mut tx, &events, self.follower.schema(), &self.labels).await?;
        tx.end().await?;
        let context = Context { catalog: &self.catalog, labels: &self.labels, streak_length: 3 };
        events.iter().for_each(|event| record::record(event, &context, &mut self.totals, &mut self.side));
        self.told.extend(events);
        Ok(())
    }

    /// Steps until nothing more comes at once.
    pub(crate) async fn drain(&mut self) -> anyhow::Result<()> {
        while self.try_step().await? {}
        Ok(())
    }

    /// Steps until what was told is as it should be.
    pub(crate) async fn until(&mut self, what: &str, reached: impl Fn(&[Event]) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            self.drain().await?;
            if reached(&self.told) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("never came: {what}; told: {:#?}", self.told);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Goes on for a while in which nothing should be told, so that what would be told twice is.
    pub(crate) async fn go_on(&mut self, while_: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < while_ {
            self.drain().await?;
            tokio::time::sleep(POLL).await;
        }
        self.drain().await
    }

    /// One scrape of a Prometheus.
    pub(crate) fn scrape(&mut self) -> anyhow::Result<Figures> {
        let gauges = GaugeSet::new(self.totals.scheme().clone());
        let mut answer = Vec::new();
        self.totals.ripen(BirthRules::new(Duration::ZERO), Micros::now());
        let ticket = self.totals.begin_answer();
        Answer { totals: &self.totals, gauges: &gauges }.encode(Format::OpenMetrics, &mut answer);
        self.totals.answered(ticket, Micros::now());
        parse_exposition(std::str::from_utf8(&answer)?)
    }

    /// What a scrape shows once every label set was shown often enough.
    pub(crate) fn figures(&mut self) -> anyhow::Result<Figures> {
        for _ in 0..4 {
            self.scrape()?;
        }
        self.scrape()
    }

    /// A transaction as the exporter begins them.
    pub(crate) async fn read(&self) -> anyhow::Result<dify_observe_core::dify::session::ReadTx> {
        self.database.read(TIMEOUT).await.context("failed to begin")
    }
}

fn connect(url: &str, settings: FollowSettings) -> anyhow::Result<(Database, Follower)> {
    let database = Database::new(PgConnectOptions::from_str(url)?, TIMEOUT);
    let follower = Follower::new(database.clone(), settings, TIMEOUT, Fetch { detail: Detail::Metrics, inputs: false });
    Ok((database, follower))
}
