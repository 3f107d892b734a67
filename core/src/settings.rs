//! The one configuration of all binaries.
//!
//! Layers, weakest first: defaults, the TOML file, environment variables `DIFY_OBSERVE__SECTION__KEY`, flags. One section is one
//! struct in one file below this module; the doc comments of its fields are the reference in `docs/configuration.md`.

mod exporter;
mod file_error;
pub mod follow;
mod janitor;
mod labels;
mod postgres;
mod redaction;
#[cfg(test)]
mod reference;
mod shipper;
mod size;
mod telemetry;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, File, FileFormat};
use serde::de::{Deserializer, IntoDeserializer as _};
use serde::{Deserialize, Serialize};

pub use exporter::{ExporterSettings, Start};
pub use follow::FollowSettings;
pub use janitor::*;
pub use labels::*;
pub use postgres::{PostgresSettings, SslMode};
pub use redaction::{PatternSettings, RedactionSettings};
pub use shipper::*;
pub use telemetry::{LogFormat, TelemetrySettings};

use crate::exit::Exit;
use crate::secret::{Secret, SecretFileError, scrub};

/// What the name of each of our environment variables begins with. Two underscores also part section and key.
pub const PREFIX: &str = "DIFY_OBSERVE__";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder for what must survive a restart. Each binary has its own subfolder in it and locks it.
    pub state_dir: PathBuf,
    /// Where Dify's database is and how to behave towards it.
    pub postgres: PostgresSettings,
    /// How the follower reads what is new in Dify's tables.
    pub follow: FollowSettings,
    /// What the process says about itself, on standard error.
    pub telemetry: TelemetrySettings,
    /// The metrics of dify-exporter and how they are served.
    pub exporter: ExporterSettings,
    /// Which documents are made of Dify's records, and where they go.
    pub shipper: ShipperSettings,
    /// What dify-janitor keeps, what it lets go, and how gently.
    pub janitor: JanitorSettings,
    /// The operator's own labels on metrics and documents.
    pub labels: LabelsSettings,
    /// What is taken out of texts before they leave the process.
    pub redaction: RedactionSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            state_dir: PathBuf::from("/var/lib/dify-observe"),
            postgres: PostgresSettings::default(),
            follow: FollowSettings::default(),
            telemetry: TelemetrySettings::default(),
            exporter: ExporterSettings::default(),
            shipper: ShipperSettings::default(),
            janitor: JanitorSettings::default(),
            labels: LabelsSettings::default(),
            redaction: RedactionSettings::default(),
        }
    }
}

