//! Messages, conversations, and the people behind them.

use super::buckets;
use crate::store::FamilyDef;

families! {
    MESSAGES = counter("dify_messages", "Messages that are final, by how they ended")
        .labels(&["mode", "invoke_from", "status"]).business();
    MESSAGE_RESPONSE = histogram("dify_message_response_seconds", "Time from question to complete answer", buckets::DURATION)
        .labels(&["mode", "invoke_from", "status"]).unit("seconds").business();
    MESSAGE_TOKENS = counter("dify_message_tokens", "Tokens as stored with messages, token_type is prompt or completion")
        .labels(&["mode", "invoke_from", "token_type"]).business();
    MESSAGE_COST = decimal("dify_message_cost", "Money as stored with messages, in units of the currency")
        .labels(&["mode", "invoke_from", "currency"]).business();
    MESSAGE_FEEDBACKS = counter("dify_message_feedbacks", "Feedbacks on messages: every time one was created, changed or withdrawn")
        .labels(&["rating", "source", "action"]);
    CONVERSATIONS_STARTED = counter("dify_conversations_started", "Conversations whose first message is final");
    ACTIVE_END_USERS = gauge("dify_active_end_users", "Distinct end users within a window up to now, about 2 % exact; complete is false until the exporter has seen the whole window")
        .labels(&["window", "complete"]);
}
