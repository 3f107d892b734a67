//! What can be asked here, and if not, why not.

use std::fmt;

use crate::dify::ddl::grant;
use crate::dify::schema::Schema;

/// A group of figures that is read by one statement, or by a few that stand or fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Sizes and row estimates of tables.
    Tables,
    /// Times of the oldest rows.
    OldestRows,
    /// Connections and transactions of the server.
    Sessions,
    /// The server's counters and the size of the database.
    Activity,
    /// Documents by state, and how long their indexing took.
    Documents,
    /// Bytes of uploaded files.
    Uploads,
    /// Triggers whose run has not begun.
    Triggers,
    /// Schedules that should have fired.
    Schedules,
    /// What people thought of answers.
    Feedbacks,
    /// Names, modes and tags of apps.
    Apps,
    /// Names of data sets.
    Datasets,
}

/// Why a subject is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Off {
    /// Dify of this version has no such table or column.
    Missing {
        /// Table name.
        table: &'static str,
        /// Column name, where the table is there.
        column: Option<&'static str>,
    },
    /// Our role may not read it.
    NotReadable {
        /// Table name.
        table: &'static str,
        /// The columns that are needed and may not be read.
        columns: Vec<&'static str>,
    },
    /// Reading it whole would cost too much.
    TooManyRows {
        /// Table name.
        table: &'static str,
        /// The planner's estimate.
        rows: i64,
        /// `exporter.slow_max_rows`
        limit: u64,
    },
}

impl Subject {
    /// All of them.
    pub const ALL: [Subject; 11] = [
        Subject::Tables,
        Subject::OldestRows,
        Subject::Sessions,
        Subject::Activity,
        Subject::Documents,
        Subject::Uploads,
        Subject::Triggers,
        Subject::Schedules,
        Subject::Feedbacks,
        Subject::Apps,
        Subject::Datasets,
    ];

    /// A fixed word for labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Tables => "tables",
            Subject::OldestRows => "oldest_rows",
            Subject::Sessions => "sessions",
            Subject::Activity => "activity",
            Subject::Documents => "documents",
            Subject::Uploads => "uploads",
            Subject::Triggers => "triggers",
            Subject::Schedules => "schedules",
            Subject::Feedbacks => "feedbacks",
            Subject::Apps => "apps",
            Subject::Datasets => "datasets",
        }
    }

    /// The table that is read, with the columns it must have; `None` for what lives in the catalogue.
    pub const fn reads(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Subject::Tables | Subject::OldestRows | Subject::Sessions | Subject::Activity => None,
            Subject::Documents => {
                Some(("documents", &["id", "dataset_id", "indexing_status", "processing_started_at", "completed_at", "indexing_latency"]))
            }
            Subject::Uploads => Some(("upload_files", &["size", "created_by_role"])),
            Subject::Triggers => Some(("workflow_trigger_logs", &["app_id", "trigger_type", "status", "created_at"])),
            Subject::Schedules => Some(("workflow_schedule_plans", &["app_id", "next_run_at"])),
            Subject::Feedbacks => {
                Some(("message_feedbacks", &["id", "app_id", "message_id", "rating", "from_source", "created_at", "updated_at"]))
            }
            Subject::Apps => Some(("apps", &["id", "tenant_id", "name", "mode", "status"])),
            Subject::Datasets => Some(("datasets", &["id", "tenant_id", "name"])),
        }
    }

    /// Whether the whole table is read. The others lean on an index, so their table may grow.
    const fn reads_everything(self) -> bool {
        !matches!(self, Subject::Triggers | Subject::Schedules)
    }

    /// Whether the subject can be asked for here: everything is there, may be read, and is small enough.
    pub fn gate(self, schema: &Schema, max_rows: u64) -> Result<(), Off> {
        let Some((name, columns)) = self.reads() else { return Ok(()) };
        let Some(table) = schema.table(name) else { return Err(Off::Missing { table: name, column: None }) };
        if let Some(column) = columns.iter().find(|column| !table.columns.contains_key(**column)) {
            return Err(Off::Missing { table: name, column: Some(column) });
        }
        let refused: Vec<_> = columns.iter().copied().filter(|column| !schema.can_read(name, column)).collect();
        if !refused.is_empty() {
            return Err(Off::NotReadable { table: name, columns: refused });
        }
        match table.rows_estimate {
            Some(rows) if self.reads_everything() && rows.unsigned_abs() > max_rows => {
                Err(Off::TooManyRows { table: name, rows, limit: max_rows })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Off {
    /// The statement or setting that would switch the subject on; `None` where only another Dify can.
    pub fn mend(&self, role: &str) -> Option<String> {
        match self {
            Off::Missing { .. } => None,
            Off::NotReadable { table, columns } => Some(grant("SELECT", columns, table, role)),
            Off::TooManyRows { rows, .. } => Some(format!("exporter.slow_max_rows = {}", (rows / 100_000 + 1) * 100_000)),
        }
    }
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Off::Missing { table, column: None } => write!(f, "this Dify has no table {table}"),
            Off::Missing { table, column: Some(column) } => write!(f, "this Dify has no column {table}.{column}"),
            Off::NotReadable { table, columns } => write!(f, "the role may not read {} of {table}", columns.join(", ")),
            Off::TooManyRows { table, rows, limit } => {
                write!(f, "{table} has about {rows} rows, more than exporter.slow_max_rows = {limit}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_says_how_to_mend_it() {
        let off = Off::NotReadable { table: "documents", columns: vec!["id", "completed_at"] };
        assert_eq!(off.mend("dify_exporter").as_deref(), Some("GRANT SELECT (id, completed_at) ON documents TO dify_exporter;"));
        let off = Off::TooManyRows { table: "documents", rows: 730_000, limit: 500_000 };
        assert_eq!(off.mend("x").as_deref(), Some("exporter.slow_max_rows = 800000"));
        assert_eq!(Off::Missing { table: "documents", column: None }.mend("x"), None);
    }

    #[test]
    fn nothing_is_on_in_an_empty_schema_but_the_servers_own_figures() {
        let on = Subject::ALL.into_iter().filter(|subject| subject.gate(&Schema::default(), 1).is_ok());
        assert_eq!(on.collect::<Vec<_>>(), [Subject::Tables, Subject::OldestRows, Subject::Sessions, Subject::Activity]);
    }
}
