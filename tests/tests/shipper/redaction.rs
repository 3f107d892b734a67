//! What must not leave the process does not: 200 values of a seed, in every shape in which content has them, through the real binary too.

mod shapes;

use anyhow::ensure;
use dify_observe_tests::planted::{self, Planted, letters};
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::{Schema, seed};

use crate::scene::{ABANDON, Setup, documents, history};

/// Content, titles, errors, URLs, headers and bodies of HTTP requests, comments: one statement for each place, `$1` is the value as JSON
/// text, `$2` as it is, `$3` the row.
const PLACES: [(&str, &str); 8] = [
    ("workflow_runs", "UPDATE workflow_runs SET inputs = $1, outputs = $1, error = $2 WHERE id = $3"),
    (
        "workflow_node_executions",
        "UPDATE workflow_node_executions SET title = left($2, 250), error = $2, inputs = $1, outputs = $1 WHERE id = $3",
    ),
    (
        "workflow_node_executions",
        "UPDATE workflow_node_executions SET node_type = 'http-request', process_data = $1, outputs = $1 WHERE id = $3",
    ),
    ("workflow_node_executions", "UPDATE workflow_node_executions SET node_type = 'tool', inputs = $1, error = $2 WHERE id = $3"),
    ("messages", "UPDATE messages SET query = $2, answer = $2, error = $2, inputs = $1::json WHERE id = $3"),
    ("messages", "UPDATE messages SET query = $1, answer = $1, message_metadata = $1 WHERE id = $3"),
    ("message_feedbacks", "UPDATE message_feedbacks SET content = $2 WHERE id = $3"),
    ("workflow_node_executions", "UPDATE workflow_node_executions SET process_data = $1, inputs = $1 WHERE id = $3"),
];

/// What an HTTP node stores of a request, with the value in its URL, headers and body.
fn request(value: &Planted) -> String {
    let text = &value.text;
    let body = serde_json::json!({"note": text, "nested": serde_json::json!({"deep": text}).to_string()}).to_string();
    let url = text.replace(' ', "%20");
    let request = format!("POST /u/{url}?q={url} HTTP/1.1\r\nHost: api.example.org\r\nX-Note: {text}\r\n\r\n{body}");
    serde_json::json!({"request": request, "text": text, "headers": {"x-note": text}, "body": body}).to_string()
}

async fn plant(database: &TestDatabase, values: &[Planted]) -> anyhow::Result<()> {
    let mut connection = database.connect().await?;
    for (at, (table, statement)) in PLACES.iter().enumerate() {
        let select = format!("SELECT id FROM {table} ORDER BY id LIMIT 400");
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(select)).fetch_all(&mut connection).await?;
        ensure!(!ids.is_empty(), "no {table}");
        for (row, value) in values.iter().enumerate().skip(at % PLACES.len()).step_by(PLACES.len()) {
            let id = ids[row % ids.len()];
            sqlx::query(*statement).bind(request(value)).bind(format!("it said: {}", value.text)).bind(id).execute(&mut connection).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_planted_leaves_the_process_in_any_content_mode() -> anyhow::Result<()> {
    let seed = seed("nothing_planted_leaves_the_process");
    let database = history(&Schema::load("1.12.1")?, seed, 120).await?;
    let values = planted::values(seed, 200);
    plant(&database, &values).await?;
    for mode in ["off", "truncated", "full"] {
        let setup = Setup::new(database.url())?.with_stdout().with(ABANDON.0, ABANDON.1).with("SHIPPER__CONTENT", mode);
        let finished =
            setup.with("SHIPPER__CONTENT_BYTES", "700").with("TELEMETRY__LOG_FILTER", "debug").succeed(&["run", "--once"]).await?;
        let shipped = documents(&finished.stdout)?;
        ensure!(shipped.len() > 200, "{} documents", shipped.len());
        ensure!(finished.stdout.contains("[email]") && finished.stdout.contains("[phone]"), "nothing was taken out, or nothing planted");
        // Text by text: letters of two fields side by side are no value.
        let mut lines: Vec<String> = finished.stderr.lines().map(letters).collect();
        shipped.iter().for_each(|document| texts(document, &mut lines));
        for value in &values {
            let survives = lines.iter().find(|line| line.contains(&value.needle));
            ensure!(survives.is_none(), "seed {seed}, content {mode}: {} {:?} survives in {survives:?}", value.rule, value.text);
        }
    }
    Ok(())
}

/// Every text of a document, its keys too, as letters and digits.
fn texts(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => out.push(letters(text)),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        serde_json::Value::Object(members) => members.iter().for_each(|(key, value)| {
            out.push(letters(key));
            texts(value, out);
        }),
        _ => {}
    }
}
