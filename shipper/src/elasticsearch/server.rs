//! Which engine it is: asked of the server, because their policies and some paths differ.

use serde_json::Value;

use super::client::Client;
use super::setback::Setback;

/// Oldest major version of both that is taken.
const OLDEST_ELASTICSEARCH: u32 = 8;
const OLDEST_OPENSEARCH: u32 = 2;

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Elastic's.
    Elasticsearch,
    /// The OpenSearch project's, and what is built of it.
    OpenSearch,
}

/// A server that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whose it is.
    pub distribution: Distribution,
    /// Its version, as it says it.
    pub version: String,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.distribution {
            Distribution::Elasticsearch => "Elasticsearch",
            Distribution::OpenSearch => "OpenSearch",
        };
        write!(f, "{name} {}", self.version)
    }
}

/// Why there is no server to work with.
#[derive(Clone, Debug)]
pub(crate) enum NoServer {
    /// Not now.
    Setback(Setback),
    /// Not this one: one sentence.
    Unfit(String),
}

/// Asks which one it is.
pub(crate) async fn recognise(client: &Client) -> Result<Server, NoServer> {
    let answer = client.get("/").await.map_err(NoServer::Setback)?;
    let what = format!("ask {} which engine it is", client.addresses());
    if !answer.is_success() {
        return Err(NoServer::Setback(Setback::of(&answer, &what)));
    }
    judge(&answer.json(), &client.addresses()).map_err(NoServer::Unfit)
}

fn judge(answer: &Value, address: &str) -> Result<Server, String> {
    let Some(version) = answer["version"]["number"].as_str() else {
        return Err(format!("{address} is no search engine: name Elasticsearch or OpenSearch in the sink's url"));
    };
    let distribution = match answer["version"]["distribution"].as_str() {
        Some("opensearch") => Distribution::OpenSearch,
        _ => Distribution::Elasticsearch,
    };
    let server = Server { distribution, version: version.chars().take(40).collect() };
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let oldest = match distribution {
        Distribution::Elasticsearch => OLDEST_ELASTICSEARCH,
        Distribution::OpenSearch => OLDEST_OPENSEARCH,
    };
    if major < oldest {
        return Err(format!("{address} is {server}, and {oldest}.0 is the oldest version that is supported: upgrade it"));
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn engines_are_told_apart() {
        let judged = |version: Value| judge(&json!({ "version": version }), "http://es").map(|server| server.to_string());
        assert_eq!(judged(json!({ "number": "2.19.6", "distribution": "opensearch" })).unwrap(), "OpenSearch 2.19.6");
        assert_eq!(judged(json!({ "number": "9.1.0", "build_flavor": "default" })).unwrap(), "Elasticsearch 9.1.0");
        assert!(judged(json!({ "number": "7.17.29" })).unwrap_err().contains("8.0 is the oldest version"));
        assert!(judged(json!({ "number": "1.3.0", "distribution": "opensearch" })).unwrap_err().contains("2.0 is the oldest"));
        assert!(judged(json!({})).unwrap_err().contains("no search engine"));
    }
}
