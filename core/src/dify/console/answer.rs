//! The answers of the console API, with its own keys, types and roundings.

use serde_json::{Map, Value, json};

use super::Endpoint;
use super::figures::{Day, Figures};
use super::rounding::{float, python_decimal, ratio_to_cents};

/// The body that Dify's console answers with, days in ascending order.
pub fn answer(endpoint: Endpoint, figures: &Figures) -> Value {
    let days = figures.0.iter().filter_map(|(date, day)| {
        let mut object = day.answer(endpoint)?;
        object.insert("date".into(), json!(date.to_string()));
        Some(Value::Object(object))
    });
    json!({ "data": days.collect::<Vec<_>>() })
}

impl Day {
    /// What one day says to one question, without its date; `None` when Dify's answer has no entry for it.
    pub fn answer(&self, endpoint: Endpoint) -> Option<Map<String, Value>> {
        match endpoint {
            Endpoint::DailyMessages => Some(object("message_count", self.messages.as_ref()?.count)),
            Endpoint::DailyConversations => Some(object("conversation_count", self.conversations?)),
            Endpoint::DailyEndUsers => Some(object("terminal_count", self.messages.as_ref()?.end_users)),
            Endpoint::TokenCosts => {
                let messages = self.messages.as_ref()?;
                let mut object = object("token_count", messages.tokens);
                object.insert("total_price".into(), json!(messages.price.as_deref().map(python_decimal)));
                object.insert("currency".into(), json!("USD"));
                Some(object)
            }
            Endpoint::AverageSessionInteractions => {
                let (messages, conversations) = self.sessions?;
                Some(object("interactions", ratio_to_cents(messages, conversations)))
            }
            Endpoint::UserSatisfactionRate => {
                let (messages, likes) = self.likes?;
                Some(object("rate", if messages > 0 { float((likes * 1000) as f64 / messages as f64, 2) } else { 0.0 }))
            }
            Endpoint::AverageResponseTime => Some(object("latency", float(self.messages.as_ref()?.latency_average * 1000.0, 4))),
            Endpoint::TokensPerSecond => Some(object("tps", float(self.messages.as_ref()?.tokens_per_second(), 4))),
            Endpoint::WorkflowDailyConversations => Some(object("runs", self.runs.as_ref()?.count)),
            Endpoint::WorkflowDailyTerminals => Some(object("terminal_count", self.runs.as_ref()?.users)),
            Endpoint::WorkflowTokenCosts => Some(object("token_count", self.runs.as_ref()?.tokens.to_string())),
            Endpoint::WorkflowAverageAppInteractions => {
                let runs = self.runs.as_ref()?;
                Some(object("interactions", ratio_to_cents(runs.count, runs.users)))
            }
        }
    }
}

impl super::figures::Messages {
    /// Tokens of answers by seconds waited; zero when nobody waited.
    pub fn tokens_per_second(&self) -> f64 {
        if self.latency_sum == 0.0 { 0.0 } else { self.answer_tokens as f64 / self.latency_sum }
    }
}

fn object(key: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.into())])
}
