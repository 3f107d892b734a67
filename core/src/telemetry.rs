//! Logs: on standard error, as text or JSON, at the level of `[telemetry]`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::{LogFormat, TelemetrySettings};

/// Starts logging for the rest of the process. `default_filter` applies where `[telemetry]` names none.
///
/// A second call changes nothing: tests share one process.
pub fn start(settings: &TelemetrySettings, default_filter: &str) {
    let subscriber = subscriber(settings, default_filter, std::io::stderr().is_terminal(), std::io::stderr);
    let _already_started = tracing::subscriber::set_global_default(subscriber);
}

fn subscriber<W>(
    settings: &TelemetrySettings,
    default_filter: &str,
    colours: bool,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync + 'static>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let directives = settings.log_filter.as_deref().unwrap_or(default_filter);
    let filter = EnvFilter::builder().parse_lossy(directives);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match settings.log_format {
        LogFormat::Text => Box::new(builder.with_ansi(colours).with_target(false).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(settings: &TelemetrySettings) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(settings, "info", false, move || writer.clone()), || {
            tracing::debug!("not this");
            tracing::info!(rows = 3, "read rows");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_reads_as_a_line() {
        let text = logged(&TelemetrySettings::default());
        assert!(text.ends_with("INFO read rows rows=3\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
        let text = logged(&TelemetrySettings { log_format: LogFormat::Json, ..Default::default() });
        let object: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&object["message"], &object["rows"], &object["level"]), (&"read rows".into(), &3.into(), &"INFO".into()));
    }

    #[test]
    fn the_configured_filter_decides() {
        assert_eq!(logged(&TelemetrySettings { log_filter: Some("warn".to_owned()), ..Default::default() }), "");
    }
}
