//! What `scripts/setup-search-engine.sh` fetched.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// OpenSearch 2: starts in five seconds on a quiet machine.
    OpenSearch2,
    /// OpenSearch 3.
    OpenSearch3,
    /// Elasticsearch 8, with a plugin for tests that adds the end points which its distribution lacks.
    Elasticsearch8,
}

impl Engine {
    /// That of `SEARCH_ENGINE`.
    pub fn chosen() -> Self {
        match std::env::var("SEARCH_ENGINE").as_deref() {
            Ok("opensearch3") => Engine::OpenSearch3,
            Ok("elasticsearch8") => Engine::Elasticsearch8,
            _ => Engine::OpenSearch2,
        }
    }

    /// Its name in scripts and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::OpenSearch2 => "opensearch2",
            Engine::OpenSearch3 => "opensearch3",
            Engine::Elasticsearch8 => "elasticsearch8",
        }
    }

    /// Whether it can be started here.
    pub fn is_there(self) -> bool {
        self.home().is_ok()
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Engine::OpenSearch2 | Engine::OpenSearch3 => "opensearch",
            Engine::Elasticsearch8 => "elasticsearch",
        }
    }

    /// Of its environment variables.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Engine::OpenSearch2 | Engine::OpenSearch3 => "OPENSEARCH",
            Engine::Elasticsearch8 => "ES",
        }
    }

    pub(super) fn home(self) -> anyhow::Result<PathBuf> {
        let home = cache().join(self.as_str());
        if !home.join("java-home").is_file() {
            bail!("{} is not there: run `make setup`, or scripts/setup-search-engine.sh {}", home.display(), self.as_str());
        }
        Ok(home)
    }

    pub(super) fn java_home(self) -> anyhow::Result<PathBuf> {
        let file = self.home()?.join("java-home");
        let home = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
        Ok(PathBuf::from(home.trim()))
    }
}

/// The same rule as in the script.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("SEARCH_ENGINE_CACHE").unwrap_or_else(|| {
        let system = PathBuf::from("/var/cache/dify-observe/search-engine");
        if crate::children::effective_user().is_ok_and(|user| user == 0) {
            return system;
        }
        let own = || variable("HOME").unwrap_or_else(|| "/tmp".into()).join(".cache");
        variable("XDG_CACHE_HOME").unwrap_or_else(own).join("dify-observe/search-engine")
    })
}
