//! Names and configuration that records refer to: apps, tags, data sets, and the models and tools of workflow graphs.
