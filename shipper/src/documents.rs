//! From records to documents.
//!
//! [`Builder::build`] is a function of an event of the follower and of what was read beside it; it asks no clock and no database, so that the
//! same record makes the same document whenever it is made again. What records mean (final statuses, first causes, error types, models, tools)
//! is decided in core, where the exporter asks too: a figure on a dashboard and the documents behind it agree.
//!
//! Everything that people wrote goes through the [`Shaper`]: content by content mode, all else redacted whatever the mode.

mod errors;
mod feedback;
mod message;
mod model;
mod node;
mod parts;
mod people;
mod retrieval;
mod revision;
mod run;
mod scene;
mod summary;
mod tool;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use dify_observe_core::content::{PersonIds, Shaper};
use dify_observe_core::dify::catalog::Catalog;
use dify_observe_core::dify::follow::{Closed, Event};
use dify_observe_core::dify::lookups::Lookups;
use dify_observe_core::labels::LabelRules;
use dify_observe_core::redaction::Redactor;
use dify_observe_core::settings::ShipperSettings;

use crate::document::{Document, Kind};
use scene::Scene;

/// Makes documents.
#[derive(Debug)]
pub struct Builder {
    labels: Arc<LabelRules>,
    shaper: Shaper,
    people: PersonIds,
}

impl Builder {
    /// A builder by the settings: what documents show of content and of people.
    pub fn new(settings: &ShipperSettings, labels: Arc<LabelRules>, redactor: Arc<Redactor>) -> Self {
        Builder { labels, shaper: Shaper::new(settings, redactor), people: PersonIds::new(settings) }
    }

    /// Adds the documents of an event that are of wanted kinds. Events about records that are not final, and about what has no documents, add
    /// none.
    pub fn build(&self, event: &Event, catalog: &Catalog, lookups: &Lookups, wanted: impl Fn(Kind) -> bool, out: &mut Vec<Document>) {
        let scene = Scene { builder: self, catalog, lookups, wanted: &wanted };
        match event {
            Event::RunClosed { run, nodes, closed } => run::closed(scene, run, nodes, *closed, out),
            Event::RunCorrected { run, nodes } => run::closed(scene, run, nodes, Closed::Ended, out),
            Event::NodesSettled { run, nodes } => run::nodes_settled(scene, run, nodes, out),
            Event::MessageClosed { message, thoughts, closed } => message::closed(scene, message, thoughts, *closed, out),
            Event::MessageCorrected { message, thoughts } => message::closed(scene, message, thoughts, Closed::Ended, out),
            Event::Feedback { feedback, action } => feedback::told(scene, feedback, *action, out),
            Event::RunStarted(_) | Event::TriggerClosed { .. } | Event::Vanished(_) => {}
        }
    }
}
