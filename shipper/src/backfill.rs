//! `dify-shipper backfill`: records created in a time range, whatever `run` has shipped.
//!
//! The same documents under the same ids as those of `run`, so an overlap makes no duplicates in a search engine; files of an ndjson sink get
//! a stream of their own. Time is cut into slices; when one is delivered, its end is made durable, and a backfill that was ended goes on
//! there: each sink keeps a position for each range. That of `run` is neither read nor written.

mod job;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use dify_observe_core::bootstrap::Context;
use dify_observe_core::dify::follow::{Detail, Event, FeedbackAction, FollowError, Follower, History, HistoryRange, Start};
use dify_observe_core::dify::session::DatabaseError;
use dify_observe_core::dify::statistics::{self, Subject};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::exit::{Exit, ResultExt as _};
use dify_observe_core::settings::{SinkSettings, SinkType};
use tokio::sync::mpsc;

use crate::cli::BackfillArgs;
use crate::filter::Filter;
use crate::pipeline::{Batches, Feeder, Item, Maker, Sender, Shared, exit_of};
use crate::progress::Progress;
use crate::run;
use crate::sink::{Checkpoint, SinkError};
use crate::sinks;

use job::Job;

/// A statement may take long here: nobody waits.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// A slice of time; where nothing happened, many are one.
const SLICE: Duration = Duration::from_secs(3600);
/// How often a page is tried while the database is away, and how long it is waited in between.
const TRIES: (u32, Duration) = (12, Duration::from_secs(5));

/// Ships the range to one sink after another.
pub async fn run(context: Context, args: BackfillArgs) -> anyhow::Result<Exit> {
    let settings = context.settings;
    let chosen = chosen(settings.shipper.sinks(), &args.sinks)?;
    let range = Range::of(&args)?;
    for (name, sink) in &chosen {
        range.is_kept(name, sink)?;
    }
    let state = settings.state_dir.join(run::STATE);
    let shared = Arc::new(run::share(settings, &chosen, &state)?);
    for (name, sink) in chosen {
        one(&shared, &name, &sink, range).await?;
    }
    shared.reads.database.close().await;
    Ok(Exit::Done)
}

type Sinks = std::collections::BTreeMap<String, SinkSettings>;

/// The sinks that were named, or all.
pub(crate) fn chosen(mut sinks: Sinks, named: &[String]) -> anyhow::Result<Sinks> {
    if let Some(unknown) = named.iter().find(|name| !sinks.contains_key(*name)) {
        let known: Vec<&str> = sinks.keys().map(String::as_str).collect();
        return Err(anyhow::anyhow!("there is no sink {unknown:?} in the configuration: there are {}", known.join(", ")))
            .or_exit(Exit::Usage);
    }
    if !named.is_empty() {
        sinks.retain(|name, _| named.contains(name));
    }
    Ok(sinks)
}

/// Which records.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: Micros,
    /// `--to`, or now.
    to: Micros,
    /// `--to`.
    asked: Micros,
    now: Micros,
}

impl Range {
    fn of(args: &BackfillArgs) -> anyhow::Result<Self> {
        let now = Micros::now();
        if args.from >= args.to {
            return Err(anyhow::anyhow!("--to is not after --from: there is nothing between them")).or_exit(Exit::Usage);
        }
        Ok(Range { from: args.from, to: args.to.min(now), asked: args.to, now })
    }

    /// What a sink would delete at once is not sent.
    fn is_kept(&self, name: &str, sink: &SinkSettings) -> anyhow::Result<()> {
        let oldest = self.now.minus(sink.delete_after);
        if sink.r#type == SinkType::Stdout || self.from >= oldest {
            return Ok(());
        }
        let kept = age(sink.delete_after);
        let message = format!(
            "--from is before {oldest}, and sink {name} keeps documents for {kept} (shipper.sinks.{name}.delete_after): begin there, or keep \
             them longer"
        );
        Err(anyhow::anyhow!(message)).or_exit(Exit::Usage)
    }
}

