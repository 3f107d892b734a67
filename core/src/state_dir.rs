//! The folder for what must survive a restart: one for each binary, and one process at a time in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt as _;

use crate::exit::Exit;

/// A folder that belongs to this process until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The kernel releases the lock when this is closed.
    _lock: File,
}

impl StateDir {
    /// Makes the subfolder `binary` of `base` (readable by its owner only), locks it, and proves that it can be written.
    pub fn open(base: &Path, binary: &str) -> Result<StateDir, StateDirError> {
        let path = base.join(binary);
        let unusable = |source| StateDirError::Unusable { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(unusable)?;
        let lock = lock(&path)?;
        prove_writable(&path).map_err(unusable)?;
        Ok(StateDir { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn lock(folder: &Path) -> Result<File, StateDirError> {
    let path = folder.join("lock");
    let unusable = |source| StateDirError::Unusable { path: folder.to_owned(), source };
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(unusable)?;
    if !file.try_lock_exclusive().map_err(unusable)? {
        let holder = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        return Err(StateDirError::InUse { path: folder.to_owned(), holder: Holder(holder) });
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
    Ok(file)
}

/// A folder can be read-only, or its disk full, while the lock file of an earlier process still opens.
fn prove_writable(folder: &Path) -> io::Result<()> {
    let probe = folder.join("probe");
    let mut file = File::create(&probe)?;
    file.write_all(b"probe\n")?;
    file.sync_all()?;
    drop(file);
    fs::remove_file(&probe)
}

/// The process that holds the lock, where it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Two processes would overwrite each other's state.
    #[error("the state folder {} is in use by {holder}: end that one, or set another state_dir", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who uses it.
        holder: Holder,
    },
    /// The folder cannot be made, read or written.
    #[error("the state folder {} cannot be written: make it writable for this user, or set another state_dir", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl StateDirError {
    /// How a process that meets this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            StateDirError::InUse { .. } => Exit::TryLater,
            StateDirError::Unusable { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::StaleNetworkFileHandle => Exit::Unavailable,
                _ => Exit::Configuration,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_folder_is_made_for_its_owner_only() {
        let base = tempfile::tempdir().unwrap();
        let state = StateDir::open(&base.path().join("deep"), "exporter").unwrap();
        assert_eq!(fs::metadata(state.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(state.file("state"), base.path().join("deep/exporter/state"));
        assert!(!state.file("probe").exists());
    }

    #[test]
    fn a_second_opener_is_told_who_is_there_until_the_first_is_gone() {
        let base = tempfile::tempdir().unwrap();
        let first = StateDir::open(base.path(), "exporter").unwrap();
        let error = StateDir::open(base.path(), "exporter").unwrap_err();
        assert_eq!(error.exit(), Exit::TryLater);
        assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        assert!(StateDir::open(base.path(), "exporter").is_ok());
    }

    #[test]
    fn binaries_do_not_share() {
        let base = tempfile::tempdir().unwrap();
        let _exporter = StateDir::open(base.path(), "exporter").unwrap();
        assert!(StateDir::open(base.path(), "shipper").is_ok());
    }

    #[test]
    fn a_file_in_its_place_is_a_configuration_mistake() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("exporter"), "").unwrap();
        let error = StateDir::open(base.path(), "exporter").unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration);
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
}
