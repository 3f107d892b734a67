//! Looking at samples: seconds, whatever the size of the tables.

use std::collections::HashMap;

use dify_observe_core::dify::retention::survey::{self, Portion, bears_app};
use dify_observe_core::dify::retention::{Root, Sampled};
use uuid::Uuid;

use super::look::Look;
use super::observed::{Observed, Share};

/// Blocks of each table. A share that is estimated from so many is wrong by less than 3 percentage points in 99 of 100 cases.
const BLOCKS: u32 = 2000;
/// Rows of each table whose app is looked at.
const ROWS: u32 = 50_000;
/// Runs that are decided one by one.
const RUNS: u32 = 30_000;
/// Conversations that are decided one by one: of each that may go, all messages are looked at.
const CONVERSATIONS: u32 = 2000;

/// Looks.
pub(super) async fn observe(look: &mut Look<'_>) -> anyhow::Result<Observed> {
    let mut observed = Observed { tables: look.tables().await?, ..Observed::default() };
    for table in observed.tables.iter_mut().filter(|table| bears_app(&table.shape)) {
        let sample = survey::weigh(look.db, &table.shape, Portion::of(&table.size, BLOCKS, ROWS), look.timeout).await?;
        let mut weights: HashMap<Uuid, Share> = HashMap::new();
        for weight in &sample.rows {
            weights.entry(weight.app_id).or_default().add(weight, sample.portion.weight());
        }
        table.weights = Some(weights);
        table.estimated = !sample.portion.is_all();
    }
    for (root, rows) in [(Root::Run, RUNS), (Root::Conversation, CONVERSATIONS)] {
        roots(look, root, rows, &mut observed).await?;
    }
    Ok(observed)
}

async fn roots(look: &mut Look<'_>, root: Root, rows: u32, observed: &mut Observed) -> anyhow::Result<()> {
    let Some(table) = observed.tables.iter().find(|table| table.size.table == root.table()) else { return Ok(()) };
    let portion = Portion::of(&table.size, BLOCKS, rows);
    let sample = survey::roots(look.db, root, &look.ownership, &look.drafts, look.wanted, portion, look.timeout).await?;
    let weight = sample.portion.weight();
    observed.estimated |= !sample.portion.is_all();
    let mut candidates = Vec::new();
    for sampled in sample.rows {
        let (app_id, began, may_be_named) = match &sampled {
            Sampled::Young(young) => (young.app_id, young.began, young.may_be_named),
            Sampled::Candidate(candidate) => (candidate.bundle.app_id, candidate.bundle.newest, candidate.may_be_named()),
        };
        // A run that a message may name goes with its conversation. That a few are named by none is seen by a pass over everything only.
        if may_be_named {
            continue;
        }
        let seen = observed.apps.entry(app_id).or_default();
        seen.began(began);
        *seen.of(root) += weight;
        match sampled {
            Sampled::Young(_) => *seen.stay.entry("young").or_default() += weight,
            Sampled::Candidate(candidate) => candidates.push(*candidate),
        }
    }
    look.decide(candidates, weight, observed).await?;
    Ok(())
}
