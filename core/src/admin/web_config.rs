//! The file with TLS and users, in the format of Prometheus' exporter-toolkit. See `docs/web-config.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlLoader};

use super::tls::{ClientAuth, Tls, Version};

/// What the file says.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct WebConfig {
    pub(super) tls: Option<Tls>,
    /// User names and bcrypt hashes.
    pub(super) users: BTreeMap<String, String>,
}

impl fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebConfig").field("tls", &self.tls).field("users", &self.users.len()).finish()
    }
}

/// What is wrong with the web configuration. Quotes no hash.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// The file cannot be read.
    #[error("cannot read the web configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file says something that is wrong, unknown, or not supported.
    #[error("web configuration {}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

impl WebConfig {
    /// Reads the file. Paths in it are relative to its folder.
    pub(super) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| WebConfigError::Unreadable { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        WebConfig::parse(&text, folder).map_err(|problem| WebConfigError::Invalid { path: path.to_owned(), problem })
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let documents = YamlLoader::load_from_str(text)
            .map_err(|error| format!("is not YAML (line {}, column {})", error.marker().line(), error.marker().col() + 1))?;
        let mut config = WebConfig::default();
        let Some(document) = documents.first() else { return Ok(config) };
        for (key, value) in entries(document, "the file")? {
            match key.as_str() {
                "tls_server_config" => config.tls = tls(value, folder)?,
                "basic_auth_users" => config.users = users(value)?,
                "http_server_config" => http(value)?,
                _ => return Err(unknown(&key, "", &["tls_server_config", "http_server_config", "basic_auth_users"])),
            }
        }
        Ok(config)
    }
}

fn tls(value: &Yaml, folder: &Path) -> Result<Option<Tls>, String> {
    const KNOWN: [&str; 6] = ["cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version", "max_version"];
    let mut texts = BTreeMap::new();
    for (key, value) in entries(value, "tls_server_config")? {
        let known = KNOWN.iter().find(|known| **known == key).ok_or_else(|| unknown(&key, " in tls_server_config", &KNOWN))?;
        texts.insert(*known, value.as_str().ok_or_else(|| format!("{key} in tls_server_config must be text"))?);
    }
    if texts.is_empty() {
        return Ok(None);
    }
    let file = |key: &str| texts.get(key).filter(|text| !text.is_empty()).map(|text| folder.join(text));
    let need = |key: &str| file(key).ok_or_else(|| format!("tls_server_config needs {key}"));
    let version = |key: &str, default| texts.get(key).map_or(Ok(default), |text| version(key, text));
    let tls = Tls {
        cert_file: need("cert_file")?,
        key_file: need("key_file")?,
        client_ca_file: file("client_ca_file"),
        client_auth: client_auth(texts.get("client_auth_type").copied().unwrap_or_default())?,
        min_version: version("min_version", Version::Tls12)?,
        max_version: version("max_version", Version::Tls13)?,
    };
    if tls.min_version > tls.max_version {
        return Err("min_version is above max_version".to_owned());
    }
    match (tls.client_auth, &tls.client_ca_file) {
        (ClientAuth::None, Some(_)) => {
            Err("client_ca_file has no effect without client_auth_type: set RequireAndVerifyClientCert".to_owned())
        }
        (ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify, None) => Err("client_auth_type needs client_ca_file".to_owned()),
        _ => Ok(Some(tls)),
    }
}

fn client_auth(word: &str) -> Result<ClientAuth, String> {
    match word {
        "" | "NoClientCert" => Ok(ClientAuth::None),
        "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyIfGiven),
        "RequireAndVerifyClientCert" => Ok(ClientAuth::RequireAndVerify),
        "RequestClientCert" | "RequireAnyClientCert" => {
            Err(format!("client_auth_type {word} would take certificates that nobody checks: use RequireAndVerifyClientCert"))
        }
        _ => Err("client_auth_type must be NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert".to_owned()),
    }
}

fn version(key: &str, word: &str) -> Result<Version, String> {
    match word {
        "TLS12" => Ok(Version::Tls12),
        "TLS13" => Ok(Version::Tls13),
        _ => Err(format!("{key} must be TLS12 or TLS13; older ones are not offered")),
    }
}

