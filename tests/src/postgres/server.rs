//! One PostgreSQL server process with a data folder of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::programs;
use crate::children::{Guard, RunAs, free_port, run, signal};

/// Prefix of the temporary folders; the process id follows.
const FOLDER_PREFIX: &str = "dify-observe-pg-";

/// Nothing in a test cluster has to survive a crash of the machine. It does survive a kill of the server: commits are written
/// out, only not forced to the disk.
const SETTINGS: &str = "fsync = off
full_page_writes = off
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = '64MB'
max_wal_senders = 10
wal_level = replica
hot_standby = on
log_line_prefix = '%m [%p] %a %d '
log_lock_waits = on
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track_utility = off
pg_stat_statements.max = 20000
timezone = 'UTC'
log_timezone = 'UTC'
";

/// How `stop` ends the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are ended, a checkpoint is written.
    Fast,
    /// As a crash: recovery at the next start.
    Immediate,
}

/// A server process, its data and its log; gone when dropped, and when this process dies.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    run_as: RunAs,
    port: u16,
    // Before `folder`: the guard stops the server that still uses it.
    _guard: Guard,
    folder: TempDir,
}

impl Server {
    /// Makes a new cluster with `settings` (lines of postgresql.conf) on top of the usual ones, and starts it.
    pub(crate) fn create(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut server = Self::prepare()?;
        let data = server.data();
        run(server.command("initdb")?.arg("-D").arg(&data).args("-U postgres -A trust -E UTF8 --no-locale --no-sync".split(' ')))
            .context("failed to create a cluster")?;
        let mut text = SETTINGS.to_owned();
        for (name, value) in settings {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        server.append_settings(&text)?;
        server.start_on_free_port()?;
        Ok(server)
    }

    /// A folder, a guard, and nothing in it.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        sweep_stale();
        let programs = programs::folder()?;
        let run_as = RunAs::unprivileged()?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("{FOLDER_PREFIX}{}-", std::process::id()))
            .tempdir()
            .context("failed to make a temporary folder for PostgreSQL")?;
        run_as.give(folder.path())?;
        let guard = Guard::new(CLEAN_UP, &[folder.path().as_os_str()])?;
        Ok(Self { programs, run_as, port: 0, _guard: guard, folder })
    }

    pub(crate) fn append_settings(&self, text: &str) -> anyhow::Result<()> {
        use std::io::Write as _;
        let path = self.data().join("postgresql.conf");
        let mut file =
            std::fs::OpenOptions::new().append(true).open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        file.write_all(text.as_bytes()).with_context(|| format!("failed to write {}", path.display()))
    }

    pub(crate) fn start_on_free_port(&mut self) -> anyhow::Result<()> {
        let mut last = None;
        // Another process may take the port between our look and the server's bind.
        for _ in 0..5 {
            self.port = free_port()?;
            match self.start() {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    pub(crate) fn command(&self, program: &str) -> anyhow::Result<std::process::Command> {
        let path = self.programs.join(program);
        if !path.is_file() {
            bail!("there is no {program} in {}", self.programs.display());
        }
        Ok(self.run_as.command(&path, self.folder.path()))
    }

    /// Starts the server on the port that it had before and waits until it answers.
    pub fn start(&self) -> anyhow::Result<()> {
        let options = format!("-p {}", self.port);
        let mut command = self.pg_ctl()?;
        command.args(["-w", "-t", "60", "-s", "-l"]).arg(self.log_path()).args(["-o", &options, "start"]);
        // pg_ctl hands its output on to the server, so it must not be a pipe of ours.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let status = command.status().context("failed to start pg_ctl")?;
        if !status.success() {
            bail!("PostgreSQL did not start on port {}; the end of its log:\n{}", self.port, self.log_tail());
        }
        Ok(())
    }

    /// Stops the server and waits for its end.
    pub fn stop(&self, mode: StopMode) -> anyhow::Result<()> {
        let mode = match mode {
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        };
        run(self.pg_ctl()?.args(["-w", "-s", "-m", mode, "stop"])).map(drop)
    }

    /// Stops and starts the server.
    pub fn restart(&self, mode: StopMode) -> anyhow::Result<()> {
        self.stop(mode)?;
        self.start()
    }

    /// SIGKILL to the server process, and a wait until its backends have gone too.
    pub fn kill(&self) -> anyhow::Result<()> {
        let postmaster = self.pid()?;
        let mut processes = children_of(postmaster);
        processes.push(postmaster);
        signal(postmaster, "KILL")?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while processes.iter().any(|pid| is_running(*pid)) {
            if Instant::now() > deadline {
                bail!("processes of the killed server are still running");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Where nobody reaps orphans the process id stays taken, and the next start would believe the file.
        let _ = std::fs::remove_file(self.data().join("postmaster.pid"));
        Ok(())
    }

    /// Promotes a standby and waits until it takes writes.
    pub fn promote(&self) -> anyhow::Result<()> {
        run(self.pg_ctl()?.args(["-w", "-s", "promote"])).map(drop)
    }

    /// The URL of one of its databases, as superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).context("the server is not running")?;
        text.lines().next().and_then(|line| line.trim().parse().ok()).context("postmaster.pid holds no process id")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server's log file.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn pg_ctl(&self) -> anyhow::Result<std::process::Command> {
        let mut command = self.command("pg_ctl")?;
        command.arg("-D").arg(self.data());
        Ok(command)
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| process_stat(*pid).is_some_and(|(_, its_parent)| its_parent == parent))
        .collect()
}

fn is_running(pid: u32) -> bool {
    process_stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// State and parent of a process.
fn process_stat(pid: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold spaces and parentheses.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// What a guard does with the folder of a server: the postmaster is told to quit at once, then the folder goes.
const CLEAN_UP: &str = r#"pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1""#;

/// Removes what a guard could not: it, too, may have been killed.
fn sweep_stale() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        if owner_of(&entry.file_name()).is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Dropping the guard at once runs the clean-up. A folder that belongs to someone else stays.
            drop(Guard::new(CLEAN_UP, &[entry.path().as_os_str()]));
        }
    }
}

fn owner_of(folder: &std::ffi::OsStr) -> Option<u32> {
    folder.to_str()?.strip_prefix(FOLDER_PREFIX)?.split('-').next()?.parse().ok()
}
