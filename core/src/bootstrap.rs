//! One start-up order for all binaries.