/// An age as people say it: humantime makes months of thirty and a half days out of 90 days.
fn age(age: Duration) -> String {
    match age.as_secs() / 86_400 {
        0 => humantime::format_duration(age).to_string(),
        days => format!("{days} days"),
    }
}

async fn one(shared: &Arc<Shared>, name: &str, settings: &SinkSettings, range: Range) -> anyhow::Result<()> {
    // Named by what was asked for: the end of the range is now, at the latest, and now is another time at each start.
    let job = Job::open(&shared.state, name, range.from, range.asked)?;
    let failed = |failure: SinkError| run::of_sink(name, &failure);
    let sink = sinks::make_for_backfill(name, settings, shared, job.stream()).map_err(failed)?;
    let reached = sink.sink.open().await.map_err(failed)?.map(|checkpoint| checkpoint.follow.started_at());
    // In a search engine a range that came to its end is sent again without harm, and somebody wants it; files would have it twice.
    let reached = reached.filter(|reached| sink.sink.commits_alone() || *reached < range.to);
    let from = reached.unwrap_or(range.from).max(range.from);
    if from > range.from {
        say(&format!("sink {name}: an earlier backfill of this range shipped everything before {from}, going on from there"));
    }
    let sink = Arc::new(sink);
    let (items, given) = mpsc::channel(sink.sink.concurrency().max(2));
    let share = shared.settings.shipper.queue_bytes as usize;
    let batches = Batches::new(sink.sink.batch_limits(), share);
    let maker = Maker::new(shared, Filter::new(settings));
    let mut feeder = Feeder::new(shared.clone(), maker, batches, items);
    let fetch = feeder.maker().fetch();
    let except = Default::default();
    let past = HistoryRange { from, until: range.to, except, as_of: range.now };
    let follow = &shared.settings.follow;
    let database = shared.reads.database.clone();
    let history = History::open(database.clone(), follow, STATEMENT_TIMEOUT, fetch, past).await.map_err(of_database)?;
    let follower = Follower::new(database, follow.clone(), STATEMENT_TIMEOUT, fetch);
    let progress = Progress::new(range.from, range.to);
    let backfill = Backfill { shared: shared.clone(), history, follower, feeder, range, progress, name: name.to_owned() };
    let sender = Sender::new(name.to_owned(), sink.clone(), given, shared.clone());
    let sending = async { sender.send().await.map_err(failed) };
    tokio::try_join!(backfill.read(), sending)?;
    let documents = shared.board.sinks().get(name).map_or(0, |state| state.delivered);
    say(&format!("sink {name}: {documents} documents of records created from {from} until {} are shipped", range.to));
    Ok(())
}

#[expect(clippy::print_stderr, reason = "standard output may be the sink; a person wants to know how it went all the same")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn of_database(error: FollowError) -> anyhow::Error {
    dify_observe_core::exit::WithExit::new(exit_of(&error), error).into()
}

struct Backfill {
    shared: Arc<Shared>,
    history: History,
    follower: Follower,
    feeder: Feeder,
    range: Range,
    progress: Progress,
    name: String,
}

impl Backfill {
    /// Slice by slice; then feedback, whose table is read as a whole.
    async fn read(mut self) -> anyhow::Result<()> {
        while let Some(at) = self.patiently(async |this: &mut Self| this.history.next_at().await).await? {
            let end = at.plus(SLICE).min(self.range.to);
            while let Some(events) = self.patiently(async |this: &mut Self| this.history.page(end).await).await? {
                let schema = self.history.schema().clone();
                self.feeder.feed(events, &schema).await;
                self.tell(at);
            }
            self.mark(end).await?;
            self.tell(end);
        }
        self.feedback().await?;
        self.mark(self.range.to).await
    }

