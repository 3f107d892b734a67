//! A TCP proxy that loses answers and cuts connections: a network between our processes and their servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A proxy on a port of its own; gone when dropped. It runs on the runtime that it was started on.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    answers_to_lose: AtomicU64,
    answers_lost: AtomicU64,
    cut: watch::Sender<bool>,
}

impl Proxy {
    /// Forwards to `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("failed to bind a proxy")?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            answers_to_lose: AtomicU64::new(0),
            answers_lost: AtomicU64::new(0),
            cut: watch::Sender::new(false),
        });
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next `count` answers are taken from the server and never reach the client, whose connection breaks instead.
    pub fn lose_answers(&self, count: u64) {
        self.shared.answers_to_lose.fetch_add(count, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    pub fn answers_lost(&self) -> u64 {
        self.shared.answers_lost.load(Ordering::SeqCst)
    }

    /// Breaks all connections, and every new one, until `mend`.
    pub fn cut(&self) {
        self.shared.cut.send_replace(true);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut cut = shared.cut.subscribe();
            tokio::select! {
                // Either end may break at any time; that is what a network does.
                _ = forward(client, &shared) => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}

async fn forward(client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let server = TcpStream::connect(&shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        done = tokio::io::copy(&mut from_client, &mut to_server) => done.map(drop),
        done = answer(from_server, to_client, shared) => done,
    }
}

async fn answer(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if take_one(&shared.answers_to_lose) {
            // The server must be able to finish its answer: it has to believe that it was heard.
            while matches!(tokio::time::timeout(Duration::from_millis(200), server.read(&mut buffer)).await, Ok(Ok(1..))) {}
            shared.answers_lost.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        client.write_all(&buffer[..length]).await?;
    }
}

fn take_one(counter: &AtomicU64) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
