//! What `setup` did, for people.

use std::io::{self, Write};

use serde_json::Value;

use crate::elasticsearch::Server;

/// What became of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is as it should be.
    Unchanged(String),
    /// It was not there.
    Created(String),
    /// It was different.
    Updated(String),
    /// One sentence about what could not be done and does no harm.
    Note(String),
}

/// What became of all of them.
#[derive(Clone, Debug)]
pub struct Report {
    /// The server.
    pub server: Server,
    /// In the order in which it was done.
    pub steps: Vec<Step>,
    /// The requests that changed something, or would: method, path and body.
    pub requests: Vec<(&'static str, String, Value)>,
}

impl Report {
    pub(super) fn new(server: Server) -> Self {
        Report { server, steps: Vec::new(), requests: Vec::new() }
    }

    /// Whether everything was as it should be.
    pub fn is_unchanged(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn print(&self, sink: &str, dry_run: bool, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{sink}: {}", self.server)?;
        if dry_run {
            for (method, path, body) in &self.requests {
                writeln!(out, "{method} {path}\n{body:#}\n")?;
            }
        }
        let mut unchanged = 0;
        for step in &self.steps {
            match step {
                Step::Unchanged(_) => unchanged += 1,
                Step::Created(name) => writeln!(out, "  {} {name}", if dry_run { "would create" } else { "created" })?,
                Step::Updated(name) => writeln!(out, "  {} {name}", if dry_run { "would update" } else { "updated" })?,
                Step::Note(sentence) => writeln!(out, "  note: {sentence}")?,
            }
        }
        writeln!(out, "  {unchanged} of {} are as they should be", self.steps.iter().filter(|step| !matches!(step, Step::Note(_))).count())
    }
}
