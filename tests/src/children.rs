//! Processes that must not outlive us.
//!
//! Rust runs no destructor of a static and none at all after SIGKILL, so every server gets a guard: a small shell, in a process
//! group of its own, that waits for the end of its input and then cleans up. Its input ends when we let go of it or die.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// Runs a clean-up when dropped, and also when this process ends in any way.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// `script` is run by `sh` with `arguments` as `$1 $2 …`, as the same user as this process.
    pub(crate) fn new(script: &str, arguments: &[&OsStr]) -> anyhow::Result<Self> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("trap '' INT TERM HUP; cat >/dev/null; {script}"))
            .arg("guard")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .current_dir("/")
            .spawn()
            .context("failed to start a guard process")?;
        Ok(Self(child))
    }

    /// Ends the guard without its clean-up: what it watched is gone, and its process id may soon belong to another.
    pub(crate) fn disarm(mut self) {
        // It is waited for by the destructor.
        let _ = self.0.kill();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // The guard cleans up by itself; waiting only keeps the process table tidy.
        let _ = self.0.wait();
    }
}

/// A port of 127.0.0.1 that nobody listened on a moment ago. Someone may take it before its user does: retry on failure.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// Finds a program on PATH and in the folders where Debian keeps servers.
pub fn find_program(name: &str, package: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(PathBuf::from);
    let Some(found) = std::env::split_paths(&path).chain(debian).map(|folder| folder.join(name)).find(|file| file.is_file()) else {
        bail!("`{name}` is not installed: run `make setup`, or install the package {package}");
    };
    Ok(found)
}

/// The user that servers run as which refuse to be root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunAs {
    ids: Option<(u32, u32)>,
}

impl RunAs {
    /// Nobody else for a normal user; `postgres` or `nobody` when we are root.
    pub(crate) fn unprivileged() -> anyhow::Result<Self> {
        if effective_user()? != 0 {
            return Ok(Self { ids: None });
        }
        let users = std::fs::read_to_string("/etc/passwd").context("failed to read /etc/passwd")?;
        let ids = ["postgres", "nobody"].into_iter().find_map(|name| ids_of(&users, name));
        match ids {
            Some(ids) => Ok(Self { ids: Some(ids) }),
            None => bail!("servers cannot run as root and there is neither a user `postgres` nor `nobody`"),
        }
    }

    /// A command that runs as this user, in `folder` (a server must be able to enter its working folder).
    pub(crate) fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").env_remove("PGOPTIONS").env_remove("PGSERVICE");
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives a file or folder to this user.
    pub(crate) fn give(self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.ids {
            std::os::unix::fs::chown(path, Some(user), Some(group)).with_context(|| format!("failed to give {} away", path.display()))?;
        }
        Ok(())
    }

    /// Gives a folder and all that is in it to this user.
    pub(crate) fn give_all(self, folder: &Path) -> anyhow::Result<()> {
        self.give(folder)?;
        for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { self.give_all(&path)? } else { self.give(&path)? }
        }
        Ok(())
    }
}

/// The user that this process runs as.
pub(crate) fn effective_user() -> anyhow::Result<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(std::fs::metadata("/proc/self").context("failed to look at /proc/self")?.uid())
}

fn ids_of(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Runs a command to its end; its output is part of the error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("failed to start {}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        bail!("{} ended with {}: {} {}", command.get_program().display(), output.status, text(&output.stderr), text(&output.stdout));
    }
    Ok(text(&output.stdout))
}

/// Sends a signal by its name, for example `TERM`.
pub(crate) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    run(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string())).map(drop)
}
