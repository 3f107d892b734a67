//! A full read of a database, made into documents.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::catalog::{Catalog, Wanted};
use dify_observe_core::dify::follow::{Detail, Event, Fetch, History, HistoryRange, KnownFeedbacks};
use dify_observe_core::dify::lookups::Lookups;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::statistics;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::settings::{FollowSettings, RedactionSettings, ShipperSettings};
use dify_observe_tests::postgres::TestDatabase;
use dify_shipper::document::Document;
use dify_shipper::documents::Builder;
use sqlx::postgres::PgConnectOptions;

const PATIENCE: Duration = Duration::from_secs(60);

/// The documents of all that a database holds, as of ten days from now: what never ended was given up.
pub(crate) async fn read_all(database: &TestDatabase) -> anyhow::Result<Vec<Document>> {
    let server = Database::new(PgConnectOptions::from_str(database.url())?, PATIENCE);
    let now = Micros::now();
    let range =
        HistoryRange { from: Micros::MIN, until: now, except: HashSet::new(), as_of: now.plus(Duration::from_secs(10 * 24 * 3600)) };
    let fetch = Fetch { detail: Detail::Documents, inputs: true };
    let mut history = History::open(server.clone(), &FollowSettings::default(), PATIENCE, fetch, range).await?;
    let schema = history.schema().clone();
    let mut documents = Vec::new();
    let (builder, mut catalog) = (builder()?, Catalog::default());
    while let Some(events) = history.page(now).await? {
        add(&server, &schema, &builder, &mut catalog, &events, &mut documents).await?;
    }
    let mut tx = server.read(PATIENCE).await?;
    let feedbacks = statistics::feedbacks(&mut tx, Detail::Documents, 100_000).await?.unwrap_or_default();
    tx.end().await?;
    let events = KnownFeedbacks::default().compare(feedbacks, Micros::MIN);
    add(&server, &schema, &builder, &mut catalog, &events, &mut documents).await?;
    Ok(documents)
}

async fn add(
    server: &Database,
    schema: &Schema,
    builder: &Builder,
    catalog: &mut Catalog,
    events: &[Event],
    documents: &mut Vec<Document>,
) -> anyhow::Result<()> {
    let mut tx = server.read(PATIENCE).await?;
    let lookups = Lookups::read(&mut tx, schema, events).await?;
    let mut wanted = Wanted::of(events, true);
    lookups.want(&mut wanted);
    catalog.read(&mut tx, schema, &wanted, Micros::now()).await?;
    tx.end().await?;
    for event in events {
        builder.build(event, catalog, &lookups, |_| true, documents);
    }
    Ok(())
}

fn builder() -> anyhow::Result<Builder> {
    let redactor = Redactor::new(&RedactionSettings::default())?;
    Ok(Builder::new(&ShipperSettings::default(), Arc::new(LabelRules::default()), Arc::new(redactor)))
}
