//! Sending requests: to whichever node answers, and nothing is decided here about what the answer means.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dify_observe_core::settings::SinkSettings;
use elasticsearch::auth::{ClientCertificate, Credentials};
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::headers::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use serde_json::Value;
use url::Url;

use super::address::Address;
use super::answer::Answer;
use super::setback::Setback;

/// A node that did not answer is left alone for so long while others do.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Nothing.
    Nothing,
    /// One JSON value.
    Json(Value),
    /// Lines of JSON, compressed already or not.
    Lines { bytes: Bytes, compressed: bool },
}

/// The nodes of one engine.
#[derive(Debug)]
pub(crate) struct Client {
    nodes: Vec<Node>,
    next: AtomicUsize,
    timeout: Duration,
}

#[derive(Debug)]
struct Node {
    transport: Transport,
    /// Without credentials.
    address: String,
    left_alone_until: Mutex<Option<Instant>>,
}

impl Client {
    /// The error reads on after "the sink".
    pub(crate) fn new(settings: &SinkSettings) -> Result<Self, String> {
        // The elasticsearch crate's TLS takes the provider of the process.
        dify_observe_core::bootstrap::install_tls_provider();
        let address = Address::of(settings)?;
        let nodes = address.nodes.iter().map(|url| Node::new(url, settings, address.authorization.as_deref()));
        Ok(Client { nodes: nodes.collect::<Result<_, _>>()?, next: AtomicUsize::new(0), timeout: settings.timeout })
    }

    /// The nodes' addresses, for messages.
    pub(crate) fn addresses(&self) -> String {
        self.nodes.iter().map(|node| node.address.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Setback> {
        self.send(Method::Get, path, &Content::Nothing).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Answer, Setback> {
        self.send(Method::Put, path, &Content::Json(body.clone())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, Setback> {
        self.send(Method::Delete, path, &Content::Nothing).await
    }

    /// Asks the nodes in turn until one answers. Only a timeout is not tried at the next one: it would be another timeout.
    pub(crate) async fn send(&self, method: Method, path: &str, content: &Content) -> Result<Answer, Setback> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut order: Vec<&Node> = (0..self.nodes.len()).map(|turn| &self.nodes[(first + turn) % self.nodes.len()]).collect();
        order.sort_by_key(|node| node.is_left_alone());
        let mut last = Setback::new("unreachable", "there is no node");
        for node in order {
            match node.send(method, path, content, self.timeout).await {
                Ok(answer) => {
                    node.leave_alone(None);
                    return Ok(answer);
                }
                Err(setback) => {
                    node.leave_alone(Some(Instant::now() + LEFT_ALONE));
                    last = setback;
                    if last.reason == "timeout" {
                        break;
                    }
                }
            }
        }
        Err(last)
    }
}

impl Node {
    fn new(url: &Url, settings: &SinkSettings, authorization: Option<&str>) -> Result<Self, String> {
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone())).enable_meta_header(false);
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_str(authorization).map_err(|_| "has credentials with characters that cannot be sent")?;
            value.set_sensitive(true);
            // Not as the crate's credentials: a client certificate takes that place.
            builder = builder.header(AUTHORIZATION, value);
        }
        if let Some(file) = &settings.ca_file {
            let authority =
                Certificate::from_pem(&read(file)?).map_err(|_| format!("has a ca_file without certificates: {}", file.display()))?;
            builder = builder.cert_validation(CertificateValidation::Full(authority));
        }
        if let (Some(certificate), Some(key)) = (&settings.client_certificate_file, &settings.client_key_file) {
            let mut pem = read(key)?;
            pem.push(b'\n');
            pem.extend(read(certificate)?);
            builder = builder.auth(Credentials::Certificate(ClientCertificate::Pem(pem)));
        }
        let transport = builder.build().map_err(|error| format!("cannot be connected to: {}", innermost(&error)))?;
        Ok(Node { transport, address: url.as_str().trim_end_matches('/').to_owned(), left_alone_until: Mutex::new(None) })
    }

    async fn send(&self, method: Method, path: &str, content: &Content, timeout: Duration) -> Result<Answer, Setback> {
        let (headers, body) = encoded(content);
        let answer = self.transport.send(method, path, headers, None::<&()>, body, Some(timeout)).await;
        let answer = answer.map_err(|error| self.setback(error.is_timeout(), &error, timeout))?;
        let status = answer.status_code().as_u16();
        let body = answer.bytes().await.map_err(|error| self.setback(error.is_timeout(), &error, timeout))?;
        Ok(Answer { status, body })
    }

    fn setback(&self, is_timeout: bool, error: &dyn std::error::Error, timeout: Duration) -> Setback {
        let address = &self.address;
        if is_timeout {
            return Setback::new("timeout", format!("{address} has not answered within {}", humantime::format_duration(timeout)));
        }
        Setback::new("unreachable", format!("{address} cannot be reached: {}", innermost(error)))
    }

    fn is_left_alone(&self) -> bool {
        self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| until > Instant::now())
    }

    fn leave_alone(&self, until: Option<Instant>) {
        *self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

fn encoded(content: &Content) -> (HeaderMap, Option<Bytes>) {
    let mut headers = HeaderMap::new();
    let body = match content {
        Content::Nothing => None,
        Content::Json(value) => Some(Bytes::from(value.to_string())),
        Content::Lines { bytes, compressed } => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            if *compressed {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            Some(bytes.clone())
        }
    };
    (headers, body)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("names {}, which cannot be read: {error}", file.display()))
}

/// The outer ones only say that something failed, and some of them quote the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    dify_observe_core::secret::scrub(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(urls: &str) -> Client {
        Client::new(&SinkSettings { url: Some(urls.to_owned()), timeout: Duration::from_secs(2), ..SinkSettings::default() }).unwrap()
    }

    #[tokio::test]
    async fn a_node_that_is_away_is_said_without_its_credentials() {
        let setback = client("http://user:secret@127.0.0.1:1").get("/").await.unwrap_err();
        assert_eq!(setback.reason, "unreachable");
        assert!(setback.sentence.contains("127.0.0.1:1 cannot be reached"), "{}", setback.sentence);
        assert!(!setback.sentence.contains("secret"), "{}", setback.sentence);
    }

    #[tokio::test]
    async fn a_node_that_is_away_is_passed_over() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(|| async { "{}" });
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = client(&format!("http://127.0.0.1:1,http://{there}"));
        for _ in 0..4 {
            assert_eq!(client.get("/").await.unwrap().status, 200);
        }
        assert!(client.nodes[0].is_left_alone() && !client.nodes[1].is_left_alone());
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_is_given_up_on_in_time() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = client(&format!("http://{}", silent.local_addr().unwrap()));
        client.timeout = Duration::from_millis(100);
        assert_eq!(client.get("/").await.unwrap_err().reason, "timeout");
    }
}