fn http(value: &Yaml) -> Result<(), String> {
    for (key, value) in entries(value, "http_server_config")? {
        match (key.as_str(), value) {
            // Answers are the same over HTTP/1.1, which is all that is offered.
            ("http2", Yaml::Boolean(_)) => {}
            ("http2", _) => return Err("http2 in http_server_config must be true or false".to_owned()),
            _ => return Err(unknown(&key, " in http_server_config", &["http2"])),
        }
    }
    Ok(())
}

fn users(value: &Yaml) -> Result<BTreeMap<String, String>, String> {
    let mut users = BTreeMap::new();
    for (user, hash) in entries(value, "basic_auth_users")? {
        let hash = hash.as_str().filter(|hash| hash.parse::<bcrypt::HashParts>().is_ok());
        let hash =
            hash.ok_or_else(|| format!("the password of user {user:?} is not a bcrypt hash: make one with `htpasswd -nBC 10 {user}`"))?;
        users.insert(user, hash.to_owned());
    }
    Ok(users)
}

/// The entries of a mapping; nothing at all is an empty one.
fn entries<'y>(value: &'y Yaml, place: &str) -> Result<Vec<(String, &'y Yaml)>, String> {
    static EMPTY: std::sync::OnceLock<Hash> = std::sync::OnceLock::new();
    let map = match value {
        Yaml::Hash(map) => map,
        Yaml::Null => EMPTY.get_or_init(Hash::new),
        _ => return Err(format!("{place} must hold `key: value` lines")),
    };
    let text = |key: &Yaml| match key {
        Yaml::String(text) | Yaml::Real(text) => Ok(text.clone()),
        Yaml::Integer(number) => Ok(number.to_string()),
        Yaml::Boolean(value) => Ok(value.to_string()),
        _ => Err(format!("a key in {place} is not text")),
    };
    map.iter().map(|(key, value)| Ok((text(key)?, value))).collect()
}

fn unknown(key: &str, place: &str, known: &[&str]) -> String {
    format!("unknown or unsupported key {key:?}{place}, expected {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(text, Path::new("/etc/dify"))
    }

    #[test]
    fn reads_what_prometheus_reads() {
        let config = parse(
            "tls_server_config:\n  cert_file: server.pem\n  key_file: /keys/server.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
             client_ca_file: ca.pem\n  min_version: TLS13\nhttp_server_config:\n  http2: true\nbasic_auth_users:\n  \
             alice: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n  7: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n",
        )
        .unwrap();
        let tls = config.tls.unwrap();
        assert_eq!((tls.cert_file, tls.key_file), ("/etc/dify/server.pem".into(), "/keys/server.key".into()));
        assert_eq!((tls.client_auth, tls.min_version), (ClientAuth::RequireAndVerify, Version::Tls13));
        assert_eq!(config.users.keys().collect::<Vec<_>>(), ["7", "alice"]);
    }

    #[test]
    fn an_empty_file_is_plain_http_for_everybody() {
        for text in ["", "# nothing\n", "tls_server_config:\nbasic_auth_users: {}\n"] {
            assert_eq!(parse(text), Ok(WebConfig::default()), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, expected) in [
            ("tls_config: {}", "\"tls_config\""),
            ("tls_server_config: { cert_file: a, key_file: b, cipher_suites: [] }", "\"cipher_suites\""),
            ("tls_server_config: { cert_file: a }", "needs key_file"),
            ("tls_server_config: { cert_file: a, key_file: b, min_version: TLS10 }", "min_version"),
            ("tls_server_config: { cert_file: a, key_file: b, min_version: TLS13, max_version: TLS12 }", "above"),
            ("tls_server_config: { cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert }", "nobody checks"),
            ("tls_server_config: { cert_file: a, key_file: b, client_auth_type: Maybe }", "NoClientCert"),
            ("tls_server_config: { cert_file: a, key_file: b, client_auth_type: VerifyClientCertIfGiven }", "needs client_ca_file"),
            ("tls_server_config: { cert_file: a, key_file: b, client_ca_file: c }", "no effect"),
            ("basic_auth_users: [a]", "key: value"),
            ("http_server_config: { headers: {} }", "\"headers\""),
            ("a: [", "is not YAML (line"),
            ("just text", "key: value"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn a_plain_password_is_refused_without_being_shown() {
        let problem = parse("basic_auth_users:\n  alice: hunter2\n").unwrap_err();
        assert!(problem.contains("alice") && problem.contains("bcrypt") && !problem.contains("hunter2"), "{problem}");
    }
}
