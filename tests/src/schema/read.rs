//! Reading the schema of a live database: how a new Dify version gets its file.

use anyhow::Context;
use sqlx::PgConnection;

use super::{Column, Index, Key, Schema, Table};

const COLUMNS: &str = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  pg_get_expr(d.adbin, d.adrelid), a.attgenerated::text <> ''
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relname, a.attnum";

const KEYS: &str = "SELECT r.relname::text, k.conname::text, k.contype::text, pg_get_constraintdef(k.oid),
  array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(number, place)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place)
FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid
WHERE k.connamespace = 'public'::regnamespace AND k.contype IN ('p', 'u', 'f')
ORDER BY r.relname, k.conname";

const INDEXES: &str = "SELECT t.relname::text, i.relname::text, x.indisunique, pg_get_indexdef(x.indexrelid)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relnamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))
ORDER BY t.relname, i.relname";

const EXTENSIONS: &str = "SELECT extname::text FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1";

const FUNCTIONS: &str = "SELECT p.proname || '(' || oidvectortypes(p.proargtypes) || ') returns ' || format_type(p.prorettype, NULL)
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1";

const SEQUENCES: &str = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' ORDER BY 1";

impl Schema {
    /// Reads the schema `public` of a database that Dify's own migrations made.
    pub async fn read(connection: &mut PgConnection, version: &str) -> anyhow::Result<Self> {
        let alembic = sqlx::query_scalar("SELECT version_num::text FROM alembic_version")
            .fetch_one(&mut *connection)
            .await
            .context("this is not a database of Dify: it has no alembic_version")?;
        let mut schema = Self {
            version: version.to_owned(),
            alembic,
            extensions: sqlx::query_scalar(EXTENSIONS).fetch_all(&mut *connection).await?,
            functions: sqlx::query_scalar(FUNCTIONS).fetch_all(&mut *connection).await?,
            sequences: sqlx::query_scalar(SEQUENCES).fetch_all(&mut *connection).await?,
            tables: Default::default(),
            mutations: Vec::new(),
        };
        schema.read_columns(connection).await?;
        schema.read_keys(connection).await?;
        schema.read_indexes(connection).await?;
        Ok(schema)
    }

    async fn read_columns(&mut self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let rows: Vec<(String, String, String, bool, Option<String>, bool)> = sqlx::query_as(COLUMNS).fetch_all(connection).await?;
        for (table, name, sql_type, not_null, default, generated) in rows {
            // PostgreSQL breaks the expressions of generated columns into lines.
            let default = default.map(|text| if generated { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text });
            self.tables.entry(table).or_default().columns.push(Column { name, sql_type, not_null, default, generated });
        }
        Ok(())
    }

    async fn read_keys(&mut self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let rows: Vec<(String, String, String, String, Vec<String>)> = sqlx::query_as(KEYS).fetch_all(connection).await?;
        for (table, name, kind, definition, columns) in rows {
            let table: &mut Table = self.tables.entry(table).or_default();
            match kind.as_str() {
                "p" => table.primary_key = Some(Key { name, columns }),
                "u" => table.unique.push(Key { name, columns }),
                _ => table.foreign_keys.push((name, definition)),
            }
        }
        Ok(())
    }

    async fn read_indexes(&mut self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let rows: Vec<(String, String, bool, String)> = sqlx::query_as(INDEXES).fetch_all(connection).await?;
        for (table, name, unique, text) in rows {
            let (_, definition) = text.split_once(" USING ").with_context(|| format!("an index without USING: {text}"))?;
            self.tables.entry(table).or_default().indexes.push(Index { name, unique, definition: definition.to_owned() });
        }
        Ok(())
    }
}
