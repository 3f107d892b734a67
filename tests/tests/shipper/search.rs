//! `dify-shipper search` over files of the sink, here and in a bucket.

use std::time::Duration;

use anyhow::ensure;
use dify_observe_core::dify::time::Micros;
use dify_observe_core::secret::Secret;
use dify_observe_core::settings::SinkSettings;
use dify_observe_tests::s3::S3;
use dify_shipper::document::{Document, Kind};
use dify_shipper::ndjson::NdjsonSink;
use dify_shipper::sink::Sink as _;
use serde_json::json;

use crate::by_hand::{checkpoint, document, now};
use crate::scene::{Setup, documents};

const RUN: &str = "0198c9a2-0000-7000-8000-000000000001";

/// What a shop was asked, and what went wrong there. The later in the list, the younger.
fn shop() -> Vec<Document> {
    let start = now().minus(Duration::from_secs(3600));
    let at = |minute: u64| start.plus(Duration::from_secs(minute * 60));
    let source = |status: &str, app: &str, more: serde_json::Value| {
        let mut source =
            json!({"dify": {"status": status, "app": {"id": "a1", "name": app}, "workflow_run_id": RUN}, "user": {"id": "u1"}});
        for (key, value) in more.as_object().cloned().unwrap_or_default() {
            source["dify"][key] = value;
        }
        source
    };
    vec![
        document(Kind::WorkflowRun, "r1", 1, at(0), &source("abandoned", "shop", json!({}))),
        document(
            Kind::Message,
            "m1",
            1,
            at(1),
            &source("normal", "shop", json!({"query": "Where is my order?", "answer": "我们已经退款。"})),
        ),
        document(Kind::Message, "m2", 1, at(2), &source("normal", "bar", json!({"query": "The rate limit was hit, order again"}))),
        document(Kind::NodeExecution, "n1", 1, at(3), &source("failed", "shop", json!({"node": {"type": "llm", "title": "limit rate"}}))),
        // What was given up ended after all.
        document(Kind::WorkflowRun, "r1", 2, at(0), &source("succeeded", "shop", json!({}))),
    ]
}

async fn write(settings: &SinkSettings, setup: &Setup) -> anyhow::Result<()> {
    let sink = NdjsonSink::new("files", settings, &setup.folder().join("state/shipper"))?;
    sink.open().await?;
    // Some in closed segments, the last one in the open one.
    for (document, number) in shop().into_iter().zip(0..) {
        sink.deliver([document].into()).await?;
        sink.commit(&checkpoint(number)).await?;
    }
    Ok(sink.close().await?)
}

async fn found(setup: &Setup, arguments: &[&str]) -> anyhow::Result<Vec<String>> {
    let finished = setup.succeed(&[&["search", "--format", "ndjson"], arguments].concat()).await?;
    ensure!(finished.stderr.contains("segments") && finished.stderr.contains("frames"), "{}", finished.stderr);
    let found = documents(&finished.stdout)?;
    Ok(found.iter().map(|document| format!("{} {}", document["_id"].as_str().unwrap_or_default(), document["_version"])).collect())
}

async fn answers_are_right(setup: &Setup) -> anyhow::Result<()> {
    let hour = Micros(now().0 - 3_600_000_000 + 90_000_000).to_string();
    let questions: [(&[&str], &[&str]); 14] = [
        (&[], &["n1 1", "m2 1", "m1 1", "r1 2"]),
        (&["--limit", "2"], &["n1 1", "m2 1"]),
        (&["--limit", "0"], &["n1 1", "m2 1", "m1 1", "r1 2"]),
        (&["order"], &["m2 1", "m1 1"]),
        (&["退款"], &["m1 1"]),
        (&["\"rate limit\""], &["m2 1"]),
        (&["rate", "limit", "--kind", "node_execution"], &["n1 1"]),
        (&["--status", "failed", "--status", "succeeded"], &["n1 1", "r1 2"]),
        (&["--status", "abandoned"], &[]),
        (&["--app", "bar"], &["m2 1"]),
        (&["--run", RUN, "--kind", "workflow_run"], &["r1 2"]),
        (&["--field", "dify.node.type=llm", "--user", "u1"], &["n1 1"]),
        (&["--from", &hour], &["n1 1", "m2 1"]),
        (&["--to", &hour, "--app", "a1"], &["m1 1", "r1 2"]),
    ];
    for (arguments, expected) in questions {
        ensure!(found(setup, arguments).await? == expected, "{arguments:?}: {:?}", found(setup, arguments).await?);
    }
    Ok(())
}

