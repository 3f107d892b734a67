//! The files of the ndjson sink: of a shipper that is killed, in a bucket, and as other tools read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dify_observe_core::exit::Exit;
use dify_observe_core::secret::Secret;
use dify_observe_core::settings::SinkSettings;
use dify_observe_core::store::{Bucket, BucketOptions, Store as _};
use dify_observe_tests::proxy::Proxy;
use dify_observe_tests::python::duckdb;
use dify_observe_tests::s3::S3;
use dify_observe_tests::{Schema, seed};
use dify_shipper::document::Kind;
use dify_shipper::ndjson::NdjsonSink;
use dify_shipper::sink::Sink as _;
use serde_json::{Value, json};

use crate::by_hand::{checkpoint, document, now};
use crate::scene::{ABANDON, Setup, differences, documents, expected, history, ids, none, traffic, write};

/// Files with documents, below a folder.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.to_str().is_some_and(|path| path.ends_with(".ndjson.zst")) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What `zstdcat` makes of files.
fn zstdcat(files: &[PathBuf]) -> anyhow::Result<String> {
    let output = Command::new("zstd").args(["-d", "-c", "-q"]).args(files).output().context("zstd is not installed")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// How often each state of each record is there.
fn counted(documents: &[Value]) -> BTreeMap<(String, String, u64), usize> {
    let mut counted = BTreeMap::new();
    for document in documents {
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        *counted.entry((text("_kind"), text("_id"), document["_version"].as_u64().unwrap_or_default())).or_default() += 1;
    }
    counted
}

#[tokio::test]
async fn a_shipper_that_is_killed_writes_each_state_once() -> anyhow::Result<()> {
    let seed = seed("a_shipper_that_is_killed_writes_each_state_once");
    let schema = Schema::load("1.14.2")?;
    let database = history(&schema, seed, 60).await?;
    // Many commits and small segments: there are many moments to die at.
    let mut setup = Setup::new(database.url())?
        .with("SHIPPER__CHECKPOINT_INTERVAL", "10ms")
        .with("SHIPPER__SINKS__FILES__TYPE", "ndjson")
        .with("SHIPPER__SINKS__FILES__SEGMENT_BYTES", "4KiB");
    let folder = setup.folder().join("state/shipper/ndjson/files");
    let (arrivals, rate) = seed::length((100, 12.0), (1500, 12.0));
    let writer = write(&database, seed, traffic(&schema, arrivals, rate)?).await?;
    let mut random = seed;
    let mut killed_while_writing = 0;
    while !writer.is_finished() {
        let mut process = setup.start(&["run"])?;
        let before = segments(&folder);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(300 + (random >> 33) % 1500)).await;
        ensure!(process.ended()?.is_none(), "{}", process.stderr());
        process.kill().await?;
        killed_while_writing += u32::from(segments(&folder) != before);
    }
    writer.await??;
    ensure!(killed_while_writing > 2, "{killed_while_writing} kills while it wrote");
    let (key, value) = ABANDON;
    setup.set(key, value);
    // What committed late is found when a trailing walk comes by.
    let mut written = Vec::new();
    for _ in 0..90 {
        setup.succeed(&["run", "--once"]).await?;
        let files = segments(&folder);
        ensure!(files.len() > 2, "{files:?}");
        written = documents(&zstdcat(&files)?)?;
        if differences(&expected(&database).await?, &ids(&written)).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let twice: Vec<String> = counted(&written).into_iter().filter(|(_, count)| *count > 1).map(|(state, _)| format!("{state:?}")).collect();
    none("states written twice", &twice)?;
    none("records", &differences(&expected(&database).await?, &ids(&written)))?;

    // A folder has one writer, and the tools of others read what it writes.
    let answer = setup.succeed(&["search", "--limit", "0", "--format", "ndjson"]).await?;
    ensure!(counted(&documents(&answer.stdout)?).len() == ids(&written).values().map(|ids| ids.len()).sum::<usize>());
    Ok(())
}

#[tokio::test]
async fn duckdb_and_jq_answer_the_documented_queries() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = SinkSettings { url: Some(format!("file://{}", folder.path().display())), ..SinkSettings::default() };
    let sink = NdjsonSink::new("files", &settings, folder.path())?;
    sink.open().await?;
    let run = |id: &str, version, status: &str| {
        document(Kind::WorkflowRun, id, version, now(), &json!({"dify": {"status": status, "app": {"name": "shop"}}}))
    };
    let node = |id: &str, version, error: Value| document(Kind::NodeExecution, id, version, now(), &json!({"error": {"type": error}}));
    sink.deliver([run("a", 1, "abandoned"), run("b", 1, "failed"), node("a", 1, json!("timeout")), node("b", 1, json!("timeout"))].into())
        .await?;
    sink.commit(&checkpoint(1)).await?;
    sink.deliver([run("a", u64::MAX >> 1, "succeeded"), run("c", 1, "succeeded"), node("b", 2, Value::Null)].into()).await?;
    sink.commit(&checkpoint(2)).await?;

    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ndjson.md"))?;
    let blocks = |fence: &str| -> Vec<String> {
        page.split(fence).skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block.to_owned()).collect()
    };
    let answers: Vec<Value> = blocks("```sql duckdb\n")
        .iter()
        .map(|sql| duckdb(&sql.replace("/var/lib/dify-observe/documents", &folder.path().display().to_string())).map(Value::from))
        .collect::<Result<_, _>>()?;
    let runs = json!([{"app": "shop", "status": "succeeded", "runs": 2}, {"app": "shop", "status": "failed", "runs": 1}]);
    assert_eq!(answers, [runs, json!([{"error": "timeout", "nodes": 1}])]);

    let [jq] = &blocks("```sh jq\n")[..] else { anyhow::bail!("not one jq line") };
    let output = Command::new("sh").arg("-c").arg(jq.replace("2026/11/21/*", "open/*")).current_dir(folder.path()).output()?;
    let latest = documents(std::str::from_utf8(&output.stdout)?)?;
    let statuses: BTreeMap<_, _> = latest.iter().map(|line| (line["_id"].as_str(), line["dify"]["status"].as_str())).collect();
    let expected = [("a", "succeeded"), ("b", "failed"), ("c", "succeeded")];
    assert_eq!(statuses, expected.map(|(id, status)| (Some(id), Some(status))).into());
    Ok(())
}

