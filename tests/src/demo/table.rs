//! The last hour by app, as Prometheus has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::prometheus::Prometheus;

/// Rows shown.
const MOST: usize = 12;

/// Runs of the editor are left out everywhere, as in the success rate.
const REAL: &str = r#"triggered_from!~"debugging|rag-pipeline-debugging""#;

type ByApp = BTreeMap<String, f64>;

/// Runs, success rate, 95th percentile, tokens and cost of each app.
pub(super) async fn last_hour(prometheus: &Prometheus) -> anyhow::Result<String> {
    let runs = by_app(prometheus, &format!("sum by (app) (increase(dify_workflow_runs_total{{{REAL}}}[1h])) > 0.5")).await?;
    let success = by_app(prometheus, "max by (app) (app:dify_workflow_success:ratio1h)").await?;
    let p95 = format!("histogram_quantile(0.95, sum by (app, le) (increase(dify_workflow_run_duration_seconds_bucket{{{REAL}}}[1h])))");
    let p95 = by_app(prometheus, &p95).await?;
    let tokens = by_app(prometheus, "sum by (app) (increase(dify_workflow_run_tokens_total[1h]))").await?;
    let cost = by_app(prometheus, r#"sum by (app) (increase(dify_llm_cost_total{currency="USD"}[1h]))"#).await?;
    let mut text = format!("  {:<34} {:>7} {:>9} {:>9} {:>10} {:>11}\n", "app", "runs", "success", "p95", "tokens", "cost (USD)");
    let mut apps: Vec<(&String, &f64)> = runs.iter().collect();
    apps.sort_by(|a, b| b.1.total_cmp(a.1));
    for (app, runs) in apps.iter().take(MOST) {
        let shown = [
            cell(&success, app, |value| format!("{:.1} %", 100.0 * value)),
            cell(&p95, app, |value| format!("{value:.1} s")),
            cell(&tokens, app, |value| format!("{value:.0}")),
            cell(&cost, app, |value| format!("{value:.4}")),
        ];
        let [success, p95, tokens, cost] = shown;
        let name = shortened(app, 34);
        writeln!(text, "  {name:<34} {runs:>7.0} {success:>9} {p95:>9} {tokens:>10} {cost:>11}")?;
    }
    if apps.len() > MOST {
        writeln!(text, "  … and {} apps more", apps.len() - MOST)?;
    }
    Ok(text)
}

async fn by_app(prometheus: &Prometheus, promql: &str) -> anyhow::Result<ByApp> {
    let rows = prometheus.query(promql).await?;
    Ok(rows.into_iter().map(|(labels, value)| (labels.get("app").cloned().unwrap_or_default(), value)).collect())
}

/// What is not known, because nothing of it happened, is a dash.
fn cell(values: &ByApp, app: &str, write: impl Fn(f64) -> String) -> String {
    values.get(app).copied().filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), write)
}

/// At most `length` characters of a text.
pub(super) fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length { text.to_owned() } else { text.chars().take(length - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_end_in_an_ellipsis() {
        assert_eq!(shortened("客服助手", 4), "客服助手");
        assert_eq!(shortened("客服助手五", 4), "客服助…");
    }

    #[test]
    fn what_did_not_happen_is_a_dash() {
        let values = ByApp::from([("a".to_owned(), 0.5), ("b".to_owned(), f64::NAN)]);
        assert_eq!(["a", "b", "c"].map(|app| cell(&values, app, |value| value.to_string())), ["0.5", "–", "–"]);
    }
}
