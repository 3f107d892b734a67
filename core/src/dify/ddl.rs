//! Statements that we print for people to run, and never run ourselves.

/// A name as SQL wants it: plain where it can be, else in double quotes.
pub fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What the names of our indexes begin with, so that they collide with none of Dify's migrations.
pub const INDEX_PREFIX: &str = "dify_observe_";

/// PostgreSQL cuts longer names, and then two could be one.
const LONGEST_NAME: usize = 63;

/// Builds an index without locking anybody out; a parallel build would take a second core from the database.
pub fn create_index(table: &str, columns: &[&str]) -> String {
    let mut name = format!("{INDEX_PREFIX}{table}_{}", columns.join("_"));
    name.truncate(LONGEST_NAME);
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    format!(
        "SET max_parallel_maintenance_workers = 0;\nCREATE INDEX CONCURRENTLY {} ON {} ({});",
        quoted(&name),
        quoted(table),
        columns.join(", ")
    )
}

/// Gives `role` a right on columns of a table, or on the whole table where none are named.
pub fn grant(right: &str, columns: &[&str], table: &str, role: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    format!("GRANT {right}{columns} ON {} TO {};", quoted(table), quoted(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(quoted("dify_exporter"), "dify_exporter");
        assert_eq!(quoted("Dify exporter"), "\"Dify exporter\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn an_index_has_a_name_of_ours_that_is_not_cut() {
        let statement = create_index("workflow_node_executions", &["tenant_id", "workflow_run_id", "created_at"]);
        let name = statement.split_whitespace().find(|word| word.starts_with(INDEX_PREFIX)).unwrap();
        assert!(name.len() <= LONGEST_NAME && name.starts_with("dify_observe_workflow_node_executions_"), "{statement}");
        assert!(statement.ends_with("ON workflow_node_executions (tenant_id, workflow_run_id, created_at);"), "{statement}");
    }

    #[test]
    fn a_grant_names_columns_or_the_whole_table() {
        assert_eq!(grant("SELECT", &["id", "index"], "t", "r"), "GRANT SELECT (id, index) ON t TO r;");
        assert_eq!(grant("DELETE", &[], "t", "My role"), "GRANT DELETE ON t TO \"My role\";");
    }
}
