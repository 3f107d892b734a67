//! What the exporter's counters must be, by plain SQL over a database that holds every record ever written in its final
//! state. Written from the definitions in `docs/metrics-semantics.md`, not from the exporter's code.

use std::collections::BTreeMap;
use std::str::FromStr;

use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection, Row};

/// Series by name and labels. Label sets are those that the question names, sorted by name.
pub type Figures = BTreeMap<(String, BTreeMap<String, String>), Decimal>;

/// One figure: a metric, the labels it is asked by, and the SQL that answers with those labels (as text) and `value`.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The series' name as exposed.
    pub metric: &'static str,
    /// The labels that are compared; the exporter's series are summed over all others.
    pub labels: &'static [&'static str],
    /// The statement.
    pub sql: &'static str,
    /// Tables without which there is no such figure.
    pub needs: &'static [&'static str],
    /// Largest difference that rounding of binary fractions explains.
    pub tolerance: f64,
}

/// JSON that strict readers refuse reads as NULL.
const HELPERS: &str = r"
CREATE OR REPLACE FUNCTION pg_temp.j(t text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN t::jsonb; EXCEPTION WHEN others THEN RETURN NULL; END $$;
CREATE OR REPLACE VIEW pg_temp.final_runs AS
SELECT r.*, CASE WHEN status IN ('succeeded', 'failed', 'stopped', 'partial-succeeded') OR (finished_at IS NOT NULL AND status NOT IN ('running', 'paused', 'scheduled'))
  THEN status ELSE 'abandoned' END AS final_status
FROM workflow_runs r WHERE status <> 'paused';
CREATE OR REPLACE VIEW pg_temp.final_nodes AS
SELECT n.*, r.final_status, r.error AS run_error FROM workflow_node_executions n JOIN pg_temp.final_runs r ON r.id = n.workflow_run_id;
CREATE OR REPLACE VIEW pg_temp.model_messages AS
SELECT m.app_id, CASE WHEN t.used THEN t.prompt ELSE m.message_tokens END AS prompt, CASE WHEN t.used THEN t.completion ELSE m.answer_tokens END AS completion,
  CASE WHEN t.used THEN t.price ELSE m.total_price END AS price, CASE WHEN t.used THEN COALESCE(t.currency, m.currency) ELSE m.currency END AS currency
FROM messages m LEFT JOIN LATERAL (
  SELECT sum(message_token) AS prompt, sum(answer_token) AS completion, sum(total_price) AS price, min(currency) AS currency, sum(message_token + answer_token) > 0 AS used
  FROM message_agent_thoughts WHERE message_id = m.id) t ON true
WHERE m.workflow_run_id IS NULL AND (m.model_id IS NOT NULL OR t.used) AND m.status <> 'paused';
";

/// The figures that follow from rows alone.
pub const QUESTIONS: &[Question] = &[
    Question {
        metric: "dify_workflow_runs_total",
        labels: &["app_id", "run_type", "triggered_from", "status"],
        sql: "SELECT app_id::text, type AS run_type, triggered_from, final_status AS status, count(*)::text AS value FROM pg_temp.final_runs GROUP BY 1, 2, 3, 4",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_workflow_run_duration_seconds_count",
        labels: &["app_id", "run_type", "triggered_from", "status"],
        sql: "SELECT app_id::text, type AS run_type, triggered_from, final_status AS status, count(*)::text AS value FROM pg_temp.final_runs WHERE final_status <> 'abandoned' GROUP BY 1, 2, 3, 4",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_workflow_run_duration_seconds_sum",
        labels: &["app_id", "run_type", "triggered_from", "status"],
        sql: "SELECT app_id::text, type AS run_type, triggered_from, final_status AS status, sum(elapsed_time::text::numeric)::text AS value FROM pg_temp.final_runs WHERE final_status <> 'abandoned' GROUP BY 1, 2, 3, 4",
        needs: &[],
        tolerance: 1e-6,
    },
    Question {
        metric: "dify_workflow_runs_started_total",
        labels: &["app_id", "run_type", "triggered_from"],
        sql: "SELECT app_id::text, type AS run_type, triggered_from, count(*)::text AS value FROM workflow_runs GROUP BY 1, 2, 3",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_workflow_run_tokens_total",
        labels: &["app_id"],
        sql: "SELECT app_id::text, sum(total_tokens)::text AS value FROM pg_temp.final_runs GROUP BY 1",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_node_executions_total",
        labels: &["app_id", "node_type"],
        sql: "SELECT app_id::text, node_type, count(*)::text AS value FROM pg_temp.final_nodes n WHERE status <> 'retry' OR NOT EXISTS (SELECT 1 FROM workflow_node_executions o WHERE o.workflow_run_id = n.workflow_run_id AND o.node_id = n.node_id AND o.status <> 'retry') GROUP BY 1, 2",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_messages_total",
        labels: &["app_id", "invoke_from"],
        sql: "SELECT app_id::text, COALESCE(invoke_from, 'unknown') AS invoke_from, count(*)::text AS value FROM messages WHERE status <> 'paused' GROUP BY 1, 2",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_message_response_seconds_sum",
        labels: &["app_id"],
        sql: "SELECT app_id::text, sum(provider_response_latency::text::numeric)::text AS value FROM messages WHERE status <> 'paused' AND provider_response_latency > 0 GROUP BY 1",
        needs: &[],
        tolerance: 1e-6,
    },
    Question {
        metric: "dify_message_tokens_total",
        labels: &["app_id"],
        sql: "SELECT app_id::text, sum(message_tokens + answer_tokens)::text AS value FROM messages WHERE status <> 'paused' GROUP BY 1",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_message_cost_total",
        labels: &["app_id", "currency"],
        sql: "SELECT app_id::text, currency, sum(total_price)::text AS value FROM messages WHERE status <> 'paused' AND total_price <> 0 GROUP BY 1, 2",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_conversations_started_total",
        labels: &["app_id"],
        sql: "SELECT app_id::text, count(DISTINCT conversation_id)::text AS value FROM messages WHERE status <> 'paused' GROUP BY 1",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_trigger_events_total",
        labels: &["app_id", "trigger_type", "status"],
        sql: "SELECT app_id::text, trigger_type, CASE WHEN status IN ('pending', 'queued', 'running', 'retrying') THEN 'abandoned' ELSE status END AS status, count(*)::text AS value FROM workflow_trigger_logs WHERE status <> 'paused' GROUP BY 1, 2, 3",
        needs: &["workflow_trigger_logs"],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_llm_tokens_total",
        labels: &["app_id", "token_type"],
        sql: "WITH used AS (
                SELECT app_id, COALESCE(pg_temp.j(process_data)->'usage', pg_temp.j(outputs)->'usage', pg_temp.j(outputs)->'__usage') AS u FROM pg_temp.final_nodes
                WHERE node_type IN ('llm', 'question-classifier', 'parameter-extractor')
                UNION ALL SELECT app_id, pg_temp.j(outputs)->'usage' FROM pg_temp.final_nodes WHERE node_type = 'agent'),
              flat AS (
                SELECT app_id, 'prompt' AS token_type, (u->>'prompt_tokens')::numeric AS n FROM used UNION ALL SELECT app_id, 'completion', (u->>'completion_tokens')::numeric FROM used
                UNION ALL SELECT app_id, 'prompt', prompt FROM pg_temp.model_messages
                UNION ALL SELECT app_id, 'completion', completion FROM pg_temp.model_messages)
              SELECT app_id::text, token_type, sum(n)::text AS value FROM flat WHERE n > 0 GROUP BY 1, 2",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_llm_cost_total",
        labels: &["app_id", "currency"],
        sql: "WITH used AS (
                SELECT app_id, COALESCE(pg_temp.j(process_data)->'usage', pg_temp.j(outputs)->'usage', pg_temp.j(outputs)->'__usage') AS u FROM pg_temp.final_nodes
                WHERE node_type IN ('llm', 'question-classifier', 'parameter-extractor')
                UNION ALL SELECT app_id, pg_temp.j(outputs)->'usage' FROM pg_temp.final_nodes WHERE node_type = 'agent'),
              flat AS (
                SELECT app_id, u->>'currency' AS currency, (u->>'total_price')::numeric AS n FROM used
                UNION ALL SELECT app_id, currency, price FROM pg_temp.model_messages)
              SELECT app_id::text, currency, sum(n)::text AS value FROM flat WHERE n > 0 GROUP BY 1, 2",
        needs: &[],
        tolerance: 0.0,
    },
    Question {
        metric: "dify_node_duration_seconds_sum",
        labels: &["app_id"],
        sql: "SELECT app_id::text, sum(elapsed_time::text::numeric)::text AS value FROM pg_temp.final_nodes n WHERE status NOT IN ('retry', 'running', 'pending', 'paused') GROUP BY 1",
        needs: &[],
        tolerance: 1e-6,
    },
];

