//! Room for the archive.

use std::path::{Path, PathBuf};

use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};

/// Less than this is not enough for the next batch and what else lives on the disk.
const LEAST: u64 = 256 << 20;
/// Less than this is worth a word.
const LITTLE: u64 = 2 << 30;

/// How much room there is where the archive is a folder.
pub(super) fn look(url: &str, report: &mut Report) {
    let Some(folder) = url.strip_prefix("file://").map(Path::new) else { return };
    // A folder that cannot be used at all is the archive's own to say.
    if let Ok(free) = fs4::available_space(existing(folder)) {
        report.findings.extend(judge(folder, free));
    }
}

/// The folder may only be made later; its disk is that of the one above.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn judge(folder: &Path, free: u64) -> Option<Finding> {
    let shown = free >> 20;
    let place = folder.display();
    if free < LEAST {
        let message = format!(
            "only {shown} MiB are free for the archive in {place}: nothing is deleted that cannot be archived; make room, or let \
             janitor.archive.url name another disk or s3://bucket/prefix"
        );
        return Some(Finding::refusal(Exit::Unavailable, "archive", message));
    }
    (free < LITTLE).then(|| Finding::new(Level::Warning, "archive", format!("only {shown} MiB are free for the archive in {place}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_refuses_and_little_room_warns() {
        let at = |free| judge(Path::new("/archive"), free);
        assert_eq!(at(0).unwrap().exit, Some(Exit::Unavailable));
        assert_eq!(at(LEAST).unwrap().exit, None);
        assert_eq!(at(LITTLE), None);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_the_disk_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        let mut report = Report::default();
        look("s3://bucket", &mut report);
        assert!(report.findings.is_empty());
    }
}