/// A flag that outranks the other layers: the key it sets, such as `telemetry.log_format`, and its value.
pub type Override = (&'static str, String);

impl Settings {
    /// Puts the layers together and checks the result.
    ///
    /// `env` is the whole environment; what is not ours is used only to find a database (`DATABASE_URL`, Dify's `DB_*`). Variables
    /// that are set to nothing count as not set.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[Override],
    ) -> Result<Settings, SettingsError> {
        let layers = Layers::read(file, env, overrides)?;
        let mut settings = layers.merge()?;
        settings.postgres.read_secret_files()?;
        settings.shipper.read_secret_files()?;
        settings.janitor.read_secret_files()?;
        settings.postgres.read_environment(&layers.env);
        settings.validate(|key, problem| layers.invalid(key, &problem))?;
        Ok(settings)
    }

    /// The keys that differ from their defaults, with their values, for the log. Secrets are placeholders.
    pub fn changed(&self) -> Vec<(String, String)> {
        let default = leaves(&Settings::default());
        leaves(self).into_iter().filter(|(key, value)| default.get(key) != Some(value)).collect()
    }

    fn validate(&self, invalid: impl Fn(String, String) -> SettingsError) -> Result<(), SettingsError> {
        if !self.state_dir.is_absolute() {
            let problem = format!("is \"{}\": write an absolute path, so that it is the same from everywhere", self.state_dir.display());
            return Err(invalid("state_dir".to_owned(), problem));
        }
        let sections = [
            ("postgres", self.postgres.validate()),
            ("follow", self.follow.validate()),
            ("telemetry", self.telemetry.validate()),
            ("exporter", self.exporter.validate()),
        ];
        for (section, result) in sections {
            result.map_err(|(key, problem)| invalid(format!("{section}.{key}"), problem))?;
        }
        self.shipper.validate().map_err(|(key, problem)| invalid(format!("shipper.{key}"), problem))?;
        self.janitor.validate(self.follow.abandon_after).map_err(|(key, problem)| invalid(format!("janitor.{key}"), problem))?;
        crate::labels::LabelRules::from_settings(&self.labels)
            .map_err(|error| invalid("labels".to_owned(), format!("is not usable: {error}")))?;
        crate::redaction::Redactor::new(&self.redaction).map_err(|error| invalid(format!("redaction.{}", error.key), error.problem))?;
        match self.postgres.connect_options() {
            // Not every command needs a database.
            Ok(_) | Err(SettingsError::NoDatabase) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the layers say, before it is put together.
struct Layers<'a> {
    file: Option<(&'a Path, String)>,
    env: BTreeMap<String, String>,
    overrides: &'a [Override],
}

impl<'a> Layers<'a> {
    fn read(path: Option<&'a Path>, env: impl Iterator<Item = (String, String)>, overrides: &'a [Override]) -> Result<Self, SettingsError> {
        let read = |path: &'a Path| match std::fs::read_to_string(path) {
            Ok(text) => Ok((path, text)),
            Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
        };
        let file = path.map(read).transpose()?;
        if let Some((path, text)) = &file {
            // The file alone first: only the TOML reader knows lines and columns.
            toml::from_str::<Settings>(text).map_err(|error| SettingsError::File(file_error::explain(path, text, &error)))?;
        }
        Ok(Layers { file, env: env.filter(|(_, value)| !value.is_empty()).collect(), overrides })
    }

    fn merge(&self) -> Result<Settings, SettingsError> {
        let file = self.file.as_ref().map(|(_, text)| text.as_str());
        build(file, self.variables(), self.overrides).map_err(|error| self.blame(&error))
    }

    /// Our variables, by name.
    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter(|(name, _)| name.starts_with(PREFIX)).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The merged layers do not say who is wrong. The file has passed alone, so it is the first variable that does not pass with it. That
    /// a key is missing is nobody's fault alone: the parts of a named table may come from several variables.
    fn blame(&self, error: &ConfigError) -> SettingsError {
        let file = self.file.as_ref().map(|(_, text)| text.as_str());
        for (name, value) in self.variables() {
            let problem = match build(file, std::iter::once((name, value)), &[]) {
                Err(error) => error.to_string(),
                Ok(_) => continue,
            };
            if !problem.starts_with("missing ") {
                return SettingsError::Variable { name: name.to_owned(), problem: scrub(&problem) };
            }
        }
        SettingsError::Merged(scrub(&error.to_string()))
    }

    /// Adds to a problem where the value came from.
    fn invalid(&self, key: String, problem: &str) -> SettingsError {
        let variable = variable_name(&key);
        let origin = if self.overrides.iter().any(|(overridden, _)| *overridden == key) {
            "on the command line".to_owned()
        } else if self.env.contains_key(&variable) {
            format!("in the environment variable {variable}")
        } else if let Some(part) = self.env.keys().find(|name| name.starts_with(&format!("{variable}__"))) {
            format!("by environment variables such as {part}")
        } else if let Some((path, _)) = &self.file {
            format!("in {}", path.display())
        } else {
            "by default".to_owned()
        };
        SettingsError::Invalid { key, origin, problem: scrub(problem) }
    }
}

/// Puts layers together. Texts from the environment become numbers and switches where the key wants one.
fn build<'a>(
    file: Option<&str>,
    variables: impl Iterator<Item = (&'a str, &'a str)>,
    overrides: &[Override],
) -> Result<Settings, ConfigError> {
    let mut builder = Config::builder();
    if let Some(text) = file {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    // `try_parsing` stays off: it turns the password 0123e5 into 12300000.
    let source = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    builder = builder.add_source(
        config::Environment::with_prefix(PREFIX.trim_end_matches('_')).prefix_separator("__").separator("__").source(Some(source)),
    );
    for (key, value) in overrides {
        builder = builder.set_override(*key, value.as_str())?;
    }
    builder.build()?.try_deserialize()
}

/// The environment variable that sets a key.
fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// Every key that has a value of its own, with the value as text.
fn leaves(settings: &Settings) -> BTreeMap<String, String> {
    fn walk(prefix: &str, value: serde_json::Value, leaves: &mut BTreeMap<String, String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                    walk(&key, value, leaves);
                }
            }
            serde_json::Value::String(text) => {
                leaves.insert(prefix.to_owned(), text);
            }
            serde_json::Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
                leaves.insert(prefix.to_owned(), items.join(", "));
            }
            serde_json::Value::Null => {
                leaves.insert(prefix.to_owned(), String::new());
            }
            other => {
                leaves.insert(prefix.to_owned(), other.to_string());
            }
        }
    }
    let mut leaves = BTreeMap::new();
    walk("", serde_json::to_value(settings).unwrap_or_default(), &mut leaves);
    leaves
}