fn in_bucket(server: &S3, endpoint: &str) -> SinkSettings {
    SinkSettings {
        url: Some("s3://documents/dify".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        access_key_id: Some(Secret::new(server.access_key_id())),
        secret_access_key: Some(Secret::new(server.secret_access_key())),
        segment_bytes: 1,
        ..SinkSettings::default()
    }
}

#[tokio::test]
async fn closed_segments_go_to_the_bucket_and_wait_while_it_is_away() -> anyhow::Result<()> {
    let server = S3::start(&["documents"]).await?;
    let proxy = Proxy::start(server.endpoint().trim_start_matches("http://")).await?;
    let state = tempfile::tempdir()?;
    let settings = in_bucket(&server, &format!("http://{}", proxy.address()));
    let options = BucketOptions {
        endpoint: Some(server.endpoint().to_owned()),
        access_key_id: settings.access_key_id.clone(),
        secret_access_key: settings.secret_access_key.clone(),
        allow_http: true,
        ..BucketOptions::default()
    };
    let bucket = Bucket::open(&options, "documents/dify")?;
    let sink = NdjsonSink::new("files", &settings, state.path())?;
    sink.open().await?;
    for number in 0..3_u32 {
        sink.deliver([document(Kind::Message, &number.to_string(), 1, now(), &json!({"n": number}))].into()).await?;
        sink.commit(&checkpoint(number.into())).await?;
    }
    sink.close().await?;
    let in_bucket = async || anyhow::Ok(bucket.list("").await?.into_iter().map(|listed| listed.path).collect::<Vec<_>>());
    let there = in_bucket().await?;
    ensure!(there.len() == 6 && there.iter().filter(|path| path.ends_with(".index")).count() == 3, "{there:?}");
    let spool = state.path().join("ndjson/files");
    assert_eq!(segments(&spool), Vec::<PathBuf>::new());

    // Away: what is written is kept here, and the sink says so.
    proxy.cut();
    sink.deliver([document(Kind::Message, "3", 1, now(), &json!({"n": 3}))].into()).await?;
    sink.commit(&checkpoint(3)).await?;
    let deadline = Instant::now() + Duration::from_secs(150);
    while sink.trouble().is_none() {
        ensure!(Instant::now() < deadline, "it never said that the bucket is away");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(sink.trouble().is_some_and(|trouble| trouble.contains("wait in")), "{:?}", sink.trouble());
    assert_eq!(segments(&spool).len(), 1);
    drop(sink);

    // Another process finds it away at its start too, and sends what waits once it is back.
    let sink = NdjsonSink::new("files", &settings, state.path())?;
    proxy.mend();
    assert_eq!(sink.open().await?, Some(checkpoint(3)));
    sink.close().await?;
    assert_eq!((in_bucket().await?.len(), segments(&spool).len(), sink.trouble()), (8, 0, None));

    let wrong = SinkSettings { url: Some("s3://others".to_owned()), endpoint: Some(server.endpoint().to_owned()), ..settings };
    let error = NdjsonSink::new("others", &wrong, state.path())?.open().await.expect_err("there is no such bucket");
    assert_eq!(error.exit, Exit::Configuration, "{error}");
    Ok(())
}
