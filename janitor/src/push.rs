//! Metrics of a run that is over before anybody could scrape it: as a file for node_exporter's textfile collector, and to a Pushgateway.
//!
//! Both read Prometheus' text format 0.0.4, and not OpenMetrics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use dify_observe_core::secret::scrub;
use dify_observe_core::settings::JanitorSettings;
use tokio::io::AsyncWriteExt as _;
use url::Url;

/// For connecting, sending and the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why somebody did not get the metrics. The run itself is not affected.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The file could not be replaced.
    #[error("the metrics could not be written to {} (janitor.metrics_textfile)", path.display())]
    Textfile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The Pushgateway cannot be reached.
    #[error("the metrics could not be sent to {url} (janitor.pushgateway_url): {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The Pushgateway did not take them.
    #[error("{url} (janitor.pushgateway_url) answered {status} to the metrics: {answer}")]
    Refused {
        /// Where it is.
        url: String,
        /// Its answer's status.
        status: u16,
        /// The first line of its answer.
        answer: String,
    },
}

/// Hands `text`, in the text format, to whom the settings name. What went wrong with one does not keep the other from it.
pub async fn publish(settings: &JanitorSettings, text: &str) -> Vec<PushError> {
    let mut errors = Vec::new();
    if let Some(path) = &settings.metrics_textfile {
        let written = write(path, text).await;
        errors.extend(written.err().map(|source| PushError::Textfile { path: path.clone(), source }));
    }
    if let Some(url) = &settings.pushgateway_url {
        errors.extend(push(url, &settings.pushgateway_job, text.to_owned()).await.err());
    }
    errors
}

/// Replaces the file as a whole: the collector must never read a half, and not our unfinished one, so that does not end in `.prom`.
async fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension(format!("prom.{}", std::process::id()));
    let result = async {
        let mut file = tokio::fs::File::create(&unfinished).await?;
        file.write_all(text.as_bytes()).await?;
        file.sync_all().await?;
        tokio::fs::rename(&unfinished, path).await
    };
    let result = result.await;
    if result.is_err() {
        let _never_made = tokio::fs::remove_file(&unfinished).await;
    }
    result
}

/// Replaces the metrics of the job. They stay until the next run: `last_success` goes on ageing where everybody sees it.
async fn push(gateway: &str, job: &str, text: String) -> Result<(), PushError> {
    let shown = scrub(gateway);
    let unreachable = |reason: String| PushError::Unreachable { url: shown.clone(), reason };
    let url = address(gateway, job).ok_or_else(|| unreachable("it is not an address".to_owned()))?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| unreachable(cause(error)))?;
    let request = client.put(url).header("content-type", "text/plain; version=0.0.4; charset=utf-8").body(text);
    let answer = request.send().await.map_err(|error| unreachable(cause(error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let answer = answer.text().await.unwrap_or_default();
    let answer = answer.lines().next().unwrap_or("nothing").chars().take(200).collect();
    Err(PushError::Refused { url: shown, status: status.as_u16(), answer })
}

/// `…/metrics/job/JOB`, with whatever path the gateway itself has. The name is one segment, whatever is in it.
fn address(gateway: &str, job: &str) -> Option<Url> {
    let mut url = Url::parse(gateway).ok()?;
    let encoded = URL_SAFE.encode(job);
    // A slash would end the name, also as %2F.
    let (key, job) = if job.contains('/') { ("job@base64", encoded.as_str()) } else { ("job", job) };
    url.path_segments_mut().ok()?.pop_if_empty().extend(["metrics", key, job]);
    Some(url)
}

/// The innermost reason: the outer ones repeat the URL.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_keeps_the_gateways_path_and_the_jobs_name_whole() {
        assert_eq!(address("http://gw:9091", "dify-janitor").unwrap().as_str(), "http://gw:9091/metrics/job/dify-janitor");
        assert_eq!(address("http://gw/push/", "a b").unwrap().as_str(), "http://gw/push/metrics/job/a%20b");
        assert_eq!(address("http://gw", "a/b").unwrap().as_str(), "http://gw/metrics/job@base64/YS9i");
    }

    #[tokio::test]
    async fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("janitor.prom");
        let settings = JanitorSettings { metrics_textfile: Some(path.clone()), ..JanitorSettings::default() };
        for value in ["1", "2"] {
            let text = format!("# TYPE a gauge\na {value}\n");
            let errors = publish(&settings, &text).await;
            assert!(errors.is_empty(), "{errors:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_without_credentials() {
        let settings = JanitorSettings {
            metrics_textfile: Some("/nowhere/janitor.prom".into()),
            pushgateway_url: Some("http://u:hunter2@127.0.0.1:1".to_owned()),
            ..JanitorSettings::default()
        };
        let errors = publish(&settings, "").await;
        let [PushError::Textfile { .. }, unreachable @ PushError::Unreachable { .. }] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(!unreachable.to_string().contains("hunter2") && unreachable.to_string().contains("refused"), "{unreachable}");
    }
}
