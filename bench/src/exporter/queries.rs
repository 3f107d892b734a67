//! The six queries that a user would give to a generic exporter: totals over whole tables, as nothing else is possible there.

/// One query of the peers.
#[derive(Debug)]
pub(crate) struct PeerQuery {
    /// The name of the metric.
    pub(crate) name: &'static str,
    /// Columns that become labels.
    pub(crate) labels: &'static [&'static str],
    /// Columns that become values.
    pub(crate) values: &'static [&'static str],
    /// The statement; its first line is a comment that names it in `pg_stat_statements`.
    pub(crate) sql: &'static str,
}

/// All six.
pub(crate) const ALL: [PeerQuery; 6] = [
    PeerQuery {
        name: "dify_runs",
        labels: &["app_id", "status", "type"],
        values: &["total"],
        sql: "-- runs by app, status, type
SELECT app_id::text AS app_id, status, type, count(*) AS total
FROM workflow_runs
GROUP BY 1, 2, 3",
    },
    PeerQuery {
        name: "dify_run_duration",
        labels: &["app_id"],
        values: &["le_0_5", "le_1", "le_2_5", "le_5", "le_10", "le_30", "le_60", "le_300", "total", "seconds"],
        sql: "-- runs: histogram of durations by app
SELECT app_id::text AS app_id,
  count(*) FILTER (WHERE elapsed_time <= 0.5) AS le_0_5,
  count(*) FILTER (WHERE elapsed_time <= 1) AS le_1,
  count(*) FILTER (WHERE elapsed_time <= 2.5) AS le_2_5,
  count(*) FILTER (WHERE elapsed_time <= 5) AS le_5,
  count(*) FILTER (WHERE elapsed_time <= 10) AS le_10,
  count(*) FILTER (WHERE elapsed_time <= 30) AS le_30,
  count(*) FILTER (WHERE elapsed_time <= 60) AS le_60,
  count(*) FILTER (WHERE elapsed_time <= 300) AS le_300,
  count(*) AS total, coalesce(sum(elapsed_time), 0)::float8 AS seconds
FROM workflow_runs
WHERE status <> 'running'
GROUP BY 1",
    },
    PeerQuery {
        name: "dify_nodes",
        labels: &["node_type", "status"],
        values: &["total", "seconds"],
        sql: "-- nodes by type, status
SELECT node_type, status, count(*) AS total, coalesce(sum(elapsed_time), 0)::float8 AS seconds
FROM workflow_node_executions
GROUP BY 1, 2",
    },
    PeerQuery {
        name: "dify_app_nodes",
        labels: &["app_id", "node_type", "status"],
        values: &["total", "seconds"],
        sql: "-- nodes by app, type, status
SELECT app_id::text AS app_id, node_type, status, count(*) AS total, coalesce(sum(elapsed_time), 0)::float8 AS seconds
FROM workflow_node_executions
GROUP BY 1, 2, 3",
    },
    PeerQuery {
        name: "dify_llm",
        labels: &["app_id", "currency"],
        values: &["tokens", "price"],
        sql: "-- LLM tokens and price out of execution_metadata
SELECT app_id::text AS app_id, coalesce(execution_metadata::json ->> 'currency', '') AS currency,
  coalesce(sum((execution_metadata::json ->> 'total_tokens')::bigint), 0)::float8 AS tokens,
  coalesce(sum((execution_metadata::json ->> 'total_price')::numeric), 0)::float8 AS price
FROM workflow_node_executions
WHERE node_type = 'llm' AND execution_metadata IS NOT NULL
GROUP BY 1, 2",
    },
    PeerQuery {
        name: "dify_messages",
        labels: &["app_id", "status"],
        values: &["total"],
        sql: "-- messages by app, status
SELECT app_id::text AS app_id, status, count(*) AS total
FROM messages
GROUP BY 1, 2",
    },
];

/// The configuration of prometheus-sql-exporter (justwatch).
pub(crate) fn sql_exporter_configuration(url: &str, interval: std::time::Duration) -> String {
    let mut text = format!(
        "jobs:\n- name: dify\n  interval: '{}s'\n  connections: ['{url}?sslmode=disable']\n  queries:\n",
        interval.as_secs().max(1)
    );
    for query in &ALL {
        text.push_str(&format!(
            "  - name: {}\n    help: {}\n    labels: {:?}\n    values: {:?}\n    query: |\n{}\n",
            query.name,
            query.name,
            query.labels,
            query.values,
            indented(query.sql, 6)
        ));
    }
    text
}

/// The custom queries of prometheus-postgres-exporter.
pub(crate) fn postgres_exporter_queries() -> String {
    let mut text = String::new();
    for query in &ALL {
        text.push_str(&format!("{}:\n  query: |\n{}\n  metrics:\n", query.name, indented(query.sql, 4)));
        let columns = query.labels.iter().map(|name| (name, "LABEL")).chain(query.values.iter().map(|name| (name, "GAUGE")));
        for (name, usage) in columns {
            text.push_str(&format!("  - {name}: {{usage: {usage}, description: {name}}}\n"));
        }
    }
    text
}

fn indented(text: &str, spaces: usize) -> String {
    text.lines().map(|line| format!("{:spaces$}{line}", "")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_of_a_query_is_named_in_its_statement() {
        for query in &ALL {
            for column in query.labels.iter().chain(query.values) {
                assert!(query.sql.contains(column), "{column} of {}", query.name);
            }
            assert!(query.sql.starts_with("-- "), "{}", query.name);
        }
    }

    #[test]
    fn statements_stand_in_the_configurations_line_by_line() {
        let configuration = sql_exporter_configuration("postgres://a@b/c", std::time::Duration::from_secs(15));
        assert!(configuration.contains("    query: |\n      -- runs by app, status, type\n      SELECT app_id"));
        assert!(postgres_exporter_queries().contains("  - status: {usage: LABEL, description: status}\n"));
    }
}
