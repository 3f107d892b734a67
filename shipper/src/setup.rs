//! `setup`: everything that an engine must hold before documents are sent to it.
//!
//! Each object carries, in `_meta` (a policy of OpenSearch in its description), a fingerprint of what it was made from. So what is there is
//! compared by one word, whatever an engine makes of the rest, and `setup` can be repeated at any time.

mod apply;
mod lifecycle;
mod object;
#[cfg(test)]
mod published;
mod report;
mod templates;

use std::sync::Arc;

use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::settings::{ShipperSettings, SinkSettings, SinkType};

use crate::cli::SetupArgs;
use crate::elasticsearch::client::Client;
use crate::elasticsearch::server::{self, NoServer};
pub use report::{Report, Step};

/// Prepares the engines of the configuration and says what it did.
pub async fn run(context: Context, args: SetupArgs) -> anyhow::Result<Exit> {
    let shipper = &context.settings.shipper;
    let sinks = chosen(shipper, &args.sinks)?;
    let mut out = std::io::stdout();
    for (name, sink) in sinks {
        let report = prepare(name, sink, shipper, args.dry_run).await?;
        report.print(name, args.dry_run, &mut out)?;
    }
    Ok(Exit::Done)
}

/// Creates what is missing in the engine of one sink and updates what differs; with `dry_run` only says what it would send.
pub async fn prepare(name: &str, sink: &SinkSettings, shipper: &ShipperSettings, dry_run: bool) -> anyhow::Result<Report> {
    let client = Client::new(sink).map_err(|problem| anyhow::anyhow!("the sink {name} {problem}")).or_exit(Exit::Configuration)?;
    let server = match server::recognise(&client).await {
        Ok(server) => server,
        Err(NoServer::Setback(setback)) => return Err(anyhow::anyhow!("the sink {name}: {}", setback.sentence)).or_exit(Exit::Unavailable),
        Err(NoServer::Unfit(problem)) => return Err(anyhow::anyhow!("the sink {name}: {problem}")).or_exit(Exit::Configuration),
    };
    apply::Setup { client: Arc::new(client), server, sink, shipper, now: Micros::now(), dry_run }.run().await
}

fn chosen<'a>(shipper: &'a ShipperSettings, names: &[String]) -> anyhow::Result<Vec<(&'a String, &'a SinkSettings)>> {
    let is_engine = |sink: &SinkSettings| sink.r#type == SinkType::Elasticsearch;
    for name in names {
        if !shipper.sinks.get(name).is_some_and(is_engine) {
            return Err(anyhow::anyhow!("there is no sink of type elasticsearch with the name {name}")).or_exit(Exit::Configuration);
        }
    }
    let wanted = |name: &String| names.is_empty() || names.contains(name);
    let sinks: Vec<_> = shipper.sinks.iter().filter(|(name, sink)| is_engine(sink) && wanted(name)).collect();
    if sinks.is_empty() {
        let problem = "there is no sink of type elasticsearch to prepare: add one, such as [shipper.sinks.search] with type = \"elasticsearch\" and a url";
        return Err(anyhow::anyhow!(problem)).or_exit(Exit::Configuration);
    }
    Ok(sinks)
}
