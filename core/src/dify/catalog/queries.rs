//! The statements behind the catalogue. All of them go by primary key, or by an index on what they ask for.

use std::collections::HashMap;

use sqlx::Row;
use uuid::Uuid;

use super::{App, Dataset, EndUser};
use crate::dify::records::Word;
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, query};

/// How many ids one statement asks for.
pub(super) const PAGE: usize = 500;
/// A canvas beyond this is not looked at; the largest seen have two megabytes.
const LARGEST_GRAPH: i32 = 16 * 1024 * 1024;

fn word(text: String) -> Word {
    text.into()
}

fn ids(ids: &[Uuid]) -> Vec<Uuid> {
    ids.to_vec()
}

/// Apps by id, without their tags.
pub(super) async fn apps(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<HashMap<Uuid, App>, DatabaseError> {
    if page.is_empty() || !schema.can_read_all("apps", &["id", "tenant_id", "name", "mode", "status"]) {
        return Ok(HashMap::new());
    }
    let statement = "-- catalog_apps: apps_pkey\n\
        SELECT id, tenant_id, left(name::text, 255) AS name, mode::text AS mode, status::text AS status FROM apps WHERE id = ANY($1) LIMIT 500";
    let mut found = HashMap::new();
    for row in tx.fetch_all(query(statement).bind(ids(page))).await? {
        let id: Uuid = row.try_get("id")?;
        let app = App {
            id,
            tenant_id: Some(row.try_get("tenant_id")?),
            name: word(row.try_get::<Option<String>, _>("name")?.unwrap_or_default()),
            mode: word(row.try_get::<Option<String>, _>("mode")?.unwrap_or_default()),
            status: word(row.try_get::<Option<String>, _>("status")?.unwrap_or_default()),
            tags: Vec::new(),
        };
        found.insert(id, app);
    }
    Ok(found)
}

/// What takes an app's place for a run: a knowledge pipeline (1.9 and newer) or a snippet (1.15 and newer).
pub(super) async fn substitutes(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<HashMap<Uuid, App>, DatabaseError> {
    let mut found = HashMap::new();
    let pipelines = "-- catalog_pipelines: pipeline_pkey\n\
        SELECT id, tenant_id, left(name::text, 255) AS name FROM pipelines WHERE id = ANY($1) LIMIT 500";
    let snippets = "-- catalog_snippets: customized_snippet_pkey\n\
        SELECT id, tenant_id, left(name::text, 255) AS name FROM customized_snippets WHERE id = ANY($1) LIMIT 500";
    for (table, mode, statement) in [("pipelines", "rag-pipeline", pipelines), ("customized_snippets", "snippet", snippets)] {
        if page.is_empty() || !schema.can_read_all(table, &["id", "tenant_id", "name"]) {
            continue;
        }
        for row in tx.fetch_all(query(statement).bind(ids(page))).await? {
            let id: Uuid = row.try_get("id")?;
            let name = word(row.try_get::<Option<String>, _>("name")?.unwrap_or_default());
            let app =
                App { id, tenant_id: Some(row.try_get("tenant_id")?), name, mode: mode.into(), status: "normal".into(), tags: Vec::new() };
            found.insert(id, app);
        }
    }
    Ok(found)
}

/// Ids of all apps, up to a bound.
pub(super) async fn app_ids(tx: &mut ReadTx, schema: &Schema, bound: usize) -> Result<Vec<Uuid>, DatabaseError> {
    if !schema.can_read("apps", "id") {
        return Ok(Vec::new());
    }
    let statement = "-- catalog_app_ids: apps_pkey\nSELECT id FROM apps ORDER BY id LIMIT $1";
    let rows = tx.fetch_all(query(statement).bind(i64::try_from(bound).unwrap_or(i64::MAX))).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// Names of apps' tags, sorted.
pub(super) async fn tags(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<HashMap<Uuid, Vec<Word>>, DatabaseError> {
    let readable = schema.can_read_all("tags", &["id", "name", "type"]) && schema.can_read_all("tag_bindings", &["tag_id", "target_id"]);
    if page.is_empty() || !readable {
        return Ok(HashMap::new());
    }
    let statement = "-- catalog_tags: tag_bind_target_id_idx, tag_pkey\n\
        SELECT b.target_id, left(t.name::text, 255) AS name FROM tag_bindings b JOIN tags t ON t.id = b.tag_id \
        WHERE b.target_id = ANY($1) AND t.type::text = 'app' ORDER BY 1, 2 LIMIT 10000";
    let mut found: HashMap<Uuid, Vec<Word>> = HashMap::new();
    for row in tx.fetch_all(query(statement).bind(ids(page))).await? {
        found.entry(row.try_get("target_id")?).or_default().push(word(row.try_get("name")?));
    }
    Ok(found)
}

/// Data sets by id.
pub(super) async fn datasets(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<HashMap<Uuid, Dataset>, DatabaseError> {
    if page.is_empty() || !schema.can_read_all("datasets", &["id", "tenant_id", "name"]) {
        return Ok(HashMap::new());
    }
    let statement = "-- catalog_datasets: dataset_pkey\n\
        SELECT id, tenant_id, left(name::text, 255) AS name FROM datasets WHERE id = ANY($1) LIMIT 500";
    let mut found = HashMap::new();
    for row in tx.fetch_all(query(statement).bind(ids(page))).await? {
        let name = word(row.try_get::<Option<String>, _>("name")?.unwrap_or_default());
        found.insert(row.try_get("id")?, Dataset { name, tenant_id: Some(row.try_get("tenant_id")?) });
    }
    Ok(found)
}

/// End users by id.
pub(super) async fn end_users(tx: &mut ReadTx, schema: &Schema, page: &[Uuid]) -> Result<HashMap<Uuid, EndUser>, DatabaseError> {
    if page.is_empty() || !schema.can_read_all("end_users", &["id", "session_id", "created_at"]) {
        return Ok(HashMap::new());
    }
    let statement = "-- catalog_end_users: end_user_pkey\n\
        SELECT id, left(session_id::text, 255) AS session_id, created_at FROM end_users WHERE id = ANY($1) LIMIT 500";
    let mut found = HashMap::new();
    for row in tx.fetch_all(query(statement).bind(ids(page))).await? {
        let session_id = word(row.try_get::<Option<String>, _>("session_id")?.unwrap_or_default());
        found.insert(row.try_get("id")?, EndUser { session_id, first_seen: row.try_get("created_at")? });
    }
    Ok(found)
}

/// The version and the canvas of a workflow.
pub(super) async fn graph(tx: &mut ReadTx, schema: &Schema, id: Uuid) -> Result<Option<(String, String)>, DatabaseError> {
    if !schema.can_read_all("workflows", &["id", "version", "graph"]) {
        return Ok(None);
    }
    let statement = "-- catalog_graph: workflow_pkey\n\
        SELECT version::text AS version, CASE WHEN octet_length(graph::text) <= $2 THEN graph::text ELSE '' END AS graph \
        FROM workflows WHERE id = $1 LIMIT 1";
    let Some(row) = tx.fetch_optional(query(statement).bind(id).bind(LARGEST_GRAPH)).await? else { return Ok(None) };
    Ok(Some((
        row.try_get::<Option<String>, _>("version")?.unwrap_or_default(),
        row.try_get::<Option<String>, _>("graph")?.unwrap_or_default(),
    )))
}
