//! The SQL that creates a schema in an empty database.

use std::fmt::Write as _;

use super::{Column, Schema, Table};

/// `uuid-ossp` belongs to PostgreSQL's contrib modules, which small builds of the server leave out.
const UUID_OSSP: &str = r#"DO $do$ BEGIN
  CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;
EXCEPTION WHEN OTHERS THEN
  CREATE FUNCTION public.uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE AS 'SELECT pg_catalog.gen_random_uuid()';
END $do$;
"#;

/// Forty-eight bits of milliseconds, then version, variant and chance.
const UUIDV7: &str = "CREATE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE AS $fn$
  SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$fn$;
";

/// The smallest version 7 identifier of an instant.
const UUIDV7_BOUNDARY: &str =
    "CREATE FUNCTION public.uuidv7_boundary(timestamp with time zone) RETURNS uuid LANGUAGE sql STABLE STRICT AS $fn$
  SELECT (lpad(to_hex((extract(epoch FROM $1) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
$fn$;
";

impl Schema {
    /// The statements that create the schema in an empty database, to be run as one script.
    pub fn ddl(&self) -> String {
        let mut sql = String::new();
        if self.extensions.iter().any(|extension| extension == "uuid-ossp") {
            sql.push_str(UUID_OSSP);
        }
        for function in &self.functions {
            sql.push_str(if function.starts_with("uuidv7_boundary(") { UUIDV7_BOUNDARY } else { UUIDV7 });
        }
        for sequence in &self.sequences {
            line(&mut sql, &format!("CREATE SEQUENCE public.{}", quoted(sequence)));
        }
        for (name, table) in &self.tables {
            line(&mut sql, &create_table(name, table));
        }
        for (name, table) in &self.tables {
            for index in &table.indexes {
                let unique = if index.unique { "UNIQUE " } else { "" };
                line(
                    &mut sql,
                    &format!("CREATE {unique}INDEX {} ON public.{} USING {}", quoted(&index.name), quoted(name), index.definition),
                );
            }
            for (constraint, definition) in &table.foreign_keys {
                line(&mut sql, &format!("ALTER TABLE public.{} ADD CONSTRAINT {} {definition}", quoted(name), quoted(constraint)));
            }
        }
        line(&mut sql, &format!("INSERT INTO public.alembic_version (version_num) VALUES ('{}')", self.alembic.replace('\'', "''")));
        sql
    }
}

fn create_table(name: &str, table: &Table) -> String {
    let mut parts: Vec<String> = table.columns.iter().map(create_column).collect();
    let columns = |columns: &[String]| columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
    if let Some(key) = &table.primary_key {
        parts.push(format!("CONSTRAINT {} PRIMARY KEY ({})", quoted(&key.name), columns(&key.columns)));
    }
    for key in &table.unique {
        parts.push(format!("CONSTRAINT {} UNIQUE ({})", quoted(&key.name), columns(&key.columns)));
    }
    format!("CREATE TABLE public.{} (\n  {}\n)", quoted(name), parts.join(",\n  "))
}

fn create_column(column: &Column) -> String {
    let mut sql = format!("{} {}", quoted(&column.name), column.sql_type);
    if let Some(default) = &column.default {
        let result =
            if column.generated { write!(sql, " GENERATED ALWAYS AS ({default}) STORED") } else { write!(sql, " DEFAULT {default}") };
        result.expect("writing to a string does not fail");
    }
    if column.not_null {
        sql.push_str(" NOT NULL");
    }
    sql
}

/// An SQL identifier in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn line(sql: &mut String, statement: &str) {
    sql.push_str(statement);
    sql.push_str(";\n");
}
