//! Two-stage shutdown.
