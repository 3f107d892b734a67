//! `dify-janitor restore`: what the archive holds, and the way back.

mod list;
mod outcome;
mod work;

use std::collections::HashSet;
use std::io::Write as _;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::{Exit, WithExit};
use dify_observe_core::state_dir::StateDir;

use crate::archive::{Archive, ArchiveError, Filter, Manifest};
use crate::cli::{RestoreArgs, TextFormat};
use crate::engine::Halt;
use crate::run::NAME;

/// A batch, and the positions of those of its bundles that are meant.
type Found = (Manifest, Vec<usize>);

/// Lists, says what would be put back, or puts back.
pub async fn run(context: Context, args: RestoreArgs) -> anyhow::Result<Exit> {
    let state_dir = if args.execute { Some(StateDir::open(&context.settings.state_dir, NAME)?) } else { None };
    let folder = state_dir.as_ref().map_or_else(|| context.settings.state_dir.join(NAME), |state_dir| state_dir.path().to_owned());
    let archive = Archive::open(&context.settings.janitor.archive, &folder).map_err(archive_error)?;
    if !archive.keeps_rows() {
        let sentence = "janitor.archive.url is \"none\": rows were deleted without an archive, and nothing can be put back";
        return Err(WithExit::new(Exit::Configuration, anyhow::anyhow!(sentence)).into());
    }
    let found = find(&archive, &args).await.map_err(archive_error)?;
    let mut out = std::io::stdout().lock();
    if args.list {
        match args.format {
            TextFormat::Text => list::write_text(&found, &mut out)?,
            TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&list::batches(&found))?)?,
        }
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        anyhow::bail!("the archive holds nothing that fits: `dify-janitor restore --list` says what it holds");
    }
    let outcome = match &state_dir {
        Some(state_dir) => work::execute(&context, &archive, state_dir, &found, args.overwrite).await,
        None => work::look(&context, &found).await,
    };
    let outcome = outcome.map_err(Halt::into_error)?;
    match args.format {
        TextFormat::Text => outcome.write_text(&mut out)?,
        TextFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&outcome)?)?,
    }
    Ok(outcome.exit())
}

fn archive_error(error: ArchiveError) -> anyhow::Error {
    WithExit::new(error.exit(), error).into()
}

/// What the arguments mean, each bundle once: in the batch that has it in its newest version.
async fn find(archive: &Archive, args: &RestoreArgs) -> Result<Vec<Found>, ArchiveError> {
    let some = |ids: HashSet<_>| (!ids.is_empty()).then_some(ids);
    let filter = Filter {
        bundles: some(args.bundles.iter().chain(&args.conversations).copied().collect()),
        apps: some(args.apps.iter().copied().collect()),
        tenant: None,
        from: args.from,
        to: args.to,
    };
    let mut found = archive.find(&filter).await?;
    let mut seen = HashSet::new();
    for (manifest, positions) in found.iter_mut().rev() {
        positions.retain(|position| seen.insert(manifest.bundles[*position].id));
    }
    found.retain(|(_, positions)| !positions.is_empty());
    Ok(found)
}
