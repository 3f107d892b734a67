//! What policies ask about apps.

use std::collections::BTreeSet;

use sqlx::Row as _;
use uuid::Uuid;

use crate::dify::retention::Root;
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, Query, ReadTx, query};
use crate::dify::time::Micros;

/// Those of `names` that an app bears.
pub async fn known_app_names(tx: &mut ReadTx, names: &[String]) -> Result<BTreeSet<String>, DatabaseError> {
    texts(tx, query(include_str!("../../queries/retention_app_names.sql")).bind(names)).await
}

/// Those of `names` that a tag for apps bears. `None`: the role may not read tags, or this Dify has none.
pub async fn known_tags(tx: &mut ReadTx, schema: &Schema, names: &[String]) -> Result<Option<BTreeSet<String>>, DatabaseError> {
    let readable = schema.can_read_all("tags", &["id", "type", "name"]) && schema.can_read_all("tag_bindings", &["tag_id", "target_id"]);
    if !readable {
        return Ok(None);
    }
    texts(tx, query(include_str!("../../queries/retention_tag_names.sql")).bind(names)).await.map(Some)
}

/// The ids of the apps that bear one of `names`.
pub async fn apps_named(tx: &mut ReadTx, names: &[String]) -> Result<Vec<Uuid>, DatabaseError> {
    let rows = tx.fetch_all(query(include_str!("../../queries/retention_app_ids.sql")).bind(names)).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// When the last of the newest `count` runs (with one of `statuses`, if any are given) or conversations of an app began; `None` if it
/// has fewer.
pub async fn newest(
    tx: &mut ReadTx,
    root: Root,
    tenant_id: Uuid,
    app_id: Uuid,
    count: u32,
    statuses: &[String],
) -> Result<Option<Micros>, DatabaseError> {
    let skip = i64::from(count) - 1;
    let statement = match root {
        Root::Run => query(include_str!("../../queries/retention_newest_runs.sql")).bind(tenant_id).bind(app_id).bind(statuses).bind(skip),
        Root::Conversation => query(include_str!("../../queries/retention_newest_conversations.sql")).bind(app_id).bind(skip),
    };
    Ok(tx.fetch_optional(statement).await?.map(|row| row.try_get("created_at")).transpose()?)
}

async fn texts(tx: &mut ReadTx, statement: Query<'_>) -> Result<BTreeSet<String>, DatabaseError> {
    tx.fetch_all(statement).await?.iter().map(|row| Ok(row.try_get("name")?)).collect()
}
