//! Which messages a conversation has, and which runs they name.

use std::collections::BTreeSet;

use sqlx::Row;
use uuid::Uuid;

use crate::dify::retention::bundle::{Bundle, Root};
use crate::dify::retention::ownership::{Member, Ownership, Parent};
use crate::dify::retention::parents::{Find, Parents};
use crate::dify::session::{DatabaseError, ReadTx, built_query};
use crate::dify::time::Micros;

/// Messages of one conversation.
#[derive(Debug, Default)]
pub(in crate::dify::retention) struct Messages {
    /// Time and id, in the order of time.
    pub(in crate::dify::retention) ids: Vec<(Micros, Uuid)>,
    /// The runs that they name.
    pub(in crate::dify::retention) runs: BTreeSet<Uuid>,
}

/// Reads the messages of conversations; one entry for each of them.
pub(in crate::dify::retention) async fn of_conversations(
    tx: &mut ReadTx,
    ownership: &Ownership,
    conversations: &[&Bundle],
) -> Result<Vec<Messages>, DatabaseError> {
    let mut parents = Parents::default();
    for (position, bundle) in conversations.iter().enumerate() {
        parents.add_bundle(i32::try_from(position).unwrap_or(i32::MAX), bundle, Parent::Conversation);
    }
    let mut messages: Vec<Messages> = conversations.iter().map(|_| Messages::default()).collect();
    let find = find(ownership);
    for row in tx.fetch_all(parents.bind(built_query(text(ownership)), &find)).await? {
        let position: i32 = row.try_get("bundle")?;
        let Some(of_one) = usize::try_from(position).ok().and_then(|position| messages.get_mut(position)) else { continue };
        of_one.ids.push((row.try_get("created_at")?, row.try_get("id")?));
        of_one.runs.extend(row.try_get::<Option<Uuid>, _>("workflow_run_id")?);
    }
    for of_one in &mut messages {
        of_one.ids.sort_unstable();
    }
    Ok(messages)
}

pub(in crate::dify::retention) fn text(ownership: &Ownership) -> String {
    let find = find(ownership);
    format!(
        "-- janitor_messages_of_conversations: (conversation_id)\n\
         SELECT p.bundle, n.id, n.workflow_run_id, n.created_at FROM {} \
         CROSS JOIN LATERAL (SELECT t.id, t.workflow_run_id, t.created_at FROM messages t WHERE {} OFFSET 0) n",
        find.relation(),
        find.condition("conversation_id")
    )
}

fn find(ownership: &Ownership) -> Find {
    let is_messages = |member: &&Member| member.shape.table == "messages";
    let messages = ownership.members(Root::Conversation).iter().find(is_messages).expect("messages are required of a conversation");
    Find::new(&messages.path, None)
}
