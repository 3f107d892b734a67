//! Upper bounds of classic histograms. Each bound is a series per label set, so they are few; the native histogram beside
//! them has the resolution.

/// Runs, nodes, tools and whole answers: from a template node to half an hour of agents.
pub(super) const DURATION: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// Nodes: most take milliseconds, a model call a minute.
pub(super) const NODE_DURATION: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1800.0];
/// The wait for the first token of an answer.
pub(super) const FIRST_TOKEN: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0];
/// Runs that wait for a person: from seconds to a week.
pub(super) const WALL: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0];
/// The wait of a trigger for a worker.
pub(super) const QUEUE: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
/// Indexing of a document.
pub(super) const INDEXING: &[f64] = &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0];
/// Tokens of one request: from a classification to a full context.
pub(super) const TOKENS: &[f64] = &[16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0, 32_768.0, 65_536.0, 131_072.0, 524_288.0];
/// Documents of one retrieval.
pub(super) const DOCUMENTS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 50.0];
/// Relevance scores.
pub(super) const SCORE: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
