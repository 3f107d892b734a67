//! `check`: what a run would say before its first row, and how rows are found.

use dify_observe_core::dify::retention::ownership::known_tables;
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::Rules;
use serde_json::Value;

use crate::roles::grant;
use crate::setup::Setup;

pub(crate) async fn report(setup: &Setup) -> anyhow::Result<(Option<i32>, Value)> {
    let finished = setup.run(&["check", "--format", "json"]).await?;
    anyhow::ensure!(finished.stderr.is_empty(), "{}", finished.stderr);
    Ok((finished.code, serde_json::from_str(&finished.stdout)?))
}

/// The messages of a subject, with their level before them.
pub(crate) fn messages(report: &Value, subject: &str) -> Vec<String> {
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let of_subject = findings.iter().filter(|finding| finding["subject"] == subject);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_subject.map(|finding| format!("{}: {}", text(&finding["level"]), text(&finding["message"]))).collect()
}

/// Roles belong to the cluster, so each test has its own.
async fn granted(version: &Schema, role: &str) -> anyhow::Result<(TestDatabase, Setup)> {
    let cluster = Cluster::shared()?;
    let database = cluster.database(version).await?;
    let url = grant(cluster, &database, role, true).await?;
    let setup = Setup::new(&url, &Rules::default())?.with("JANITOR__PACE", "5000");
    Ok((database, setup))
}

#[tokio::test]
async fn every_table_has_a_way_and_nothing_is_in_the_way_on_every_schema() -> anyhow::Result<()> {
    for schema in Schema::all()? {
        let (_database, setup) = granted(&schema, "dify_observe_test_check_every").await?;
        let (code, report) = report(&setup).await?;
        assert_eq!(code, Some(0), "{}: {report:#}", schema.describe());
        let access = messages(&report, "access").join("\n");
        for table in known_tables().filter(|table| schema.has_table(table) && *table != "conversations") {
            assert!(access.contains(&format!(" {table}")), "{}: no word about {table}:\n{access}", schema.describe());
        }
        let passes = access.contains("collected in a pass");
        // App logs and variables in the first, forms by conversation in the last.
        assert_eq!(passes, ["1.2.0", "1.17.1"].contains(&schema.version.as_str()), "{}:\n{access}", schema.describe());
        assert_eq!(access.contains("no index on their time"), ["1.2.0", "1.8.1"].contains(&schema.version.as_str()), "{access}");
        assert!(messages(&report, "archive").iter().any(|line| line.contains("can be written and read")), "{report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn it_reads_as_headings_and_sentences_and_leaves_nothing_in_the_archive() -> anyhow::Result<()> {
    let (_database, setup) = granted(&Schema::load("1.12.1")?, "dify_observe_test_check_printed").await?;
    let finished = setup.succeed(&["check"]).await?;
    for line in ["configuration\n", "server\n", "Dify\n", "  ok      Dify 1.12 (migration 788d3099ae3a)", "0 errors"] {
        assert!(finished.stdout.contains(line), "{line}:\n{}", finished.stdout);
    }
    assert_eq!(std::fs::read_dir(setup.archive())?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn guards_that_cannot_be_asked_stand_in_the_way() -> anyhow::Result<()> {
    let (_database, setup) = granted(&Schema::load("1.12.1")?, "dify_observe_test_check_guarded").await?;
    let setup = setup.with("JANITOR__WAIT_FOR", "http://127.0.0.1:1");
    let (code, report) = report(&setup).await?;
    assert_eq!(code, Some(75), "{report:#}");
    let guard = messages(&report, "guard");
    assert!(guard.len() == 1 && guard[0].starts_with("error: http://127.0.0.1:1"), "{guard:?}");
    Ok(())
}

#[tokio::test]
async fn a_pace_without_limit_and_an_archive_of_nothing_are_warned_of() -> anyhow::Result<()> {
    let (_database, setup) = granted(&Schema::load("1.12.1")?, "dify_observe_test_check_warned").await?;
    let setup = setup.with("JANITOR__PACE", "0").with("JANITOR__ARCHIVE__URL", "none");
    let (code, report) = report(&setup).await?;
    assert_eq!(code, Some(0), "{report:#}");
    let warned: Vec<String> = messages(&report, "configuration").into_iter().filter(|line| line.starts_with("warning")).collect();
    assert!(
        warned.iter().any(|line| line.contains("janitor.pace = 0")) && warned.iter().any(|line| line.contains("\"none\"")),
        "{warned:?}"
    );
    Ok(())
}
