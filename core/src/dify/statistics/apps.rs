//! Facts about apps and data sets.

use sqlx::Row;
use uuid::Uuid;

use crate::dify::records::Word;
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, query};

/// An app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFacts {
    /// `apps.id`
    pub id: Uuid,
    /// `apps.tenant_id`
    pub tenant_id: Uuid,
    /// `apps.name`
    pub name: Word,
    /// `apps.mode`
    pub mode: Word,
    /// `apps.status`
    pub status: Word,
    /// Names of its tags, sorted, with commas between; empty where they may not be read.
    pub tags: Word,
}

/// All apps, at most 20,000.
pub async fn app_facts(tx: &mut ReadTx, schema: &Schema) -> Result<Vec<AppFacts>, DatabaseError> {
    let tags = schema.can_read_all("tags", &["id", "type", "name"]) && schema.can_read_all("tag_bindings", &["tag_id", "target_id"]);
    let text = if tags { include_str!("../queries/statistics_apps_with_tags.sql") } else { include_str!("../queries/statistics_apps.sql") };
    let mut apps = Vec::new();
    for row in tx.fetch_all(query(text)).await? {
        apps.push(AppFacts {
            id: row.try_get("id")?,
            tenant_id: row.try_get("tenant_id")?,
            name: row.try_get::<String, _>("name")?.into(),
            mode: row.try_get::<String, _>("mode")?.into(),
            status: row.try_get::<String, _>("status")?.into(),
            tags: row.try_get::<String, _>("tags")?.into(),
        });
    }
    Ok(apps)
}

/// A knowledge base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetFacts {
    /// `datasets.id`
    pub id: Uuid,
    /// `datasets.tenant_id`
    pub tenant_id: Uuid,
    /// `datasets.name`
    pub name: Word,
}

/// All data sets, at most 20,000.
pub async fn dataset_facts(tx: &mut ReadTx) -> Result<Vec<DatasetFacts>, DatabaseError> {
    let mut datasets = Vec::new();
    for row in tx.fetch_all(query(include_str!("../queries/statistics_datasets.sql"))).await? {
        datasets.push(DatasetFacts {
            id: row.try_get("id")?,
            tenant_id: row.try_get("tenant_id")?,
            name: row.try_get::<String, _>("name")?.into(),
        });
    }
    Ok(datasets)
}
