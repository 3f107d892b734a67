//! `[postgres]`: where Dify's database is and how to behave towards it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::SettingsError;
use crate::secret::Secret;

/// Where Dify's database is and how to behave towards it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:5432/dify`, special characters percent-encoded; parameters such as `?sslmode=require` are
    /// understood. When not set: `DATABASE_URL`, else Dify's own `DB_HOST`, `DB_PORT`, `DB_USERNAME`, `DB_PASSWORD`, `DB_DATABASE`.
    pub url: Option<Secret>,
    /// A file that holds `postgres.url`.
    pub url_file: Option<PathBuf>,
    /// The password, taken as it is, for a URL (or `DB_*` variables) without one. It outranks theirs.
    pub password: Option<Secret>,
    /// A file that holds `postgres.password`.
    pub password_file: Option<PathBuf>,
    /// `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`, as in libpq. When not set: what the URL says, else `prefer`.
    #[serde(deserialize_with = "super::optional_word")]
    pub ssl_mode: Option<SslMode>,
    /// A file with the certificate authority that `verify-ca` and `verify-full` trust (PEM). When not set: the system's.
    pub ssl_root_cert: Option<PathBuf>,
    /// A file with the client's certificate (PEM).
    pub ssl_cert: Option<PathBuf>,
    /// A file with the key of the client's certificate (PEM).
    pub ssl_key: Option<PathBuf>,
    /// How long one attempt to connect may take. Attempts are repeated.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long one statement may take before the server cancels it. Too short on a slow disk means many halved pages; too long
    /// holds back Dify's vacuum.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// What the environment says when `url` is not set.
    #[serde(skip)]
    pub(crate) environment: Option<Environment>,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        PostgresSettings {
            url: None,
            url_file: None,
            password: None,
            password_file: None,
            ssl_mode: None,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(5),
            environment: None,
        }
    }
}

/// A database named by variables that are not ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Environment {
    /// `DATABASE_URL`.
    Url(Secret),
    /// Dify's own variables, by name.
    Dify(DifyVariables),
}

/// Dify's own variables, with Dify's own defaults. Kept apart instead of made into a URL: a password may hold any character.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DifyVariables {
    kind: Option<String>,
    host: String,
    port: String,
    username: String,
    password: Option<Secret>,
    database: String,
}

/// How the connection is encrypted, by libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only when the server insists.
    Allow,
    /// When the server can.
    Prefer,
    /// Always, without looking at the certificate.
    Require,
    /// Always, with a certificate of a trusted authority.
    VerifyCa,
    /// Always, with a certificate of a trusted authority for this host name.
    VerifyFull,
}

impl From<SslMode> for PgSslMode {
    fn from(mode: SslMode) -> Self {
        match mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Allow => PgSslMode::Allow,
            SslMode::Prefer => PgSslMode::Prefer,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        }
    }
}

impl PostgresSettings {
    /// How to connect, without an `application_name`.
    ///
    /// Made to pass through pgbouncer in transaction mode: no named statements, no start-up parameters that it refuses.
    pub fn connect_options(&self) -> Result<PgConnectOptions, SettingsError> {
        let options = match (&self.url, &self.environment) {
            (Some(url), _) => parse_url("postgres.url", url.expose())?,
            (None, Some(Environment::Url(url))) => parse_url("DATABASE_URL", url.expose())?,
            (None, Some(Environment::Dify(variables))) => variables.connect_options()?,
            (None, None) => return Err(SettingsError::NoDatabase),
        };
        Ok(self.with_own_keys(options).extra_float_digits(None).statement_cache_capacity(0).disable_statement_logging())
    }

