//! Metrics to a real Pushgateway.

use std::process::Command;

use dify_janitor::push::{PushError, publish};
use dify_observe_core::settings::JanitorSettings;
use dify_observe_tests::children::{find_program, free_port};
use dify_observe_tests::process::{Process, http_client};

#[tokio::test]
async fn a_pushgateway_keeps_the_metrics_of_the_last_run() -> anyhow::Result<()> {
    let program = find_program("prometheus-pushgateway", "prometheus-pushgateway")?;
    let url = format!("http://127.0.0.1:{}", free_port()?);
    let mut command = Command::new(program);
    command.arg(format!("--web.listen-address={}", url.trim_start_matches("http://")));
    let mut gateway = Process::start(&mut command, tempfile::tempdir()?)?;
    gateway.wait_for_http(&format!("{url}/-/ready")).await?;
    let settings =
        JanitorSettings { pushgateway_url: Some(url.clone()), pushgateway_job: "dify/janitor".to_owned(), ..JanitorSettings::default() };
    let page = |rows: u32, more: &str| {
        format!("# TYPE dify_janitor_rows_deleted_total counter\ndify_janitor_rows_deleted_total{{table=\"messages\"}} {rows}\n{more}")
    };
    for text in [page(1, "# TYPE dify_janitor_gone gauge\ndify_janitor_gone 1\n"), page(2, "")] {
        let errors = publish(&settings, &text).await;
        assert!(errors.is_empty(), "{errors:?}");
    }
    let shown = http_client()?.get(format!("{url}/metrics")).send().await?.text().await?;
    let line = shown.lines().find(|line| line.starts_with("dify_janitor_rows_deleted_total{")).unwrap_or_default();
    assert!(line.contains("job=\"dify/janitor\"") && line.ends_with(" 2"), "{shown}");
    assert!(!shown.contains("dify_janitor_gone"), "a run replaces what the one before said: {shown}");
    let errors = publish(&settings, "not { a page").await;
    assert!(matches!(errors.as_slice(), [PushError::Refused { status: 400, .. }]), "{errors:?}");
    Ok(())
}
