//! What a command found when it looked at configuration and database, for people and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Exit;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something is missing or dear; the work goes on without it.
    Warning,
    /// The work cannot be done.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Under which heading it stands.
    pub subject: &'static str,
    /// One sentence.
    pub message: String,
    /// A statement or setting, ready to be copied, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// What the work that it stands in the way of would end with.
    #[serde(rename = "exit_code", skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

impl Finding {
    /// A finding that nothing mends.
    pub fn new(level: Level, subject: &'static str, message: impl Into<String>) -> Self {
        Finding { level, subject, message: message.into(), mend: None, exit: None }
    }

    /// An error because of which the work ends with `exit` before it begins.
    pub fn refusal(exit: Exit, subject: &'static str, message: impl Into<String>) -> Self {
        Finding { exit: Some(exit), ..Finding::new(Level::Error, subject, message) }
    }

    /// The same with what mends it.
    #[must_use]
    pub fn mended_by(mut self, mend: impl Into<Option<String>>) -> Self {
        self.mend = mend.into();
        self
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they were looked at.
    pub findings: Vec<Finding>,
    /// The database is not a Dify that can be read.
    pub not_dify: bool,
}

impl Report {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds that the database is not one that can be worked with, and what would mend that.
    pub fn not_dify(&mut self, message: String, mend: Option<String>) {
        self.not_dify = true;
        self.add(Finding::refusal(Exit::NotDify, "Dify", message).mended_by(mend));
    }

    /// The first finding that stands in the way of the work.
    pub fn refusal(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.exit.is_some())
    }

    /// What the process ends with: what the work that was looked at would end with.
    pub fn exit(&self) -> Exit {
        self.refusal().and_then(|finding| finding.exit).unwrap_or(Exit::Done)
    }

    /// Writes it for people: headings, sentences, and statements indented below them.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut heading = "";
        for finding in &self.findings {
            if finding.subject != heading {
                heading = finding.subject;
                writeln!(out, "{heading}")?;
            }
            let sign = match finding.level {
                Level::Ok => "ok     ",
                Level::Note => "note   ",
                Level::Warning => "WARNING",
                Level::Error => "ERROR  ",
            };
            writeln!(out, "  {sign} {}", finding.message)?;
            for line in finding.mend.iter().flat_map(|mend| mend.lines()) {
                writeln!(out, "          {line}")?;
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        writeln!(out, "{} errors, {} warnings, {} notes", count(Level::Error), count(Level::Warning), count(Level::Note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_headings_sentences_and_statements() {
        let mut report = Report::default();
        report.add(Finding::new(Level::Ok, "server", "PostgreSQL 15"));
        report.add(Finding::new(Level::Warning, "rights", "missing").mended_by("GRANT x;\nGRANT y;".to_owned()));
        let mut out = Vec::new();
        report.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "server\n  ok      PostgreSQL 15\nrights\n  WARNING missing\n          GRANT x;\n          GRANT y;\n0 errors, 1 warnings, 0 notes\n"
        );
        assert_eq!(report.exit(), Exit::Done);
        report.add(Finding::refusal(Exit::Unavailable, "server", "gone"));
        report.not_dify("no tables".to_owned(), None);
        assert_eq!((report.exit(), report.not_dify), (Exit::Unavailable, true));
        let json = serde_json::to_value(&report.findings[2]).unwrap();
        assert_eq!(json, serde_json::json!({ "level": "error", "subject": "server", "message": "gone", "exit_code": 69 }));
    }
}
