//! Every row of every table, so that two moments of a database can be compared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::schema::quoted;

/// Primary keys by table.
pub type Keys = BTreeMap<String, BTreeSet<String>>;

/// Key and content of every row of every table. The content is the hash of the row as PostgreSQL writes it, all columns of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Hashes by key, by table.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
}

impl Snapshot {
    /// Reads the whole database in one transaction, so that it is one moment.
    pub async fn take(connection: &mut PgConnection) -> anyhow::Result<Self> {
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL extra_float_digits = 3")
            .execute(&mut *connection)
            .await?;
        let taken = Self::read(connection).await;
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        taken
    }

    async fn read(connection: &mut PgConnection) -> anyhow::Result<Self> {
        let mut tables = BTreeMap::new();
        for (table, key) in keys(connection).await? {
            let sql = format!("SELECT {key}, md5(t::text) FROM public.{} t", quoted(&table));
            let rows: Vec<(String, String)> =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut *connection).await.with_context(|| format!("failed to read {table}"))?;
            tables.insert(table, rows.into_iter().collect());
        }
        Ok(Self { tables })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.tables.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that are in this snapshot and not in the later one.
    pub fn gone_in(&self, later: &Self) -> Keys {
        let none = BTreeMap::new();
        let gone = self.tables.iter().map(|(table, rows)| {
            let left = later.tables.get(table).unwrap_or(&none);
            (table.clone(), rows.keys().filter(|key| !left.contains_key(*key)).cloned().collect::<BTreeSet<_>>())
        });
        gone.filter(|(_, keys)| !keys.is_empty()).collect()
    }

    /// What is in the later snapshot and was not the same here: new or changed rows, one line each.
    pub fn news_in(&self, later: &Self) -> Vec<String> {
        let none = BTreeMap::new();
        let mut news = Vec::new();
        for (table, rows) in &later.tables {
            let before = self.tables.get(table).unwrap_or(&none);
            for (key, hash) in rows {
                match before.get(key) {
                    None => news.push(format!("{table} {key} is new")),
                    Some(old) if old != hash => news.push(format!("{table} {key} was changed")),
                    Some(_) => {}
                }
            }
        }
        news
    }

    /// Everything in which two moments differ, one line a row.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let gone = self.gone_in(later);
        let gone = gone.iter().flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table} {key} is gone")));
        gone.chain(self.news_in(later)).collect()
    }
}

/// Tables with the SQL that makes a text of their primary key; of the whole row where there is none.
async fn keys(connection: &mut PgConnection) -> anyhow::Result<Vec<(String, String)>> {
    let rows: Vec<(String, Vec<String>)> = sqlx::query_as(
        "SELECT c.relname::text, array(SELECT a.attname::text FROM pg_constraint k, unnest(k.conkey) WITH ORDINALITY u(number, place)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.number
           WHERE k.conrelid = c.oid AND k.contype = 'p' AND k.conkey IS NOT NULL ORDER BY u.place)
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .context("failed to list the tables")?;
    let text = |columns: &[String]| match columns {
        [] => "md5(t::text)".to_owned(),
        columns => {
            let parts: Vec<String> = columns.iter().map(|column| format!("t.{}::text", quoted(column))).collect();
            format!("concat_ws('/', {})", parts.join(", "))
        }
    };
    Ok(rows.into_iter().map(|(table, columns)| (table, text(&columns))).collect())
}
