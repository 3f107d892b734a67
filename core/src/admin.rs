//! The HTTP server of every binary: health, a landing page, and the binary's own routes (`/metrics`, `/position`).
//!
//! TLS and basic authentication come from a file in the format of Prometheus' exporter-toolkit, and cover every path, health included,
//! as they do there.

mod auth;
mod landing;
mod readiness;
mod tls;
mod web_config;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;

pub use landing::{Landing, Link};
pub use readiness::{Condition, Readiness};
pub use web_config::WebConfigError;

use auth::Auth;
use web_config::WebConfig;

use crate::exit::Exit;
use crate::shutdown::Shutdown;

/// How long a client may take to send the head of a request, and may keep an idle connection: above the usual scrape interval of a
/// minute, so that Prometheus keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long requests that are being answered may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// How often the files of the web configuration are looked at for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The routes of a binary: its own, health, and the landing page.
pub fn router(readiness: Readiness, landing: Landing, own: Router) -> Router {
    let health = Router::new()
        .route("/livez", get(|| async { ([(CACHE_CONTROL, "no-store")], "ok\n") }))
        .route("/readyz", get(ready))
        .with_state(readiness);
    let page = Router::new().route("/", get(home)).with_state(Arc::new(landing));
    own.merge(health).merge(page)
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, "no-store")], readiness.report())
}

async fn home(State(landing): State<Arc<Landing>>) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    (headers, landing.render())
}

/// An opened port. Requests wait in it until [`serve`] is called.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Opens the port of a `listen` setting, such as `127.0.0.1:9810`; port 0 takes any free one.
    pub fn bind(listen: &str) -> Result<Listener, AdminError> {
        let failed = |source: io::Error| AdminError::Bind { listen: listen.to_owned(), source };
        let addresses: Vec<SocketAddr> = listen.to_socket_addrs().map_err(failed)?.collect();
        let socket = TcpListener::bind(addresses.as_slice()).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Listener { socket, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// TLS and users of the admin server, read again when their files change.
#[derive(Debug, Default)]
pub struct Web {
    path: Option<PathBuf>,
    auth: Option<Auth>,
    tls: Option<RustlsConfig>,
    /// The files and when they were changed.
    seen: Vec<(PathBuf, Option<SystemTime>)>,
}

impl Web {
    /// Reads `web_config_file`, or is plain HTTP for everybody without one.
    pub fn load(path: Option<&Path>) -> Result<Web, AdminError> {
        let Some(path) = path else { return Ok(Web::default()) };
        let config = WebConfig::read(path)?;
        let tls = config.tls.as_ref().map(|tls| tls.server_config(path)).transpose()?.map(RustlsConfig::from_config);
        let auth = (!config.users.is_empty()).then(|| Auth::new(config.users.clone()));
        Ok(Web { path: Some(path.to_owned()), auth, tls, seen: changes(path, &config) })
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Takes over changed certificates and users. Whether there is TLS, and whether there are users at all, is fixed at start.
    fn reload_if_changed(&mut self) -> Result<bool, AdminError> {
        let Some(path) = self.path.clone() else { return Ok(false) };
        let config = WebConfig::read(&path)?;
        let seen = changes(&path, &config);
        if seen == self.seen {
            return Ok(false);
        }
        self.seen = seen;
        match (&self.tls, &config.tls) {
            (Some(current), Some(new)) => current.reload_from_config(new.server_config(&path)?),
            (None, None) => {}
            _ => return Err(AdminError::NeedsRestart("TLS")),
        }
        match &self.auth {
            Some(auth) if !config.users.is_empty() => auth.replace(config.users),
            None if config.users.is_empty() => {}
            _ => return Err(AdminError::NeedsRestart("basic_auth_users")),
        }
        Ok(true)
    }
}

fn changes(path: &Path, config: &WebConfig) -> Vec<(PathBuf, Option<SystemTime>)> {
    let files = std::iter::once(path.to_owned()).chain(config.tls.iter().flat_map(tls::Tls::files));
    files.map(|file| (file.clone(), std::fs::metadata(&file).and_then(|meta| meta.modified()).ok())).collect()
}

/// Answers requests until the end is asked for, then finishes those it has.
pub async fn serve(listener: Listener, router: Router, web: Web, shutdown: Shutdown) -> Result<(), AdminError> {
    let router = match &web.auth {
        Some(auth) => router.layer(middleware::from_fn_with_state(auth.clone(), auth::require)),
        None => router,
    };
    let handle = Handle::new();
    let stop = tokio::spawn({
        let handle = handle.clone();
        async move {
            shutdown.finishing().await;
            handle.graceful_shutdown(Some(DRAIN));
        }
    });
    tracing::info!(url = format!("{}://{}/", web.scheme(), listener.address), "listening");
    let tls = web.tls.clone();
    let reload = tokio::spawn(keep_fresh(web));
    let service = router.into_make_service();
    let result = match tls {
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener.socket, tls).map_err(AdminError::Serve)?.http1_only();
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            server.handle(handle).serve(service).await
        }
        None => {
            let mut server = axum_server::from_tcp(listener.socket).map_err(AdminError::Serve)?.http1_only();
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            server.handle(handle).serve(service).await
        }
    };
    stop.abort();
    reload.abort();
    result.map_err(AdminError::Serve)
}

/// Looks at the files now and then. A mistake in them is logged once and leaves what is in force.
async fn keep_fresh(mut web: Web) {
    let mut complained = String::new();
    while web.path.is_some() {
        tokio::time::sleep(RELOAD_INTERVAL).await;
        let complaint = match web.reload_if_changed() {
            Ok(changed) => {
                if changed {
                    tracing::info!("web configuration read again");
                }
                String::new()
            }
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        };
        if !complaint.is_empty() && complaint != complained {
            tracing::warn!(reason = complaint, "web configuration not read again: the old one stays in force");
        }
        complained = complaint;
    }
}

/// Why the admin server cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port cannot be opened.
    #[error("{}", describe_bind(listen, source))]
    Bind {
        /// The setting.
        listen: String,
        /// Why not; told in the message.
        source: io::Error,
    },
    /// The web configuration is wrong.
    #[error(transparent)]
    WebConfig(#[from] WebConfigError),
    /// A change that a running process does not take over.
    #[error("{0} was switched on or off in the web configuration, which needs a restart")]
    NeedsRestart(&'static str),
    /// The server stopped.
    #[error("the admin server failed")]
    Serve(#[source] io::Error),
}

impl AdminError {
    /// How a process that meets this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            AdminError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => Exit::Unavailable,
            AdminError::Serve(_) => Exit::Failed,
            _ => Exit::Configuration,
        }
    }
}

fn describe_bind(listen: &str, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!("cannot listen on {listen}, the port is in use: stop what uses it, or choose another address"),
        io::ErrorKind::PermissionDenied => {
            format!("cannot listen on {listen}, this user may not open that port: choose one above 1023")
        }
        _ => format!("cannot listen on {listen}: is it an address of this host?"),
    }
}

#[cfg(test)]
mod tests;
