//! A real PgBouncer in front of a server, pooling by transaction.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::children::{RunAs, find_program, free_port};
use crate::postgres::Server;
use crate::process::Process;

/// A running PgBouncer; gone when dropped, and when this process dies.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: u16,
}

impl PgBouncer {
    /// Starts PgBouncer in transaction mode for all databases of `server`, with `pool_size` server connections for each.
    pub fn start(server: &Server, pool_size: u32) -> anyhow::Result<Self> {
        Self::start_as(server, pool_size, "postgres")
    }

    /// As `start`, and whoever connects is `user` at the server.
    pub fn start_as(server: &Server, pool_size: u32, user: &str) -> anyhow::Result<Self> {
        let program = find_program("pgbouncer", "pgbouncer")?;
        let run_as = RunAs::unprivileged()?;
        let folder = tempfile::Builder::new().prefix("dify-observe-pgbouncer-").tempdir()?;
        run_as.give(folder.path())?;
        let port = free_port()?;
        let configuration = folder.path().join("pgbouncer.ini");
        std::fs::write(&configuration, ini(server.port(), port, pool_size, user))?;
        let process = Process::start(run_as.command(&program, folder.path()).arg(&configuration), folder)?;
        let mut bouncer = Self { process, port };
        bouncer.wait_until_it_listens()?;
        Ok(bouncer)
    }

    /// The URL of a database through PgBouncer. It refuses start-up parameters that it cannot track, `extra_float_digits` among
    /// them, as it does where nobody changed its configuration.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline || self.process.ended()?.is_some() {
                bail!("pgbouncer did not listen; it wrote:\n{}", self.process.stderr());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn ini(server: u16, port: u16, pool_size: u32, user: &str) -> String {
    // auth_type = any takes every user name and needs the one to use at the server.
    format!(
        "[databases]\n* = host=127.0.0.1 port={server} user={user}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
         default_pool_size = {pool_size}\nmax_client_conn = 200\n"
    )
}
