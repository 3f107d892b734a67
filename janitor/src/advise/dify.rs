//! Settings of Dify that work against an archive.

use super::{Advice, Facts, Topic};
use crate::refuse::cleaners::{SWITCHES, on_by_default};

impl Facts<'_> {
    pub(super) fn about_dify(&self) -> Option<Advice> {
        let seen = self.cleaners.iter().map(|cleaner| {
            format!(
                "pg_stat_statements remembers {} of their statements, which deleted {} rows of {}",
                cleaner.calls, cleaner.rows, cleaner.table
            )
        });
        let release =
            on_by_default(self.schema).map(|release| format!("in Dify {release} WORKFLOW_LOG_CLEANUP_ENABLED is on where it is not set"));
        let why: Vec<String> = seen.chain(release).collect();
        if why.is_empty() {
            return None;
        }
        Some(Advice {
            topic: Topic::Dify,
            table: None,
            advice: "see to it that Dify's own cleaners are off".to_owned(),
            why: format!("{}; they delete without an archive, and leave orphans", why.join("; ")),
            price: "a restart of Dify's worker and beat".to_owned(),
            statements: SWITCHES.map(|(switch, _)| format!("{switch}=false")).to_vec(),
        })
    }
}
