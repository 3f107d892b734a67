//! Retrievals, documents, and uploaded files.

use super::buckets;
use crate::store::FamilyDef;

families! {
    RETRIEVALS = counter("dify_retrievals", "Retrievals by dataset (its id, dify_dataset_info has the name), result is hit or miss")
        .labels(&["dataset", "result"]);
    RETRIEVAL_DOCUMENTS = histogram("dify_retrieval_documents", "Document segments that one retrieval returned", buckets::DOCUMENTS)
        .labels(&["dataset"]);
    RETRIEVAL_SCORE = histogram("dify_retrieval_score", "Relevance scores of the segments that retrievals returned", buckets::SCORE)
        .labels(&["dataset"]);
    DOCUMENTS = gauge("dify_documents", "Documents by the state of their indexing")
        .labels(&["dataset", "indexing_status"]).global();
    DOCUMENT_INDEXING = histogram("dify_document_indexing_seconds", "Time that the indexing of a document took", buckets::INDEXING)
        .labels(&["dataset"]).unit("seconds").global();
    UPLOAD_FILES = gauge("dify_upload_files_bytes", "Size of uploaded files that have a row")
        .labels(&["created_by_role"]).unit("bytes").global();
    DATASET = info("dify_dataset", "Datasets: the name and tenant behind a dataset's id")
        .labels(&["dataset", "name", "tenant_id"]).global();
}
