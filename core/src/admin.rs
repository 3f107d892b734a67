//! The HTTP server of every binary: TLS and basic authentication as in Prometheus' exporter-toolkit.
