//! Dify's own Monitoring page, to the unit.