#[tokio::test]
async fn documents_are_found_in_files() -> anyhow::Result<()> {
    let setup = Setup::new("postgres://nobody@127.0.0.1:1/none")?.with("SHIPPER__SINKS__FILES__TYPE", "ndjson");
    write(&SinkSettings { segment_bytes: 500, ..SinkSettings::default() }, &setup).await?;
    answers_are_right(&setup).await?;
    let table = setup.succeed(&["search", "order"]).await?.stdout;
    let lines: Vec<&str> = table.lines().collect();
    ensure!(lines.len() == 3 && lines[1].contains("The rate limit was hit") && lines[2].contains("Where is my order?"), "{table}");
    Ok(())
}

#[tokio::test]
async fn documents_are_found_in_a_bucket() -> anyhow::Result<()> {
    let server = S3::start(&["documents"]).await?;
    let settings = SinkSettings {
        url: Some("s3://documents".to_owned()),
        endpoint: Some(server.endpoint().to_owned()),
        access_key_id: Some(Secret::new(server.access_key_id())),
        secret_access_key: Some(Secret::new(server.secret_access_key())),
        segment_bytes: 500,
        ..SinkSettings::default()
    };
    let setup = Setup::new("postgres://nobody@127.0.0.1:1/none")?
        .with("SHIPPER__SINKS__FILES__TYPE", "ndjson")
        .with("SHIPPER__SINKS__FILES__URL", "s3://documents")
        .with("SHIPPER__SINKS__FILES__ENDPOINT", server.endpoint())
        .with("SHIPPER__SINKS__FILES__ACCESS_KEY_ID", server.access_key_id())
        .with("SHIPPER__SINKS__FILES__SECRET_ACCESS_KEY", server.secret_access_key());
    write(&settings, &setup).await?;
    answers_are_right(&setup).await
}

#[tokio::test]
async fn which_files_to_search_is_asked_in_one_sentence() -> anyhow::Result<()> {
    let setup = || Setup::new("postgres://nobody@127.0.0.1:1/none");
    let none = setup()?.with_stdout().run(&["search"]).await?;
    ensure!(none.code == Some(64) && none.stderr.contains("no ndjson sink"), "{:?} {}", none.code, none.stderr);
    let two = setup()?.with("SHIPPER__SINKS__A__TYPE", "ndjson").with("SHIPPER__SINKS__B__TYPE", "ndjson");
    let asked = two.run(&["search"]).await?;
    ensure!(asked.code == Some(64) && asked.stderr.contains("--sink"), "{:?} {}", asked.code, asked.stderr);
    // Nothing was written yet.
    let nothing = two.succeed(&["search", "--sink", "a", "anything"]).await?;
    ensure!(nothing.stdout.is_empty() && nothing.stderr.contains("0 found"), "{} {}", nothing.stdout, nothing.stderr);
    let wrong = two.run(&["search", "--sink", "a", "--field", "status"]).await?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("PATH=VALUE"), "{:?} {}", wrong.code, wrong.stderr);
    Ok(())
}

#[tokio::test]
async fn memory_stays_small_over_large_files() -> anyhow::Result<()> {
    const MEBIBYTE: u64 = 1024 * 1024;
    let setup = Setup::new("postgres://nobody@127.0.0.1:1/none")?.with("SHIPPER__SINKS__FILES__TYPE", "ndjson");
    let settings = SinkSettings { segment_bytes: 10 * MEBIBYTE as u32, ..SinkSettings::default() };
    let sink = NdjsonSink::new("files", &settings, &setup.folder().join("state/shipper"))?;
    sink.open().await?;
    let text: String = (0..200_000).map(|number: u64| format!("{:x} ", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let megabytes = dify_observe_tests::seed::length(40, 1000);
    for number in 0..megabytes {
        let from = number * 7919 % 1_000_000;
        let source = json!({"dify": {"answer": text[from..from + 1_000_000], "status": "normal"}});
        sink.deliver([document(Kind::Message, &number.to_string(), 1, now(), &source)].into()).await?;
        sink.commit(&checkpoint(number as i64)).await?;
    }
    sink.close().await?;
    drop(sink);
    let mut process = setup.start(&["search", "--status", "normal", "--limit", "0", "--format", "ndjson"])?;
    let mut peak = 0;
    while process.ended()?.is_none() {
        peak = process.peak_memory().unwrap_or(0).max(peak);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let found = process.stdout().lines().count();
    ensure!(found == megabytes, "{found} found: {}", process.stderr());
    eprintln!("search: {} MiB", peak / MEBIBYTE);
    ensure!(peak > 0 && peak < 128 * MEBIBYTE, "{} MiB", peak / MEBIBYTE);
    Ok(())
}