impl Question {
    /// The answer of a database, without zeros.
    pub async fn ask(&self, connection: &mut PgConnection) -> anyhow::Result<Figures> {
        sqlx::raw_sql(HELPERS).execute(&mut *connection).await?;
        let rows = sqlx::query(AssertSqlSafe(self.sql)).fetch_all(connection).await?;
        let mut figures = Figures::new();
        for row in rows {
            let labels = self
                .labels
                .iter()
                .map(|label| Ok(((*label).to_owned(), row.try_get::<Option<String>, _>(*label)?.unwrap_or_default())))
                .collect::<anyhow::Result<_>>()?;
            let value = Decimal::from_str(row.try_get::<&str, _>("value")?)?;
            if !value.is_zero() {
                figures.insert((self.metric.to_owned(), labels), value.normalize());
            }
        }
        Ok(figures)
    }

    /// The same figures out of an answer of the exporter, summed over the labels that are not asked for.
    pub fn read(&self, exposition: &Figures) -> Figures {
        let mut figures = Figures::new();
        for ((name, labels), value) in exposition.iter().filter(|((name, _), value)| name == self.metric && !value.is_zero()) {
            let labels = self.labels.iter().map(|label| ((*label).to_owned(), labels.get(*label).cloned().unwrap_or_default())).collect();
            *figures.entry((name.clone(), labels)).or_default() += *value;
        }
        figures.into_iter().map(|(series, value)| (series, value.normalize())).collect()
    }

