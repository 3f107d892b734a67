//! Values read out of the JSON columns: model and usage of a node, retrieval results, tool calls.
