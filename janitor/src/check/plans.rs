//! What the configuration means, in words: what goes, when, how fast, and where it is kept.

use dify_observe_core::finding::{Finding, Level, Report};
use dify_observe_core::settings::Settings;
use humantime::format_duration;

pub(super) fn look(settings: &Settings, report: &mut Report) {
    let janitor = &settings.janitor;
    let note = |message: String| Finding::new(Level::Ok, "configuration", message);
    let policies = janitor.policies.0.len();
    report.add(note(format!(
        "what is older than {} goes, {}; runs that say `running` and did not change, after {}; paused ones never",
        format_duration(janitor.age),
        if policies == 0 { "for all apps alike".to_owned() } else { format!("{policies} policies say otherwise for some") },
        format_duration(janitor.stale_after)
    )));
    let pace = if janitor.pace == 0 {
        let message = "janitor.pace = 0: rows are deleted as fast as the database can, which Dify's users notice";
        report.add(Finding::new(Level::Warning, "configuration", message).mended_by("janitor.pace = 5000".to_owned()));
        "without a pause".to_owned()
    } else {
        format!("at most {} rows a second", janitor.pace)
    };
    let window = janitor.window.map_or_else(|| "at any time".to_owned(), |window| format!("{window} in {}", janitor.time_zone));
    let budget = janitor.time_budget.map_or_else(|| "until it is done".to_owned(), |budget| format!("for {}", format_duration(budget)));
    report.add(note(format!("a run deletes {window}, {budget}, {pace}")));
    if janitor.archive.url == "none" {
        let message = "janitor.archive.url = \"none\": rows are deleted without being kept, and nothing can be restored";
        report.add(Finding::new(Level::Warning, "configuration", message));
    }
    if janitor.wait_for.is_empty() {
        let message = "janitor.wait_for names nobody: rows may go before an exporter or a shipper has read them";
        report.add(
            Finding::new(Level::Note, "configuration", message).mended_by("janitor.wait_for = [\"http://127.0.0.1:9810\"]".to_owned()),
        );
    }
    if let Some(file) = janitor.pause_file.as_ref().filter(|file| file.exists()) {
        let message = format!("{} exists: nothing is deleted while it does", file.display());
        report.add(Finding::new(Level::Warning, "configuration", message));
    }
}
