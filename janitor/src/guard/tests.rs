use dify_observe_core::dify::retention::{Root, RunKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const NOW: Micros = Micros::from_secs(1_800_000_000);

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn bundle(newest: Micros, run: u128, message: u128) -> Bundle {
    Bundle {
        root: Root::Conversation,
        id: uuid(1),
        tenant_id: uuid(2),
        app_id: uuid(3),
        status: None,
        ended_at: newest,
        newest,
        runs: vec![RunKey { id: uuid(run), workflow_id: uuid(4) }],
        messages: vec![uuid(message)],
    }
}

/// Answers every request with `status` and `body`.
async fn server(status: &str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(request.starts_with("GET /position ") && request.contains("Basic c2NvdXQ6aHVudGVyMg=="), "{request}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

fn position(covered_until: Micros, open: &[Uuid], written_at: Micros) -> serde_json::Value {
    serde_json::json!({ "covered_until": covered_until.to_string(), "open": open, "written_at": written_at.to_string(), "start": null })
}

async fn read(urls: &[String]) -> Result<Covered, GuardError> {
    let password = Some(Secret::new("hunter2"));
    let (username, wait_for) = (Some("scout".to_owned()), urls.to_vec());
    let settings = JanitorSettings { wait_for, wait_for_username: username, wait_for_password: password, ..JanitorSettings::default() };
    Guard::new(&settings).unwrap().covered(NOW).await.cloned()
}

async fn refusal(status: &str, body: serde_json::Value) -> String {
    let error = read(&[server(status, body.to_string()).await]).await.unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[tokio::test]
async fn everybody_must_cover() {
    let minute = Duration::from_secs(60);
    let mut shipper = position(NOW, &[], NOW);
    shipper["sinks"] = serde_json::json!({
        "search": position(NOW.minus(minute), &[uuid(7)], NOW),
        "files": position(NOW.minus(3 * minute), &[], NOW),
    });
    let exporter = position(NOW.minus(2 * minute), &[uuid(8)], NOW);
    let urls = [server("200 OK", shipper.to_string()).await, server("200 OK", exporter.to_string()).await];
    let covered = read(&urls).await.unwrap();
    assert_eq!(covered.until(), NOW.minus(3 * minute));
    let old = NOW.minus(4 * minute);
    assert!(covered.covers(&bundle(old, 5, 6)));
    assert!(!covered.covers(&bundle(covered.until(), 5, 6)), "what happened at the position itself may follow");
    assert!(!covered.covers(&bundle(old, 7, 6)), "an open run");
    assert!(!covered.covers(&bundle(old, 5, 8)), "an open message");
}

#[tokio::test]
async fn without_anybody_to_wait_for_everything_is_covered() {
    assert!(read(&[]).await.unwrap().covers(&bundle(NOW, 5, 6)));
}

#[tokio::test]
async fn what_cannot_be_read_guards_everything() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = read(&[format!("http://{closed}")]).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && error.contains("refused") && !error.contains("hunter2"), "{error}");

    let error = refusal("503 Service Unavailable", serde_json::json!("starting")).await;
    assert!(error.contains("it answers 503"), "{error}");
    let error = refusal("200 OK", serde_json::json!({ "open": [] })).await;
    assert!(error.contains("missing field"), "{error}");
    let error = refusal("200 OK", serde_json::json!("<html>")).await;
    assert!(error.contains("does not say what it has taken in"), "{error}");
}

#[tokio::test]
async fn a_position_of_another_time_guards_everything() {
    let limit = Duration::from_secs(15 * 60);
    assert!(read(&[server("200 OK", position(NOW, &[], NOW.minus(limit)).to_string()).await]).await.is_ok());
    for written_at in [NOW.minus(limit + Duration::from_secs(1)), NOW.plus(limit + Duration::from_secs(1))] {
        let error = refusal("200 OK", position(NOW, &[], written_at)).await;
        assert!(error.contains("15 minutes from now"), "{error}");
    }
}

#[tokio::test]
async fn one_sink_without_a_position_guards_everything() {
    let mut shipper = position(NOW, &[], NOW);
    shipper["sinks"] = serde_json::json!({ "search": { "covered_until": null, "open": [] } });
    assert!(refusal("200 OK", shipper).await.contains("does not say"));
}