    /// The database as `host:port/name`, for the log; nothing where none is configured.
    pub fn target(&self) -> Option<String> {
        let options = self.connect_options().ok()?;
        let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |socket| socket.display().to_string());
        Some(format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or_default()))
    }

    fn with_own_keys(&self, mut options: PgConnectOptions) -> PgConnectOptions {
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        if let Some(mode) = self.ssl_mode {
            options = options.ssl_mode(mode.into());
        }
        if let Some(path) = &self.ssl_root_cert {
            options = options.ssl_root_cert(path);
        }
        if let Some(path) = &self.ssl_cert {
            options = options.ssl_client_cert(path);
        }
        if let Some(path) = &self.ssl_key {
            options = options.ssl_client_key(path);
        }
        options
    }

    /// Looks for a database in variables that are not ours: `DATABASE_URL`, then Dify's.
    pub(super) fn read_environment(&mut self, env: &BTreeMap<String, String>) {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty());
        self.environment = match get("DATABASE_URL") {
            Some(url) => Some(Environment::Url(Secret::new(url))),
            None => DifyVariables::read(get).map(Environment::Dify),
        };
    }

    pub(super) fn read_secret_files(&mut self) -> Result<(), SettingsError> {
        super::secret_from_file("postgres.url", &mut self.url, self.url_file.as_deref())?;
        super::secret_from_file("postgres.password", &mut self.password, self.password_file.as_deref())
    }

    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.connect_timeout.is_zero() {
            return Err(("connect_timeout", "is 0: write a duration such as \"10s\"".to_owned()));
        }
        if self.statement_timeout.as_millis() == 0 {
            return Err(("statement_timeout", "is 0, which PostgreSQL takes for \"no limit\": write a duration such as \"5s\"".to_owned()));
        }
        for (key, path) in [("ssl_root_cert", &self.ssl_root_cert), ("ssl_cert", &self.ssl_cert), ("ssl_key", &self.ssl_key)] {
            if let Some(path) = path
                && let Err(error) = std::fs::File::open(path)
            {
                return Err((key, format!("names the file {}, which cannot be read ({error})", path.display())));
            }
        }
        if self.ssl_cert.is_some() != self.ssl_key.is_some() {
            return Err(("ssl_cert", "and postgres.ssl_key belong together: set both or neither".to_owned()));
        }
        Ok(())
    }
}

impl DifyVariables {
    fn read<'a>(get: impl Fn(&str) -> Option<&'a String>) -> Option<Self> {
        const NAMES: [&str; 6] = ["DB_TYPE", "DB_HOST", "DB_PORT", "DB_USERNAME", "DB_PASSWORD", "DB_DATABASE"];
        NAMES.iter().any(|name| get(name).is_some()).then(|| {
            let or = |name: &str, default: &str| get(name).map_or(default, String::as_str).to_owned();
            DifyVariables {
                kind: get("DB_TYPE").cloned(),
                host: or("DB_HOST", "localhost"),
                port: or("DB_PORT", "5432"),
                username: or("DB_USERNAME", "postgres"),
                password: get("DB_PASSWORD").map(Secret::new),
                database: or("DB_DATABASE", "dify"),
            }
        })
    }

    fn connect_options(&self) -> Result<PgConnectOptions, SettingsError> {
        if let Some(kind) = &self.kind
            && !kind.to_ascii_lowercase().starts_with("postgres")
        {
            return Err(SettingsError::NotPostgres { key: "DB_TYPE" });
        }
        let port = self.port.parse().map_err(|_| SettingsError::Database { key: "DB_PORT", problem: "is not a port number" })?;
        let options = PgConnectOptions::new_without_pgpass().host(&self.host).port(port).username(&self.username).database(&self.database);
        Ok(match &self.password {
            Some(password) => options.password(password.expose()),
            None => options,
        })
    }
}