    /// What differs, in words; empty when nothing does.
    pub fn differences(&self, truth: &Figures, exported: &Figures) -> Vec<String> {
        let tolerance = Decimal::try_from(self.tolerance).unwrap_or_default();
        let series: std::collections::BTreeSet<_> = truth.keys().chain(exported.keys()).collect();
        let value = |figures: &Figures, key| figures.get(key).copied().unwrap_or_default();
        series
            .into_iter()
            .filter(|key| (value(truth, key) - value(exported, key)).abs() > tolerance)
            .map(|key| format!("{} {:?}: SQL says {}, exported is {}", key.0, key.1, value(truth, key), value(exported, key)))
            .collect()
    }
}

/// Parses an answer in the text formats: every series with its value. Exemplars and comments are left out.
pub fn parse_exposition(text: &str) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, labels, rest) = match line.split_once('{') {
            Some((name, rest)) => {
                let (labels, rest) = parse_labels(rest)?;
                (name, labels, rest)
            }
            None => {
                let (name, rest) = line.split_once(' ').ok_or_else(|| anyhow::anyhow!("no value: {line}"))?;
                (name, BTreeMap::new(), rest)
            }
        };
        let value = rest.split_whitespace().next().ok_or_else(|| anyhow::anyhow!("no value: {line}"))?;
        let number = Decimal::from_str(value).or_else(|_| Decimal::from_scientific(value));
        if let Ok(number) = number {
            anyhow::ensure!(figures.insert((name.to_owned(), labels), number).is_none(), "twice: {line}");
        }
    }
    Ok(figures)
}

fn parse_labels(text: &str) -> anyhow::Result<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        if let Some(end) = rest.strip_prefix('}') {
            return Ok((labels, end));
        }
        let (name, value) = rest.split_once("=\"").ok_or_else(|| anyhow::anyhow!("labels do not end: {text}"))?;
        let mut unescaped = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => match characters.next() {
                    Some((_, 'n')) => unescaped.push('\n'),
                    Some((_, other)) => unescaped.push(other),
                    None => anyhow::bail!("labels do not end: {text}"),
                },
                Some((_, other)) => unescaped.push(other),
                None => anyhow::bail!("labels do not end: {text}"),
            }
        };
        labels.insert(name.to_owned(), unescaped);
        rest = value[end + 1..].trim_start_matches(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_with_escapes_and_exemplars() {
        let figures = parse_exposition(
            "# HELP a x\na_total{x=\"q\\\"}\\\\\",y=\"\"} 1.5 # {trace_id=\"0\"} 1\nb 2\nc_bucket{le=\"+Inf\"} 3\nn NaN\n",
        )
        .unwrap();
        assert_eq!(figures.len(), 3);
        let key = ("a_total".to_owned(), [("x".to_owned(), "q\"}\\".to_owned()), ("y".to_owned(), String::new())].into());
        assert_eq!(figures[&key], Decimal::from_str("1.5").unwrap());
    }
}
