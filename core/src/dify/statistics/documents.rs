//! Documents of knowledge bases and uploaded files.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::Row;
use uuid::Uuid;

use crate::dify::records::Word;
use crate::dify::session::{DatabaseError, ReadTx, query};
use crate::dify::time::Micros;

/// How many documents of a data set are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentCount {
    /// `documents.dataset_id`
    pub dataset_id: Uuid,
    /// `documents.indexing_status`: waiting, parsing, … completed, error
    pub indexing_status: Word,
    /// Rows.
    pub documents: i64,
}

/// Documents by data set and state.
pub async fn document_counts(tx: &mut ReadTx) -> Result<Vec<DocumentCount>, DatabaseError> {
    let mut counts = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/statistics_documents.sql"))).await? {
        counts.push(DocumentCount {
            dataset_id: row.try_get("dataset_id")?,
            indexing_status: row.try_get::<String, _>("indexing_status")?.into(),
            documents: row.try_get("documents")?,
        });
    }
    Ok(counts)
}

/// Bytes of uploaded files by who uploaded them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadBytes {
    /// `upload_files.created_by_role`: account, end_user
    pub created_by_role: Word,
    /// Sum of `size`.
    pub bytes: i64,
}

/// Bytes of the uploaded files that have a row.
pub async fn upload_bytes(tx: &mut ReadTx) -> Result<Vec<UploadBytes>, DatabaseError> {
    let mut uploads = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/statistics_uploads.sql"))).await? {
        uploads.push(UploadBytes { created_by_role: row.try_get::<String, _>("created_by_role")?.into(), bytes: row.try_get("bytes")? });
    }
    Ok(uploads)
}

/// How long a completion is remembered, so that one that commits late is still taken, and none twice.
const REMEMBER: Duration = Duration::from_secs(3600);
/// Most completions taken in one turn; the rest comes with the next.
const PAGE: i64 = 5_000;

/// One indexing of a document that completed.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedDocument {
    /// `documents.id`
    pub id: Uuid,
    /// `documents.dataset_id`
    pub dataset_id: Uuid,
    /// `documents.completed_at`
    pub completed_at: Micros,
    /// From the start of processing to its end; where the start is not known, what Dify says the last stage took.
    pub seconds: f64,
}

/// Which completions were taken, so that each is taken once. Durable together with what was made of them.
///
/// A document that is indexed again completes again, at another time, and is another observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedDocuments {
    from: Micros,
    taken: BTreeSet<(Micros, Uuid)>,
}

impl CompletedDocuments {
    /// Takes what completes at `start` or later.
    pub fn since(start: Micros) -> Self {
        CompletedDocuments { from: start, taken: BTreeSet::new() }
    }

    /// Reads the completions that were not taken yet, and takes them.
    pub async fn read(&mut self, tx: &mut ReadTx) -> Result<Vec<IndexedDocument>, DatabaseError> {
        // Those that were taken come again with the page, so it is larger by their number and always moves.
        let limit = PAGE + self.taken.len() as i64;
        let mut rows = Vec::new();
        for row in tx.fetch_all(query(include_str!("../queries/statistics_indexed.sql")).bind(self.from).bind(limit)).await? {
            let processing: Option<f64> = row.try_get("seconds")?;
            let latency: Option<f64> = row.try_get("indexing_latency")?;
            rows.push(IndexedDocument {
                id: row.try_get("id")?,
                dataset_id: row.try_get("dataset_id")?,
                completed_at: row.try_get("completed_at")?,
                seconds: processing.filter(|seconds| *seconds >= 0.0).or(latency).unwrap_or(0.0),
            });
        }
        Ok(self.take(rows))
    }

    /// Keeps those of the rows that were not taken yet. Rows come in the order of their completion.
    fn take(&mut self, mut rows: Vec<IndexedDocument>) -> Vec<IndexedDocument> {
        rows.retain(|row| self.taken.insert((row.completed_at, row.id)));
        if let Some((newest, _)) = self.taken.last() {
            self.from = self.from.max(newest.minus(REMEMBER));
            self.taken = self.taken.split_off(&(self.from, Uuid::nil()));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: u128, completed: i64) -> IndexedDocument {
        IndexedDocument { id: Uuid::from_u128(id), dataset_id: Uuid::nil(), completed_at: Micros::from_secs(completed), seconds: 1.0 }
    }

    #[test]
    fn a_completion_is_taken_once() {
        let mut documents = CompletedDocuments::since(Micros(0));
        assert_eq!(documents.take(vec![document(1, 10)]).len(), 1);
        assert_eq!(documents.take(vec![document(1, 10)]).len(), 0);
    }

    #[test]
    fn a_late_one_is_taken_and_another_indexing_is_another_completion() {
        let mut documents = CompletedDocuments::since(Micros(0));
        documents.take(vec![document(1, 3000)]);
        assert_eq!(documents.take(vec![document(2, 2000), document(1, 3100)]).len(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded_by_time() {
        let mut documents = CompletedDocuments::since(Micros(0));
        for second in 0..10 {
            documents.take(vec![document(7, second * 1800)]);
        }
        assert_eq!(documents.taken.len(), 3);
        assert_eq!(documents.from, Micros::from_secs(9 * 1800 - 3600));
    }
}
