//! What exporter and shipper have not taken in yet stays.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::ensure;
use dify_observe_tests::simulator::live;
use dify_observe_tests::simulator::value::{DAY, HOUR, Micros, naive};
use dify_observe_tests::{Schema, seed};
use sqlx::AssertSqlSafe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::scene::{Scene, none};
use crate::setup::sentence;

/// A server that answers every request with the same text.
struct Answering {
    address: String,
    answer: Arc<Mutex<String>>,
}

impl Answering {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let answer = Arc::new(Mutex::new(String::new()));
        let shown = answer.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let body = shown.lock().map(|text| text.clone()).unwrap_or_default();
                // One small request fits into one read.
                let _ = client.read(&mut [0; 4096]).await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
                let _ = client.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await;
            }
        });
        Ok(Self { address, answer })
    }

    fn say(&self, covered_until: Micros, open: &[&str], written_at: Micros) {
        let time = |at: Micros| naive(at).replace(' ', "T") + "Z";
        let text = format!(r#"{{"covered_until": "{}", "open": {open:?}, "written_at": "{}"}}"#, time(covered_until), time(written_at));
        if let Ok(mut answer) = self.answer.lock() {
            *answer = text;
        }
    }
}

async fn ids(scene: &Scene, sql: &str) -> anyhow::Result<BTreeSet<String>> {
    let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut scene.database.connect().await?).await?;
    Ok(found.into_iter().collect())
}

#[tokio::test]
async fn nothing_goes_that_was_not_taken_in() -> anyhow::Result<()> {
    let seed = seed("nothing_goes_that_was_not_taken_in");
    let mut scene = Scene::new(&Schema::load("1.12.1")?, seed, 300).await?;
    let server = Answering::start().await?;

    // Nobody answers there.
    scene.setup.set("JANITOR__WAIT_FOR", "http://127.0.0.1:9");
    let refused = scene.setup.run(&["run", "--execute"]).await?;
    ensure!(refused.code == Some(75), "{refused:?}");
    ensure!(sentence(&refused)?.contains("127.0.0.1:9"), "{refused:?}");
    scene.is_untouched().await?;

    // An answer of an hour ago.
    let now = live::now();
    scene.setup.set("JANITOR__WAIT_FOR", &server.address);
    server.say(now, &[], now - HOUR);
    let refused = scene.setup.run(&["run", "--execute"]).await?;
    ensure!(refused.code == Some(75), "{refused:?}");
    scene.is_untouched().await?;

    // Something else than a position.
    if let Ok(mut answer) = server.answer.lock() {
        *answer = "<html>".to_owned();
    }
    let refused = scene.setup.run(&["run", "--execute"]).await?;
    ensure!(refused.code == Some(75), "{refused:?}");
    scene.is_untouched().await?;

    // Sixty days are covered, all but one run and one message.
    let until = now - 60 * DAY;
    let due = &scene.expected.must;
    let due_runs: Vec<&str> = due["workflow_runs"].iter().map(String::as_str).collect();
    let quoted = format!("'{}'", due_runs.join("', '"));
    let old = format!(
        "SELECT id::text FROM workflow_runs WHERE id IN ({quoted}) AND created_at < '{}'
         AND id NOT IN (SELECT workflow_run_id FROM messages WHERE workflow_run_id IS NOT NULL) ORDER BY id",
        naive(until)
    );
    let old = ids(&scene, &old).await?;
    let open: Vec<&str> = old.iter().take(1).chain(due["messages"].iter().take(1)).map(String::as_str).collect();
    ensure!(open.len() == 2 && old.len() > 3, "too little is due: {}", old.len());
    server.say(until, &open, now);
    let mut young = BTreeSet::new();
    for table in ["workflow_runs", "messages"] {
        young.extend(ids(&scene, &format!("SELECT id::text FROM {table} WHERE created_at >= '{}'", naive(until))).await?);
    }
    let finished = scene.setup.succeed(&["run", "--execute"]).await?;
    let gone = scene.gone().await?;
    let went = |table: &str| gone.get(table).cloned().unwrap_or_default();
    let wrong = went("workflow_runs").into_iter().chain(went("messages")).filter(|id| young.contains(id) || open.contains(&id.as_str()));
    none(&scene.what, &wrong.map(|id| format!("{id} was not covered and went")).collect::<Vec<_>>())?;
    let stayed = old.iter().filter(|id| !open.contains(&id.as_str()) && !went("workflow_runs").contains(*id));
    let stayed: Vec<String> = stayed.map(|id| format!("{id} was covered and stayed")).collect();
    none(&format!("{}\n{}", scene.what, finished.stderr), &stayed)?;

    // All is covered.
    let now = live::now();
    server.say(now, &[], now);
    scene.setup.prune().await?;
    scene.is_pruned().await
}
