use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dify_observe_core::dify::catalog::App;
use dify_observe_core::dify::follow::FollowState;
use dify_observe_core::settings::Settings;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use uuid::Uuid;

use super::*;
use crate::document::{Document, Scope};
use crate::pipeline::Batches;
use crate::sink::Sink;

/// A sink that writes down what is asked of it, and acknowledges a batch when it is told to.
#[derive(Debug, Default)]
struct Diary {
    lines: Mutex<Vec<String>>,
    let_go: Notify,
    slow: AtomicBool,
    alone: bool,
    fenced: bool,
}

impl Diary {
    fn write(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Sink for Arc<Diary> {
    fn concurrency(&self) -> usize {
        3
    }

    fn open(&self) -> BoxFuture<'_, Result<Option<Checkpoint>, SinkError>> {
        Box::pin(async { Ok(None) })
    }

    fn deliver(&self, batch: Arc<[Document]>) -> BoxFuture<'_, Result<Delivered, SinkError>> {
        Box::pin(async move {
            let id = batch[0].id.clone();
            self.write(format!("begin {id}"));
            if self.slow.load(Ordering::Relaxed) && id.starts_with("slow") {
                self.let_go.notified().await;
            }
            self.write(format!("end {id}"));
            Ok(Delivered { written: batch.len() as u64, ..Delivered::default() })
        })
    }

    fn commit<'a>(&'a self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.fenced {
                return Err(SinkError { problem: "another leader".to_owned(), exit: Exit::TryLater, fenced: true });
            }
            self.write(format!("commit {}", number(&checkpoint.follow)));
            Ok(())
        })
    }

    fn commits_alone(&self) -> bool {
        self.alone
    }
}

fn number(state: &FollowState) -> i64 {
    (0..9).find(|number| *state == FollowState::for_tests(*number)).unwrap_or(-1)
}

fn document(id: &str) -> Document {
    let word = || "x".into();
    let app = App { id: Uuid::nil(), tenant_id: None, name: word(), mode: word(), status: word(), tags: Vec::new() };
    let scope = Scope { app: Arc::new(app), status: None };
    Document { kind: Kind::Message, id: id.to_owned(), revision: 1, time: Micros(0), source: Bytes::new(), scope }
}

async fn batch(id: &str) -> Item {
    let mut batches = Batches::new((1000, 1), 10_000);
    batches.put(document(id)).await;
    Item::Batch(batches.take_all().pop().unwrap())
}

fn mark(number: i64, back: Option<oneshot::Sender<Box<Checkpoint>>>) -> Item {
    Item::Mark { checkpoint: Box::new(Checkpoint { follow: FollowState::for_tests(number) }), at: Micros(0), back }
}

struct Scene {
    diary: Arc<Diary>,
    items: mpsc::Sender<Item>,
    sending: tokio::task::JoinHandle<Result<(), SinkError>>,
}

fn scene(diary: Diary, interval: Duration) -> Scene {
    let diary = Arc::new(diary);
    let (items, given) = mpsc::channel(16);
    let mut settings = Settings::default();
    settings.shipper.checkpoint_interval = interval;
    let shared = Arc::new(crate::pipeline::tests::shared(settings));
    let sender = Sender::new("s".to_owned(), Arc::new(OpenSink::plain(diary.clone())), given, shared);
    Scene { diary, items, sending: tokio::spawn(sender.send()) }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_position_is_committed_only_when_everything_before_it_is_acknowledged() {
    let Scene { diary, items, sending } = scene(Diary { slow: true.into(), ..Diary::default() }, Duration::ZERO);
    for item in [batch("slow a").await, batch("b").await, mark(1, None), batch("c").await, mark(2, None)] {
        items.send(item).await.unwrap();
    }
    settle().await;
    assert_eq!(diary.lines(), ["begin slow a", "begin b", "end b", "begin c", "end c"], "nothing is committed over what is under way");
    diary.let_go.notify_one();
    drop(items);
    sending.await.unwrap().unwrap();
    assert_eq!(diary.lines()[5..], ["end slow a", "commit 2"], "the newest covers the one before");
}

#[tokio::test]
async fn what_was_committed_is_not_committed_again() {
    let Scene { diary, items, sending } = scene(Diary::default(), Duration::ZERO);
    items.send(mark(1, None)).await.unwrap();
    settle().await;
    drop(items);
    sending.await.unwrap().unwrap();
    assert_eq!(diary.lines(), ["commit 1"]);
}

#[tokio::test]
async fn a_sink_that_commits_alone_has_nothing_under_way_and_nothing_after() {
    let Scene { diary, items, sending } = scene(Diary { alone: true, slow: true.into(), ..Diary::default() }, Duration::ZERO);
    for item in [batch("slow a").await, mark(1, None), batch("b").await, mark(2, None)] {
        items.send(item).await.unwrap();
    }
    settle().await;
    assert_eq!(diary.lines(), ["begin slow a"]);
    diary.let_go.notify_one();
    drop(items);
    sending.await.unwrap().unwrap();
    assert_eq!(diary.lines(), ["begin slow a", "end slow a", "commit 1", "begin b", "end b", "commit 2"]);
}

#[tokio::test]
async fn a_checkpoint_whose_time_has_not_come_is_overtaken_by_the_next() {
    let Scene { diary, items, sending } = scene(Diary { alone: true, ..Diary::default() }, Duration::from_secs(3600));
    for item in [mark(1, None), batch("a").await, mark(2, None), batch("b").await, mark(3, None)] {
        items.send(item).await.unwrap();
    }
    settle().await;
    drop(items);
    sending.await.unwrap().unwrap();
    assert_eq!(diary.lines(), ["commit 1", "begin a", "end a", "begin b", "end b", "commit 3"]);
}

#[tokio::test]
async fn a_lent_state_comes_back_once_it_is_committed() {
    let Scene { diary, items, sending } = scene(Diary { slow: true.into(), ..Diary::default() }, Duration::from_secs(3600));
    let (back, mut lent) = oneshot::channel();
    for item in [mark(1, None), batch("slow a").await, mark(2, Some(back))] {
        items.send(item).await.unwrap();
    }
    settle().await;
    assert!(lent.try_recv().is_err());
    diary.let_go.notify_one();
    assert_eq!(number(&lent.await.unwrap().follow), 2);
    drop(items);
    sending.await.unwrap().unwrap();
    assert_eq!(diary.lines().last().unwrap(), "commit 2");
}

#[tokio::test]
async fn a_fenced_commit_ends_the_pipeline() {
    let Scene { items, sending, .. } = scene(Diary { fenced: true, ..Diary::default() }, Duration::ZERO);
    items.send(mark(1, None)).await.unwrap();
    assert!(sending.await.unwrap().unwrap_err().fenced);
}