fn secret_from_file(key: &'static str, value: &mut Option<Secret>, file: Option<&Path>) -> Result<(), SettingsError> {
    Secret::resolve(value, file).map_err(|source| SettingsError::Secret { key, source })
}

/// Reads a value that is one of a few words. By itself, config names the Rust enum and not the words.
pub(crate) fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

/// Like [`word`], for a key that may be left out.
pub(crate) fn optional_word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    word(deserializer).map(Some)
}

/// Reads a list, or one comma-separated text, as environment variables have it.
pub(crate) fn list_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ListOrText {
        List(Vec<String>),
        Text(String),
    }
    Ok(match ListOrText::deserialize(deserializer)? {
        ListOrText::List(list) => list,
        ListOrText::Text(text) => text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
    })
}

/// Checks an address to listen on; shared by the sections of all binaries.
fn validate_listen(listen: &str) -> Result<(), String> {
    let well_formed = listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if well_formed { Ok(()) } else { Err(format!("is {listen:?}: write address and port, such as \"127.0.0.1:9810\" or \"[::]:9810\"")) }
}

/// What is wrong with the configuration, in one sentence that says where and how to mend it. Holds no credential.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML, or holds an unknown key or a value of the wrong type. With line, column and the place.
    #[error("{0}")]
    File(String),
    /// An environment variable names no key, or its value has the wrong type.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The layers do not fit together.
    #[error("the configuration cannot be put together: {0}")]
    Merged(String),
    /// A value is of the right type and cannot work.
    #[error("{key} {problem} (set {origin})")]
    Invalid {
        /// The key.
        key: String,
        /// Who set it, such as "in the environment variable …".
        origin: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A secret could not be had.
    #[error("{key}")]
    Secret {
        /// The key.
        key: &'static str,
        /// Why not.
        source: SecretFileError,
    },
    /// The place of the database is not understood.
    #[error("{key} {problem}")]
    Database {
        /// The key or variable.
        key: &'static str,
        /// What is wrong and how to mend it.
        problem: &'static str,
    },
    /// No database is named.
    #[error("no database is configured: set postgres.url (or DATABASE_URL, or Dify's DB_HOST, DB_USERNAME, DB_PASSWORD and DB_DATABASE)")]
    NoDatabase,
    /// Dify runs on a database that is not PostgreSQL.
    #[error("{key} names another kind of database: Dify Observe reads only PostgreSQL")]
    NotPostgres {
        /// The key or variable.
        key: &'static str,
    },
}

impl SettingsError {
    /// How a process that meets this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            SettingsError::NotPostgres { .. } => Exit::NotDify,
            _ => Exit::Configuration,
        }
    }
}

#[cfg(test)]
mod tests;
