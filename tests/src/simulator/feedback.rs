//! Thumbs up and down: given, changed and withdrawn.

use super::{
    message::{Ask, Message},
    story::Story,
    value::{At, MINUTE, Micros, SECOND, Statement, Value, row},
};

const TABLE: &str = "message_feedbacks";

/// A rating some seconds after the answer; a third of them change or disappear later.
pub(crate) fn tell(story: &mut Story<'_>, ask: &Ask<'_>, message: &Message, answered: Micros) {
    let id = story.dice.uuid();
    let admin = story.dice.chance(0.15);
    let mut at = answered + story.dice.between(2 * SECOND, 2 * MINUTE);
    let mut rating = if story.dice.chance(0.7) { "like" } else { "dislike" };
    let content = if story.dice.chance(0.4) { Some(*story.dice.pick(&["太慢了", "wrong price", "thanks!"])) } else { None };
    let row = row! {
        "id" => id, "app_id" => ask.app.id, "conversation_id" => message.conversation, "message_id" => message.id, "rating" => rating,
        "content" => content, "from_source" => if admin { "admin" } else { "user" },
        "from_end_user_id" => ask.caller.end_user().filter(|_| !admin),
        "from_account_id" => if admin { Value::from(story.world.account) } else { Value::Null },
        "created_at" => story.rounded(at), "updated_at" => story.rounded(at),
    };
    story.insert(at, TABLE, row);
    if story.dice.chance(0.2) {
        at += story.dice.between(SECOND, MINUTE);
        rating = if rating == "like" { "dislike" } else { "like" };
        story.update(at, TABLE, id, row! { "rating" => rating, "updated_at" => At(at) });
    }
    if story.dice.chance(0.15) {
        at += story.dice.between(SECOND, MINUTE);
        story.commit(at, vec![Statement::Delete { table: TABLE, id }]);
    }
}
