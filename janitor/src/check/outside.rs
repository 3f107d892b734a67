//! What a run needs beside the database: the archive, those whom it waits for, and those who take its metrics.

use std::path::Path;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::Exit;
use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::{JanitorSettings, Settings};

use crate::archive::Archive;
use crate::guard::Guard;

pub(super) async fn look(settings: &Settings, report: &mut Report) {
    archive(settings, report).await;
    guard(&settings.janitor, report).await;
    if let Some(path) = &settings.janitor.metrics_textfile {
        report.findings.extend(textfile(path));
    }
}

/// A small object is written, read back and removed.
async fn archive(settings: &Settings, report: &mut Report) {
    let url = &settings.janitor.archive.url;
    let proved = match Archive::open(&settings.janitor.archive, &settings.state_dir) {
        Ok(archive) => archive.prove_writable().await,
        Err(error) => Err(error),
    };
    report.add(match proved {
        Ok(()) => Finding::new(Level::Ok, "archive", format!("{url} can be written and read")),
        Err(error) => Finding::refusal(error.exit(), "archive", error.to_string()),
    });
}

/// Everybody whom a run waits for must have answered lately.
async fn guard(janitor: &JanitorSettings, report: &mut Report) {
    if janitor.wait_for.is_empty() {
        return;
    }
    let mut guard = match Guard::new(janitor) {
        Ok(guard) => guard,
        Err(error) => return report.add(Finding::refusal(Exit::of(&error), "guard", format!("{error:#}"))),
    };
    report.add(match guard.covered(Micros::now()).await {
        Ok(covered) => {
            let message = format!("everybody of janitor.wait_for has taken in what is older than {}", covered.until());
            Finding::new(Level::Ok, "guard", message)
        }
        Err(error) => Finding::refusal(Exit::TryLater, "guard", error.to_string()),
    });
}

/// A run writes beside the file first, so it is the folder that matters.
fn textfile(path: &Path) -> Option<Finding> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return None;
    }
    let message = format!("janitor.metrics_textfile is in {}, which is not there: nobody will see the metrics", folder.display());
    Some(Finding::new(Level::Warning, "metrics", message))
}
