//! The exporter: metric families, their durable state, and the answers to Prometheus.

pub mod births;
pub mod cap;
pub mod catalogue;
pub mod describe;
pub mod encode;
pub mod state;
pub mod store;
