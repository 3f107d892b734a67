//! Putting bundles back, and looking what that would do.

use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::retention::restore::{Destination, Existing, RestoreError};
use dify_observe_core::dify::retention::revenants::revenants;
use dify_observe_core::dify::retention::{Bundle, Ownership};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::{Database, WriteLimits};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, WithExit};
use dify_observe_core::state_dir::StateDir;
use uuid::Uuid;

use super::Found;
use super::outcome::Outcome;
use crate::archive::Archive;
use crate::engine::Halt;
use crate::lock::{self, Lock};
use crate::put_back::{PutBack, PutBackError};
use crate::report::Stop;
use crate::run::{NAME, connect};

/// How long what was put back is left alone.
const HOLD: Duration = Duration::from_secs(30 * 24 * 3600);

/// For one statement: large values take their time.
const STATEMENT: Duration = Duration::from_secs(60);

/// Puts bundles back, each in a transaction of its own.
pub(super) async fn execute(
    context: &Context,
    archive: &Archive,
    state_dir: &StateDir,
    found: &[Found],
    overwrite: bool,
) -> Result<Outcome, Halt> {
    let settings = &context.settings;
    let database = connect(settings, NAME)?;
    let destination = destination(&database).await?;
    accepted(&destination, found)?;
    let mut lock = Lock::take(connect(settings, lock::SESSION)?, archive, state_dir).await?;
    let existing = if overwrite { Existing::Overwrite } else { Existing::Keep };
    let limits = WriteLimits { statement_timeout: STATEMENT, lock_timeout: settings.janitor.lock_timeout };
    let putting_back = PutBack::new(archive.clone(), database, Arc::new(destination), limits);
    let mut outcome = Outcome { executed: true, ..Outcome::default() };
    // Before the first row is back: a run that begins in this moment must not take it again.
    let until = Micros::now().plus(HOLD);
    let ids: Vec<Uuid> = bundles(found).map(|bundle| bundle.id).collect();
    archive.hold(&ids, until).await?;
    outcome.held(until);
    for (manifest, positions) in found {
        for position in positions {
            if context.shutdown.is_finishing() {
                outcome.not_reached += 1;
                continue;
            }
            lock.keep().await?;
            match putting_back.bundle(manifest, *position, existing).await {
                Ok(restored) => outcome.add(restored),
                Err(PutBackError::Restore(RestoreError::Database(error))) if error.is_transient() => return Err(error.into()),
                Err(error) => {
                    outcome.failures.insert(manifest.bundles[*position].id, error.to_string());
                }
            }
        }
    }
    lock.release().await;
    Ok(outcome)
}

/// Says what would be put back, and reads only.
pub(super) async fn look(context: &Context, found: &[Found]) -> Result<Outcome, Halt> {
    let settings = &context.settings;
    let database = connect(settings, "dify-janitor restore")?;
    let destination = destination(&database).await?;
    accepted(&destination, found)?;
    let mut tx = database.read(settings.postgres.statement_timeout).await?;
    let schema = Schema::probe(&mut tx).await?;
    tx.end().await?;
    let ownership = Ownership::resolve(&schema).map_err(|error| Halt::failure(Stop::Refused, WithExit::new(Exit::NotDify, error)))?;
    let bundles: Vec<Bundle> = bundles(found).cloned().collect();
    let present = revenants(&database, &ownership, &bundles, STATEMENT).await?;
    let mut outcome = Outcome { bundles: bundles.len() as u64, present: present.len() as u64, ..Outcome::default() };
    for (manifest, _) in found {
        for table in &manifest.tables {
            let without_place = destination.accepts(&table.shape).unwrap_or_default();
            outcome.columns_left_out.extend(without_place.into_iter().map(|column| format!("{}.{column}", table.shape.table)));
        }
    }
    Ok(outcome)
}

fn bundles(found: &[Found]) -> impl Iterator<Item = &Bundle> {
    found.iter().flat_map(|(manifest, positions)| positions.iter().map(|position| &manifest.bundles[*position]))
}

async fn destination(database: &Database) -> Result<Destination, Halt> {
    let mut tx = database.read(STATEMENT).await?;
    let destination = Destination::read(&mut tx).await?;
    tx.end().await?;
    Ok(destination)
}

/// Whether every archived table has a place here: found out before the first row is written.
fn accepted(destination: &Destination, found: &[Found]) -> Result<(), Halt> {
    for table in found.iter().flat_map(|(manifest, _)| &manifest.tables) {
        destination.accepts(&table.shape).map_err(|error| Halt::failure(Stop::Refused, error))?;
    }
    Ok(())
}
