//! `replay`: dead letters are sent again, each to the index that it belongs into and with its version, so that a later state of the record
//! that was delivered meanwhile stays. What is rejected again is kept again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use dify_observe_core::bootstrap::Context;
use dify_observe_core::exit::{Exit, ResultExt as _, WithExit};
use dify_observe_core::settings::{ShipperSettings, SinkSettings, SinkType};

use crate::cli::ReplayArgs;
use crate::dead_letters::{DeadLetters, Letter};
use crate::elasticsearch::{ElasticsearchSink, Silent};
use crate::sink::Delivered;

/// Sends the dead letters of the chosen sinks again. The shipper may run meanwhile.
pub async fn run(context: Context, args: ReplayArgs) -> anyhow::Result<Exit> {
    let (shipper, state) = (&context.settings.shipper, context.settings.state_dir.join("shipper"));
    let mut out = std::io::stdout();
    let mut left = 0;
    for (name, sink) in chosen(shipper, &args.sinks)? {
        let letters = DeadLetters::open(&state, name, sink.dead_letter_bytes).or_exit(Exit::Unavailable)?;
        if args.dry_run {
            describe(name, &letters, &mut out)?;
            continue;
        }
        let delivered = replay(name, sink, shipper, &state).await?;
        writeln!(
            out,
            "{name}: {} delivered, {} there already, {} rejected again, {} past retention",
            delivered.written, delivered.known, delivered.rejected, delivered.expired
        )?;
        left += delivered.rejected;
    }
    Ok(if left > 0 { Exit::TryLater } else { Exit::Done })
}

/// Replays the dead letters of one sink.
pub async fn replay(name: &str, sink: &SinkSettings, shipper: &ShipperSettings, state: &Path) -> anyhow::Result<Delivered> {
    let failed = |error: crate::sink::SinkError| anyhow::Error::from(WithExit::new(error.exit, anyhow!(error.problem)));
    let mut sum = Delivered::default();
    let engine = ElasticsearchSink::new(name, sink, shipper, state, Arc::new(Silent)).map_err(failed)?;
    let letters = engine.dead_letters();
    if letters.count() == 0 {
        return Ok(sum);
    }
    engine.probe().await.map_err(failed)?;
    for file in letters.set_aside().context("failed to read the dead letters").or_exit(Exit::Unavailable)? {
        for batch in DeadLetters::read(&file, sink.bulk_documents.max(1) as usize)? {
            let delivered = engine.redeliver(batch?).await.map_err(|setback| anyhow!(setback.sentence)).or_exit(Exit::Unavailable)?;
            add(&mut sum, delivered);
        }
        letters.done(&file)?;
    }
    Ok(sum)
}

fn chosen<'a>(shipper: &'a ShipperSettings, names: &[String]) -> anyhow::Result<Vec<(&'a String, &'a SinkSettings)>> {
    let is_engine = |sink: &SinkSettings| sink.r#type == SinkType::Elasticsearch;
    if let Some(name) = names.iter().find(|name| !shipper.sinks.get(*name).is_some_and(is_engine)) {
        return Err(anyhow!("there is no sink of type elasticsearch with the name {name}: only those have dead letters"))
            .or_exit(Exit::Configuration);
    }
    let wanted = |name: &String| names.is_empty() || names.contains(name);
    Ok(shipper.sinks.iter().filter(|(name, sink)| is_engine(sink) && wanted(name)).collect())
}

fn describe(name: &str, letters: &DeadLetters, out: &mut impl Write) -> anyhow::Result<()> {
    let mut reasons: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    letters.for_each(|letter: &Letter| *reasons.entry((letter.kind.as_str(), letter.reason.clone())).or_default() += 1)?;
    writeln!(out, "{name}: {} dead letters in {}", letters.count(), letters.folder().display())?;
    for ((kind, reason), count) in reasons {
        writeln!(out, "  {count} {kind}: {reason}")?;
    }
    Ok(())
}

fn add(sum: &mut Delivered, more: Delivered) {
    sum.written += more.written;
    sum.known += more.known;
    sum.rejected += more.rejected;
    sum.expired += more.expired;
}
