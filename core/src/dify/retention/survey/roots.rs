//! Samples of runs and conversations, as the candidates that a pass would find.

use std::time::Duration;

use super::portion::bounded;
use super::{Portion, Sample};
use crate::dify::retention::candidates::{Sampled, sample};
use crate::dify::retention::{Drafts, Ownership, Root, Wanted, manners};
use crate::dify::session::{Database, DatabaseError};

/// A sample of all runs or conversations, whatever their age.
pub async fn roots(
    db: &Database,
    root: Root,
    ownership: &Ownership,
    drafts: &Drafts,
    wanted: Wanted,
    portion: Portion,
    timeout: Duration,
) -> Result<Sample<Sampled>, DatabaseError> {
    bounded(portion, |portion| async move {
        let mut tx = manners::read(db, timeout).await?;
        let rows = sample(&mut tx, root, ownership, drafts, wanted, portion).await?;
        tx.end().await?;
        Ok(rows)
    })
    .await
}
