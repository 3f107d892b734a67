//! Slow-moving figures: table sizes, database activity, documents, data sets, queues.
