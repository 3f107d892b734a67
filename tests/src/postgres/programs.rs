//! Where PostgreSQL's programs are.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// The folder with `initdb`, `pg_ctl` and `postgres`: `PG_BIN`, else Debian's folder of the newest major version, else PATH.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("PG_BIN").map(PathBuf::from) {
        if is_server_folder(&folder) {
            return Ok(folder);
        }
        bail!("PG_BIN is {}, where there is no initdb", folder.display());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(found) = debian_folders().into_iter().chain(std::env::split_paths(&path)).find(|folder| is_server_folder(folder)) else {
        bail!("no PostgreSQL server is installed: run `make setup`, install the package postgresql, or set TEST_DATABASE_URL or PG_BIN");
    };
    Ok(found)
}

fn is_server_folder(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).is_file())
}

fn debian_folders() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let mut majors: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors.into_iter().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))).collect()
}