    /// Tries again while the database is away; then it ends, and goes on at the next start.
    async fn patiently<T>(&mut self, read: impl AsyncFn(&mut Self) -> Result<T, DatabaseError>) -> anyhow::Result<T> {
        for _ in 1..TRIES.0 {
            match read(self).await {
                Err(error) if error.is_transient() => tokio::time::sleep(TRIES.1).await,
                result => return Ok(result?),
            }
        }
        read(self).await.context("the backfill goes on where it was when it is started again")
    }

    async fn feedback(&mut self) -> anyhow::Result<()> {
        let max_rows = self.shared.settings.shipper.slow_max_rows;
        let schema = self.history.schema().clone();
        if let Err(off) = Subject::Feedbacks.gate(&schema, max_rows) {
            say(&format!("sink {}: feedback is left out: {off}", self.name));
            return Ok(());
        }
        let mut tx = self.shared.reads.database.read(STATEMENT_TIMEOUT).await?;
        let rows = statistics::feedbacks(&mut tx, Detail::Documents, u32::try_from(max_rows).unwrap_or(u32::MAX - 1)).await?;
        tx.end().await?;
        let ours = self.range.from..self.range.to;
        let rows = rows.unwrap_or_default().into_iter().filter(|feedback| ours.contains(&feedback.created_at));
        let events = rows.map(|feedback| Event::Feedback { feedback, action: FeedbackAction::Created }).collect();
        self.feeder.feed(events, &schema).await;
        Ok(())
    }

    /// Everything before `end` is handed over.
    async fn mark(&mut self, end: Micros) -> anyhow::Result<()> {
        self.feeder.flush().await;
        let mut tries = 0;
        let follow = loop {
            match self.follower.begin(Start::At(end)).await {
                Ok(follow) => break follow,
                Err(FollowError::Database(error)) if error.is_transient() && tries < TRIES.0 => tokio::time::sleep(TRIES.1).await,
                Err(error) => return Err(of_database(error)),
            }
            tries += 1;
        };
        self.feeder.send(Item::Mark { checkpoint: Box::new(Checkpoint { follow }), at: Micros::now(), back: None }).await;
        Ok(())
    }

    fn tell(&self, at: Micros) {
        let documents = self.shared.board.sinks().get(&self.name).map_or(0, |state| state.delivered);
        self.progress.tell(at, documents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(from: i64, to: i64) -> BackfillArgs {
        BackfillArgs { from: Micros::from_secs(from), to: Micros::from_secs(to), sinks: Vec::new() }
    }

    fn sinks(names: &[&str]) -> Sinks {
        names.iter().map(|name| ((*name).to_owned(), SinkSettings::default())).collect()
    }

    #[test]
    fn a_range_is_in_order_and_ends_now_at_the_latest() {
        assert_eq!(Exit::of(&Range::of(&args(10, 10)).unwrap_err()), Exit::Usage);
        let range = Range::of(&args(10, i64::MAX / 2_000_000)).unwrap();
        assert_eq!(range.to, range.now);
    }

    #[test]
    fn what_a_sink_would_delete_at_once_is_refused() {
        let day = Duration::from_secs(86_400);
        let now = Micros::now();
        let range = Range { from: now.minus(100 * day), to: now, asked: now, now };
        let error = range.is_kept("files", &SinkSettings::default()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(error.to_string().contains("90 days"), "{error}");
        let longer = SinkSettings { delete_after: 365 * day, ..SinkSettings::default() };
        assert!(range.is_kept("files", &longer).is_ok());
        let stdout = SinkSettings { r#type: SinkType::Stdout, ..SinkSettings::default() };
        assert!(range.is_kept("out", &stdout).is_ok());
    }

    #[test]
    fn sinks_are_chosen_by_name() {
        assert_eq!(chosen(sinks(&["a", "b"]), &[]).unwrap().len(), 2);
        assert_eq!(chosen(sinks(&["a", "b"]), &["b".to_owned()]).unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(Exit::of(&chosen(sinks(&["a"]), &["c".to_owned()]).unwrap_err()), Exit::Usage);
    }
}
