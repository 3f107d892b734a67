//! What a feedback says in words, and the message it is about.

use sqlx::Row;

use super::{Lookups, pages};
use crate::dify::follow::messages_by_id;
use crate::dify::records::Feedback;
use crate::dify::schema::Schema;
use crate::dify::session::{DatabaseError, ReadTx, query};

/// Longest value of a rated message: feedback comes for many old messages at once.
const VALUE_BYTES: u32 = 32 * 1024;
/// Most rated messages read by one statement.
const MESSAGES: usize = 100;

pub(super) async fn read(tx: &mut ReadTx, schema: &Schema, feedbacks: &[&Feedback], lookups: &mut Lookups) -> Result<(), DatabaseError> {
    for page in pages(feedbacks.iter().map(|feedback| feedback.message_id)) {
        for ids in page.chunks(MESSAGES) {
            let messages = messages_by_id(tx, schema, VALUE_BYTES, ids).await?;
            lookups.rated.extend(messages.into_iter().map(|message| (message.id, message)));
        }
    }
    if !schema.can_read_all("message_feedbacks", &["id", "content"]) {
        return Ok(());
    }
    for page in pages(feedbacks.iter().map(|feedback| feedback.id)) {
        let statement = query(
            "-- lookups_comments: message_feedback_pkey\n\
             SELECT id, left(content, 8192) AS content FROM message_feedbacks WHERE id = ANY($1) AND content <> '' LIMIT 500",
        );
        for row in tx.fetch_all(statement.bind(page)).await? {
            lookups.comments.insert(row.try_get("id")?, row.try_get("content")?);
        }
    }
    Ok(())
}
