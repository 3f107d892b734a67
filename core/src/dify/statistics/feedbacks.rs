//! What people thought of answers: the whole table, because a feedback can change or be withdrawn at any age.

use sqlx::Row;

use crate::dify::follow::Detail;
use crate::dify::records::Feedback;
use crate::dify::session::{DatabaseError, ReadTx, built_query};

/// The row's version in the upper half, and a hash of rating and comment in the lower.
const DOCUMENT_VERSION: &str =
    "((xmin::text::bigint << 32) | ('x' || substr(md5(rating::text || E'\\n' || COALESCE(content, '')), 1, 8))::bit(32)::bigint)";

/// Every feedback, or `None` when there are more than `limit`: an incomplete list would make the rest look withdrawn.
///
/// For [`Detail::Metrics`] a version is the rating alone, which needs no right to the comments; for [`Detail::Documents`]
/// another comment is another version too. The hash is made by the server, so no comment crosses the wire.
pub async fn feedbacks(tx: &mut ReadTx, detail: Detail, limit: u32) -> Result<Option<Vec<Feedback>>, DatabaseError> {
    let text = include_str!("../queries/statistics_feedbacks.sql");
    let text = match detail {
        Detail::Metrics => text.to_owned(),
        Detail::Documents => text.replace("('x' || substr(md5(rating::text), 1, 16))::bit(64)::bigint", DOCUMENT_VERSION),
    };
    let rows = tx.fetch_all(built_query(text).bind(i64::from(limit) + 1)).await?;
    if rows.len() > limit as usize {
        return Ok(None);
    }
    let mut feedbacks = Vec::with_capacity(rows.len());
    for row in rows {
        feedbacks.push(Feedback {
            id: row.try_get("id")?,
            app_id: row.try_get("app_id")?,
            message_id: row.try_get("message_id")?,
            rating: row.try_get::<String, _>("rating")?.into(),
            source: row.try_get::<String, _>("source")?.into(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        });
    }
    Ok(Some(feedbacks))
}
