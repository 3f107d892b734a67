//! Dify's own Monitoring page, to the unit: every answer of a real Dify about its rows, computed from these rows.

use std::time::Duration;

use chrono::NaiveDateTime;
use dify_observe_core::dify::console::{self, App, Endpoint, Rules, Window};
use dify_observe_core::dify::schema::Schema as Probed;
use dify_observe_core::dify::session::{Database, ReadTx};
use dify_observe_tests::Schema;
use dify_observe_tests::fixtures::{self, LOGGED_VERSION, Statistic};
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use serde_json::Value;

#[tokio::test]
async fn every_answer_of_a_real_dify_is_equal() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load(LOGGED_VERSION).unwrap()).await.unwrap();
    fixtures::load_real_rows(&database, LOGGED_VERSION).await.unwrap();
    // The session's time zone must have no influence.
    database.execute(&format!("ALTER DATABASE {} SET TimeZone = 'Asia/Kolkata'", database.name())).await.unwrap();
    let (mut tx, rules) = probe(&database).await;
    let apps = console::apps(&mut tx).await.unwrap();

    let (mut equal, mut different) = (0, Vec::new());
    for statistic in fixtures::statistics().unwrap() {
        let Some(endpoint) = endpoint(&statistic) else { continue };
        let app = apps.iter().find(|app| app.id == statistic.app_id).unwrap();
        let ours = by_date(answer(&mut tx, rules, app, endpoint, &statistic).await);
        let theirs = by_date(statistic.answer.clone());
        if ours == theirs {
            equal += 1;
        } else {
            different.push(format!("{} {} {:?}: {ours} instead of {theirs}", app.name, endpoint.path(), statistic.params));
        }
    }
    println!("{equal} of {} answers are equal", equal + different.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(equal > 900, "{equal}");
}

#[tokio::test]
async fn every_version_answers_every_question() {
    let cluster = Cluster::shared().unwrap();
    for schema in Schema::all().unwrap() {
        let database = cluster.database(&schema).await.unwrap();
        let (mut tx, rules) = probe(&database).await;
        assert!(Endpoint::ALL.into_iter().all(|endpoint| rules.can_answer(endpoint)), "{}: {rules:?}", schema.version);
        let expected = !matches!(schema.version.as_str(), "1.2.0" | "1.8.1");
        assert_eq!(rules.without_debugger, expected, "{}", schema.version);
        assert_eq!(rules.conversations_without_debugger, schema.version != "1.2.0", "{}", schema.version);
        for mode in ["chat", "advanced-chat", "workflow", "completion"] {
            let app = App { id: uuid::Uuid::nil(), tenant_id: uuid::Uuid::nil(), name: "none".into(), mode: mode.into() };
            let window = Window::of_day("2026-03-29".parse().unwrap(), "Europe/Berlin");
            let figures = console::read(&mut tx, rules, &app, &window).await.unwrap();
            assert!(figures.0.is_empty(), "{}", schema.version);
        }
    }
}

async fn probe(database: &TestDatabase) -> (ReadTx, Rules) {
    let timeout = Duration::from_secs(30);
    let database = Database::new(database.url().parse().unwrap(), timeout);
    let mut tx = database.read(timeout).await.unwrap();
    let rules = Rules::of(&Probed::probe(&mut tx).await.unwrap());
    (tx, rules)
}

/// The endpoint asked; `None` for the lists of logs, which are on another page.
fn endpoint(statistic: &Statistic) -> Option<Endpoint> {
    let (_, path) = statistic.endpoint.split_once("<app_id>/")?;
    Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == path)
}

async fn answer(tx: &mut ReadTx, rules: Rules, app: &App, endpoint: Endpoint, statistic: &Statistic) -> Value {
    assert!(endpoint.applies_to(&app.mode), "{} of a {} app", endpoint.path(), app.mode);
    let minute = |key: &str| {
        let text = statistic.params.get(key)?.as_str()?;
        Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap())
    };
    let window = Window { time_zone: &statistic.time_zone, start: minute("start"), end: minute("end") };
    console::answer(endpoint, &console::read(tx, rules, app, &window).await.unwrap())
}

/// One of Dify's answers comes in no order.
fn by_date(mut answer: Value) -> Value {
    if let Some(days) = answer["data"].as_array_mut() {
        days.sort_by_key(|day| day["date"].to_string());
    }
    answer
}
