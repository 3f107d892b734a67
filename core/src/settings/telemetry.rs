//! `[telemetry]`: what the process says about itself.

use serde::{Deserialize, Serialize};

/// What the process says about itself, on standard error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `text` for people, `json` (one object per line) for log collectors. Also the flag `--log-format`.
    #[serde(deserialize_with = "super::word")]
    pub log_format: LogFormat,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives as in `info,sqlx=warn`. When not
    /// set: `info,sqlx=error` for the services, `warn,sqlx=error` for commands that print an answer and end. `RUST_LOG` is
    /// not read.
    pub log_filter: Option<String>,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The word used in files and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

impl TelemetrySettings {
    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        let Some(filter) = &self.log_filter else { return Ok(()) };
        match tracing_subscriber::EnvFilter::builder().parse(filter) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(("log_filter", format!("is not a log filter ({error}): write a level such as \"info\", or \"info,sqlx=warn\"")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_directives() {
        let with = |filter: &str| TelemetrySettings { log_filter: Some(filter.to_owned()), ..Default::default() }.validate();
        assert!(with("info").is_ok());
        assert!(with("info,sqlx=warn,dify_observe_core::dify=debug").is_ok());
        assert!(with("sqlx=loud").unwrap_err().1.contains("write a level"));
    }
}
