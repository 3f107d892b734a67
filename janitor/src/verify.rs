//! `dify-janitor verify`: reads the archive back and compares it, bytes and values, with what was written. Needs no database and writes
//! nothing.

use std::io::{self, Write};

use bytesize::ByteSize;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::{Exit, WithExit};
use rand::seq::IndexedRandom as _;
use serde::Serialize;
use uuid::Uuid;

use crate::archive::{Archive, ArchiveError, DoneBatch, Filter, Manifest};
use crate::cli::{TextFormat, VerifyArgs};
use crate::progress::Progress;

/// Runs the command.
pub async fn run(context: Context, args: VerifyArgs) -> anyhow::Result<Exit> {
    let settings = &context.settings;
    let archive = Archive::open(&settings.janitor.archive, &settings.state_dir.join("janitor")).map_err(with_exit)?;
    if !archive.keeps_rows() {
        let text = "janitor.archive.url is \"none\": there is no archive that could be verified";
        return Err(WithExit::new(Exit::Configuration, anyhow::anyhow!(text)).into());
    }
    let report = verify(&archive, &args).await.map_err(with_exit)?;
    let mut out = io::stdout().lock();
    match args.format {
        TextFormat::Text => report.print(&mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    Ok(if report.damaged.is_empty() { Exit::Done } else { Exit::Failed })
}

fn with_exit(error: ArchiveError) -> anyhow::Error {
    WithExit::new(error.exit(), error).into()
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Batches of the archive that the options accept.
    pub batches: u64,
    /// Those that were read back.
    pub verified: u64,
    /// Their rows.
    pub rows: u64,
    /// The length of their objects.
    pub bytes: u64,
    /// Batches that are not what was written.
    pub damaged: Vec<Damaged>,
}

/// A batch that is not what was written.
#[derive(Debug, PartialEq, Serialize)]
pub struct Damaged {
    /// The batch.
    pub batch: Uuid,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads back what the options name: batches that are done, and those on their way, whose rows the database may still have. Fails where
/// the archive cannot be read at all; what is damaged is a part of the report.
pub async fn verify(archive: &Archive, args: &VerifyArgs) -> Result<Report, ArchiveError> {
    let apps = (!args.apps.is_empty()).then(|| args.apps.iter().copied().collect());
    let filter = Filter { apps, from: args.from, to: args.to, ..Filter::default() };
    let mut report = Report::default();
    let open: Vec<Manifest> = archive.unfinished().await?.into_iter().filter(|manifest| filter.accepts_any(&manifest.bundles)).collect();
    let done = archive.done_within(&filter).await?;
    report.batches = (open.len() + done.len()) as u64;

    let chosen: Vec<Chosen> = choose(open.into_iter().map(Chosen::Open).chain(done.into_iter().map(Chosen::Done)).collect(), args.sample);
    let progress = Progress::new(chosen.len() as u64, "batches");
    for batch in chosen {
        report.look(archive, batch).await?;
        progress.add(1);
    }
    Ok(report)
}

enum Chosen {
    Open(Manifest),
    Done(DoneBatch),
}

fn choose(batches: Vec<Chosen>, sample: Option<u32>) -> Vec<Chosen> {
    let Some(sample) = sample.map(|sample| sample as usize).filter(|sample| *sample < batches.len()) else { return batches };
    let positions: Vec<usize> = (0..batches.len()).collect();
    let chosen: std::collections::HashSet<usize> = positions.choose_multiple(&mut rand::rng(), sample).copied().collect();
    batches.into_iter().enumerate().filter(|(position, _)| chosen.contains(position)).map(|(_, batch)| batch).collect()
}

impl Report {
    async fn look(&mut self, archive: &Archive, batch: Chosen) -> Result<(), ArchiveError> {
        let (id, manifest) = match batch {
            Chosen::Open(manifest) => (manifest.head.id, Ok(Some(manifest))),
            Chosen::Done(batch) => (batch.id, archive.load(&batch).await),
        };
        let verified = match manifest {
            Ok(Some(manifest)) => archive.verify(&manifest).await.map(|()| Some(manifest)),
            // Gone since it was listed: rewritten by a run.
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match verified {
            Ok(Some(manifest)) => {
                self.verified += 1;
                self.rows += manifest.rows();
                self.bytes += manifest.bytes();
            }
            Ok(None) => {}
            Err(error) if error.is_damage() => self.damaged.push(Damaged { batch: id, problem: error.to_string() }),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for Damaged { batch, problem } in &self.damaged {
            writeln!(out, "batch {batch}: {problem}")?;
        }
        let Report { batches, verified, rows, damaged, .. } = self;
        let bytes = ByteSize(self.bytes);
        writeln!(out, "{verified} of {batches} batches were read back whole: {rows} rows in {bytes}; {} are damaged", damaged.len())
    }
}
