//! Slow-moving figures: table sizes, database activity, documents, data sets, queues, feedback.
//!
//! No index serves these by time, so each is asked for at long intervals, only where its table is small enough, and only
//! where every column it needs is there and may be read. [`Subject::gate`] decides that from the schema alone; a figure
//! that is off says why, in one sentence, and which statement would mend it.

mod apps;
mod database;
mod diagnosis;
mod documents;
mod feedbacks;
mod queues;
mod subject;
mod tables;

pub use apps::{AppFacts, DatasetFacts, app_facts, dataset_facts};
pub use database::{Activity, Sessions, activity, sessions};
pub use diagnosis::{
    ServerDiagnosis, WalkCost, describe_release, heap_pages, release_of, runs_named_by_messages, server_diagnosis, single_step_share,
    walk_cost,
};
pub use documents::{CompletedDocuments, DocumentCount, IndexedDocument, UploadBytes, document_counts, upload_bytes};
pub use feedbacks::feedbacks;
pub use queues::{OverdueSchedule, WaitingTriggers, overdue_schedules, waiting_triggers};
pub use subject::{Off, Subject};
pub use tables::{OldestRow, TableFigures, oldest_rows, table_figures};
