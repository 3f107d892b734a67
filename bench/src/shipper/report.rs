//! The results as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::Options;
use super::contender::Measured;
use crate::data::Size;
use crate::machine;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    /// The server's words, and the day.
    pub(crate) server: (String, String),
    pub(crate) size: Size,
    pub(crate) rounds: Vec<Vec<Measured>>,
    pub(crate) load_before: f64,
    pub(crate) took: Duration,
}

impl Report<'_> {
    /// The file.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let (server, day) = &self.server;
        let rows: Vec<String> = self.size.rows.iter().map(|(table, rows)| format!("{rows:.0} {table}")).collect();
        // Writing into memory cannot fail.
        let _ = write!(
            text,
            "# dify-shipper: measured\n\n{day}, {}, {server}. Load before: {:.2}. Took {:.0} s. Made by `make bench BENCH=shipper`.\n\n\
             Dify {}: {} ({:.0} MB). Every node execution of a run, with inputs, process data and outputs in full; the middle one of {} rounds.\n\n\
             | | documents | seconds | documents/s | MB/s | CPU s per million | memory (MB) | documents/s of COPY's |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n",
            machine::describe(),
            self.load_before,
            self.took.as_secs_f64(),
            self.size.schema,
            rows.join(", "),
            self.size.bytes / 1e6,
            self.rounds.len(),
        );
        let middle: Vec<Measured> = (0..self.rounds.first().map_or(0, Vec::len)).map(|place| self.middle(place)).collect();
        let copy = middle.first().map_or(f64::NAN, Measured::per_second);
        for measured in &middle {
            text.push_str(&line(measured, copy));
        }
        let _ = write!(
            text,
            "\nWhat the figures mean: documents/s and MB/s are of the whole run, from the start of the process with no position to its end; MB are \
             those of the bulk requests, or of COPY's text. CPU is of the process itself, without PostgreSQL and the engine. COPY makes no \
             documents: it reads the same columns and is the least that reading them can take. The script reads each row once, redacts nothing, \
             keeps no position, and sends the columns as they are. Bulk requests are not compressed. Seed {}.\n",
            self.options.seed
        );
        text
    }

    /// The round whose time is in the middle.
    fn middle(&self, place: usize) -> Measured {
        let mut rounds: Vec<&Measured> = self.rounds.iter().map(|round| &round[place]).collect();
        rounds.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        rounds[(rounds.len() - 1) / 2].clone()
    }
}

fn line(measured: &Measured, copy: f64) -> String {
    let Measured { name, documents, bytes, seconds, cpu, memory } = measured;
    let number = |value: Option<f64>, digits: usize| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"));
    format!(
        "| {name} | {documents} | {seconds:.1} | {:.0} | {} | {} | {} | {:.2} |\n",
        measured.per_second(),
        number(bytes.map(|bytes| bytes as f64 / seconds / 1e6), 1),
        number(cpu.map(|cpu| cpu / (*documents as f64).max(1.0) * 1e6), 0),
        number(memory.map(|memory| memory as f64 / 1e6), 0),
        measured.per_second() / copy,
    )
}
