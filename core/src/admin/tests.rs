use std::net::TcpStream;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt as _;

use super::*;
use crate::shutdown::{Shutdown, Stage, Trigger};

fn test_router(readiness: &Readiness) -> Router {
    let own = Router::new().route("/metrics", get(|| async { "x 1\n" }));
    router(readiness.clone(), Landing::new("dify-test", "0", "a test").link("/metrics", "numbers"), own)
}

async fn ask(router: Router, path: &str) -> (StatusCode, String) {
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_own_routes_and_the_landing_page_are_served() {
    let readiness = Readiness::new();
    let condition = readiness.condition("database");
    condition.not_ready("not connected yet");
    let router = test_router(&readiness);
    assert_eq!(ask(router.clone(), "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(
        ask(router.clone(), "/readyz").await,
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\ndatabase: not connected yet\n".to_owned())
    );
    condition.ready();
    assert_eq!(ask(router.clone(), "/readyz").await.0, StatusCode::OK);
    assert_eq!(ask(router.clone(), "/metrics").await.1, "x 1\n");
    assert!(ask(router.clone(), "/").await.1.contains("href=\"metrics\""));
    assert_eq!(ask(router, "/nowhere").await.0, StatusCode::NOT_FOUND);
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let first = Listener::bind("127.0.0.1:0").unwrap();
    let listen = first.address().to_string();
    let error = Listener::bind(&listen).unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable);
    assert_eq!(error.to_string(), format!("cannot listen on {listen}, the port is in use: stop what uses it, or choose another address"));
}

#[test]
fn an_address_of_another_host_is_a_configuration_mistake() {
    let error = Listener::bind("192.0.2.1:9810").unwrap_err();
    assert_eq!(error.exit(), Exit::Configuration);
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/testdata").join(name)
}

/// A running server and what is needed to stop it.
struct Running {
    address: SocketAddr,
    trigger: Trigger,
    task: tokio::task::JoinHandle<Result<(), AdminError>>,
}

impl Running {
    fn start(web: Web) -> Self {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let address = listener.address();
        let (trigger, shutdown) = Shutdown::manual();
        let task = tokio::spawn(serve(listener, test_router(&Readiness::new()), web, shutdown));
        Running { address, trigger, task }
    }

    async fn stop(self) {
        self.trigger.advance(Stage::Finishing);
        self.task.await.unwrap().unwrap();
    }
}

fn web(yaml: &str) -> Result<Web, AdminError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    std::fs::write(&path, yaml).unwrap();
    Web::load(Some(&path))
}

fn exchange(mut stream: impl std::io::Read + std::io::Write, headers: &str) -> std::io::Result<String> {
    write!(stream, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    // A server that closes without TLS's goodbye is still understood.
    let _end = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn tls_exchange(address: SocketAddr, with_certificate: bool) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(testdata("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = if with_certificate {
        let certificate = CertificateDer::from_pem_file(testdata("client.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(testdata("client.key")).unwrap();
        builder.with_client_auth_cert(vec![certificate], key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let connection = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    exchange(rustls::StreamOwned::new(connection, TcpStream::connect(address)?), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_config_demands_tls_and_a_client_certificate() {
    let yaml = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_ca_file: {}\n  client_auth_type: RequireAndVerifyClientCert\n",
        testdata("server.pem").display(),
        testdata("server.key").display(),
        testdata("ca.pem").display(),
    );
    let running = Running::start(web(&yaml).unwrap());
    let address = running.address;
    let (with, without) = tokio::task::spawn_blocking(move || (tls_exchange(address, true), tls_exchange(address, false))).await.unwrap();
    assert!(with.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert!(!without.unwrap_or_default().contains("200 OK"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_config_with_users_guards_health_too() {
    let hash = bcrypt::hash("s3cret", 4).unwrap();
    let running = Running::start(web(&format!("basic_auth_users:\n  prometheus: {hash}\n")).unwrap());
    let address = running.address;
    let ask = move |headers: &'static str| exchange(TcpStream::connect(address).unwrap(), headers).unwrap();
    let (anonymous, known) =
        tokio::task::spawn_blocking(move || (ask(""), ask("Authorization: Basic cHJvbWV0aGV1czpzM2NyZXQ=\r\n"))).await.unwrap();
    assert!(anonymous.starts_with("HTTP/1.1 401 Unauthorized") && anonymous.contains("www-authenticate: Basic"), "{anonymous}");
    assert!(known.starts_with("HTTP/1.1 200 OK"), "{known}");
    running.stop().await;
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let missing = web("tls_server_config: { cert_file: /nowhere.pem, key_file: /nowhere.key }").unwrap_err();
    assert!(missing.to_string().contains("/nowhere.pem"), "{missing}");
    assert_eq!(missing.exit(), Exit::Configuration);
    let swapped =
        format!("tls_server_config: {{ cert_file: {}, key_file: {} }}", testdata("server.pem").display(), testdata("client.key").display());
    assert!(web(&swapped).unwrap_err().to_string().contains("do not go together"));
}

#[test]
fn changed_files_are_taken_over_and_bad_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    let write = |text: &str, seconds: u64| {
        std::fs::write(&path, text).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    let users = |password: &str| format!("basic_auth_users:\n  p: {}\n", bcrypt::hash(password, 4).unwrap());
    write(&users("one"), 1);
    let mut web = Web::load(Some(&path)).unwrap();
    assert!(!web.reload_if_changed().unwrap());
    write(&users("two"), 2);
    assert!(web.reload_if_changed().unwrap());
    assert!(!web.reload_if_changed().unwrap());
    write("basic_auth_users: {}\n", 3);
    assert!(web.reload_if_changed().unwrap_err().to_string().contains("restart"));
    write("nonsense: 1\n", 4);
    assert!(web.reload_if_changed().is_err());
}
