//! Events made into documents: what they refer to is read first, for many of them at a time.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::catalog::{Catalog, Wanted};
use dify_observe_core::dify::follow::{Detail, Event, Fetch};
use dify_observe_core::dify::lookups::Lookups;
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::time::Micros;

use super::Shared;
use crate::document::Document;
use crate::documents::Builder;
use crate::filter::Filter;

/// Makes documents for one sink.
#[derive(Debug)]
pub(crate) struct Maker {
    shared: Arc<Shared>,
    builder: Builder,
    filter: Filter,
    catalog: Catalog,
}

/// What was read for some events.
#[derive(Debug, Default)]
pub(crate) struct LookedUp(Lookups);

impl Maker {
    pub(crate) fn new(shared: &Arc<Shared>, filter: Filter) -> Self {
        let builder = Builder::new(&shared.settings.shipper, shared.labels.clone(), shared.redactor.clone());
        Maker { shared: shared.clone(), builder, filter, catalog: Catalog::default() }
    }

    /// What a follower must fetch for it.
    pub(crate) fn fetch(&self) -> Fetch {
        Fetch { detail: Detail::Documents, inputs: true }
    }

    /// Reads what the events refer to.
    pub(crate) async fn look_up(&mut self, events: &[Event], schema: &Arc<Schema>, timeout: Duration) -> Result<LookedUp, DatabaseError> {
        let shared = self.shared.clone();
        let _turn = shared.reads.turn().await;
        let mut tx = shared.reads.database.read(timeout).await?;
        let lookups = Lookups::read(&mut tx, schema, events).await?;
        let mut wanted = Wanted::of(events, true);
        lookups.want(&mut wanted);
        self.catalog.read(&mut tx, schema, &wanted, Micros::now()).await?;
        tx.end().await?;
        Ok(LookedUp(lookups))
    }

    /// What was read of apps and people.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Adds the documents of an event that the sink is given.
    pub(crate) fn make(&self, event: &Event, found: &LookedUp, out: &mut Vec<Document>) {
        self.builder.build(event, &self.catalog, &found.0, |kind| self.filter.wants(kind), out);
        out.retain(|document| self.filter.passes(document));
    }

    /// Forgets what it knows: another database stands under the same URL.
    pub(crate) fn forget(&mut self) {
        self.catalog.clear();
    }
}