/// Reads a database URL. Whatever is wrong with it, the error quotes none of it.
fn parse_url(key: &'static str, url: &str) -> Result<PgConnectOptions, SettingsError> {
    let wrong = |problem| SettingsError::Database { key, problem };
    let Some((scheme, rest)) = url.trim().split_once("://") else {
        return Err(wrong("is not a URL: write postgres://user:password@host:5432/dify"));
    };
    // SQLAlchemy's way to name a driver: postgresql+psycopg2.
    match scheme.split_once('+').map_or(scheme, |(dialect, _)| dialect).to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => {}
        "mysql" | "mariadb" | "oceanbase" | "seekdb" => return Err(SettingsError::NotPostgres { key }),
        _ => return Err(wrong("does not begin with postgres://")),
    }
    let (authority, remainder) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if remainder.contains(['@', '#']) {
        return Err(wrong("holds a special character that must be percent-encoded: '/' is %2F, '?' is %3F, '#' is %23, '@' is %40"));
    }
    let options = PgConnectOptions::from_str(&format!("postgres://{authority}{remainder}")).map_err(|_| {
        wrong("cannot be read: check host, port and parameters, and percent-encode special characters in user and password")
    })?;
    if options.get_database().is_none() {
        return Err(wrong("names no database: end it with /dify, or what the database is called"));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_variables(pairs: &[(&str, &str)]) -> PostgresSettings {
        let mut settings = PostgresSettings::default();
        settings.read_environment(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        settings
    }

    fn with_url(url: &str) -> PostgresSettings {
        PostgresSettings { url: Some(Secret::new(url)), ..Default::default() }
    }

    #[test]
    fn any_character_may_stand_in_difys_password() {
        let password = "p@ss:w/o?r#d %41\"'\\é";
        let settings = from_variables(&[("DB_HOST", "db"), ("DB_PASSWORD", password), ("DB_USERNAME", "us:er@x"), ("DB_DATABASE", "d/i")]);
        let options = settings.connect_options().unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("db", 5432));
        assert_eq!((options.get_username(), options.get_database()), ("us:er@x", Some("d/i")));
        assert_eq!(options.to_url_lossy().password(), Some("p%40ss%3Aw%2Fo%3Fr%23d%20%2541%22%27%5C%C3%A9"));
    }

    #[test]
    fn the_log_names_the_database_without_the_user() {
        assert_eq!(with_url("postgres://u:hunter2@h/d").target().as_deref(), Some("h:5432/d"));
        assert_eq!(with_url("postgres://u:hunt@er2@h:1/d").target().as_deref(), Some("h:1/d"));
        assert_eq!(PostgresSettings::default().target(), None);
    }

    #[test]
    fn a_url_outranks_database_url_which_outranks_difys_variables() {
        let pairs = [("DATABASE_URL", "postgres://u@second/dify"), ("DB_HOST", "third")];
        let mut settings = from_variables(&pairs);
        assert_eq!(settings.connect_options().unwrap().get_host(), "second");
        settings.url = Some(Secret::new("postgresql+psycopg2://u@first/dify"));
        assert_eq!(settings.connect_options().unwrap().get_host(), "first");
        assert_eq!(from_variables(&pairs[1..]).connect_options().unwrap().get_host(), "third");
        assert!(matches!(from_variables(&[("DATABASE_URL", "")]).connect_options(), Err(SettingsError::NoDatabase)));
    }

    #[test]
    fn own_keys_outrank_the_url() {
        let settings = PostgresSettings {
            password: Some(Secret::new("n/w")),
            ssl_mode: Some(SslMode::VerifyFull),
            ..with_url("postgres://u:old@host/dify?sslmode=disable")
        };
        let options = settings.connect_options().unwrap();
        assert_eq!(options.to_url_lossy().password(), Some("n%2Fw"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    }

    #[test]
    fn mysql_is_named_as_what_it_is() {
        for settings in [with_url("mysql+pymysql://u:p@h/dify"), from_variables(&[("DB_TYPE", "mysql"), ("DB_HOST", "h")])] {
            let error = settings.connect_options().unwrap_err();
            assert_eq!(error.exit(), crate::exit::Exit::NotDify);
            assert!(error.to_string().contains("only PostgreSQL"), "{error}");
        }
        assert!(from_variables(&[("DB_TYPE", "postgresql"), ("DB_HOST", "h")]).connect_options().is_ok());
    }

    #[test]
    fn no_error_quotes_a_part_of_the_url() {
        for url in [
            "hunter2",
            "hunter2://hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2#x@h/d",
            "postgres://u:hunter2/x@h/d",
            "postgres://u:1?hunter2@h/d",
            "postgres://u:hunter2",
            "postgres://u:p@h:hunter2/d",
            "postgres://u:p@h/d?sslmode=hunter2",
            "postgres://u:p@h/d#hunter2",
            "postgres://u:p@[hunter2/d",
            "postgres://hunter2@h",
        ] {
            let error = with_url(url).connect_options().unwrap_err();
            let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(!shown.contains("hunter2"), "{url}: {shown}");
        }
        let error = from_variables(&[("DB_PORT", "hunter2")]).connect_options().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn debug_and_serialization_hide_every_credential() {
        let mut settings = from_variables(&[("DB_PASSWORD", "hunter2"), ("DB_HOST", "h")]);
        settings.url = Some(Secret::new("postgres://u:hunter2@h/d"));
        settings.password = Some(Secret::new("hunter2"));
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn impossible_values_are_refused() {
        let no_limit = PostgresSettings { statement_timeout: Duration::ZERO, ..Default::default() };
        assert_eq!(no_limit.validate().unwrap_err().0, "statement_timeout");
        let no_file = PostgresSettings { ssl_root_cert: Some("/nowhere/ca.pem".into()), ..Default::default() };
        assert!(no_file.validate().unwrap_err().1.contains("/nowhere/ca.pem"));
        assert_eq!(PostgresSettings::default().validate(), Ok(()));
    }
}
