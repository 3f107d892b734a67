//! Models, their prices and what one call to them uses.

use rust_decimal::{Decimal, RoundingStrategy};

use super::{
    dice::Dice,
    json::{Json, object},
    profile::Profile,
    value::Micros,
};

/// A model as the author of an app chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// `langgenius/openai/openai`.
    pub provider: &'static str,
    /// `gpt-4o-mini`.
    pub name: &'static str,
    /// Price of 1,000 prompt tokens.
    pub prompt_price: &'static str,
    /// Price of 1,000 completion tokens.
    pub completion_price: &'static str,
    /// Currency of both.
    pub currency: &'static str,
}

/// A cheap model in dollars.
pub const GPT_MINI: Model = Model {
    provider: "langgenius/openai/openai",
    name: "gpt-4o-mini",
    prompt_price: "0.00015",
    completion_price: "0.0006",
    currency: "USD",
};
/// A dear model in dollars.
pub const GPT: Model =
    Model { provider: "langgenius/openai/openai", name: "gpt-4o", prompt_price: "0.0025", completion_price: "0.01", currency: "USD" };
/// A model in yuan.
pub const QWEN: Model =
    Model { provider: "langgenius/tongyi/tongyi", name: "qwen-max", prompt_price: "0.0024", completion_price: "0.0096", currency: "RMB" };
/// A model of one's own, without a price.
pub const LOCAL: Model =
    Model { provider: "langgenius/ollama/ollama", name: "qwen3:8b", prompt_price: "0", completion_price: "0", currency: "USD" };

impl Model {
    /// The unit price of prompt tokens.
    pub fn prompt_unit(&self) -> Decimal {
        self.prompt_price.parse().unwrap_or_default()
    }

    /// The unit price of completion tokens.
    pub fn completion_unit(&self) -> Decimal {
        self.completion_price.parse().unwrap_or_default()
    }

    /// `openai`: how error texts name the provider.
    pub fn short_provider(&self) -> &'static str {
        self.provider.rsplit('/').next().unwrap_or(self.provider)
    }
}

/// What one model call, or several, used.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// The model; its prices are those shown.
    pub model: Model,
    /// Tokens in.
    pub prompt_tokens: i64,
    /// Tokens out.
    pub completion_tokens: i64,
    /// Money for tokens in.
    pub prompt_cost: Decimal,
    /// Money for tokens out.
    pub completion_cost: Decimal,
    /// Seconds, as the plugin reports them.
    pub latency: f64,
    /// Seconds to the first token, when it streamed.
    pub first_token: Option<f64>,
}

impl Usage {
    /// A call with these tokens; money is rounded half up to seven digits, as Dify does.
    pub fn new(model: Model, prompt_tokens: i64, completion_tokens: i64, took: Micros, first_token: Option<f64>) -> Self {
        let cost = |tokens: i64, unit: Decimal| {
            let exact = Decimal::from(tokens) * unit * Decimal::new(1, 3);
            let mut rounded = exact.round_dp_with_strategy(7, RoundingStrategy::MidpointAwayFromZero);
            rounded.rescale(7);
            rounded
        };
        Self {
            model,
            prompt_tokens,
            completion_tokens,
            prompt_cost: cost(prompt_tokens, model.prompt_unit()),
            completion_cost: cost(completion_tokens, model.completion_unit()),
            latency: (took as f64 / 1e6 * 1e3).round() / 1e3,
            first_token,
        }
    }

    /// A call of random size.
    pub fn sample(dice: &mut Dice, model: Model, took: Micros) -> Self {
        let completion = dice.exponential(60.0) as i64 + 3;
        let prompt = dice.exponential(300.0) as i64 + 20;
        let first = (took as f64 / 1e6 * (0.2 + 0.4 * dice.unit()) * 1e3).round() / 1e3;
        Self::new(model, prompt, completion, took, Some(first))
    }

    /// Tokens in and out.
    pub fn tokens(&self) -> i64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Money in and out.
    pub fn cost(&self) -> Decimal {
        self.prompt_cost + self.completion_cost
    }

    /// The `usage` object of node rows and message metadata.
    pub fn json(&self, profile: &Profile) -> Json {
        let usage = object! {
            "prompt_tokens" => self.prompt_tokens,
            "prompt_unit_price" => self.model.prompt_price,
            "prompt_price_unit" => "0.001",
            "prompt_price" => self.prompt_cost.to_string(),
            "completion_tokens" => self.completion_tokens,
            "completion_unit_price" => self.model.completion_price,
            "completion_price_unit" => "0.001",
            "completion_price" => self.completion_cost.to_string(),
            "total_tokens" => self.tokens(),
            "total_price" => self.cost().to_string(),
            "currency" => self.model.currency,
            "latency" => self.latency,
        };
        if !profile.first_token {
            return usage;
        }
        let generate = self.first_token.map(|first| ((self.latency - first) * 1e3).round() / 1e3);
        usage.with("time_to_first_token", self.first_token).with("time_to_generate", generate)
    }

    /// `total_tokens`, `total_price` and `currency` of execution_metadata.
    pub fn totals(&self) -> Json {
        object! {
            "total_tokens" => self.tokens(),
            "total_price" => self.cost().to_string(),
            "currency" => self.model.currency,
        }
    }
}

/// What a run used, added up the way Dify does: amounts are summed whatever their currency, the last one gives its name.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// Tokens in.
    pub prompt_tokens: i64,
    /// Tokens out.
    pub completion_tokens: i64,
    /// Money, whatever the currency.
    pub cost: Decimal,
    /// The currency of the last call.
    pub currency: Option<&'static str>,
    /// Sum of the latencies.
    pub latency: f64,
    /// The last call, whose unit prices are shown.
    pub last: Option<Usage>,
}

impl Merged {
    /// Adds a call.
    pub fn add(&mut self, usage: &Usage) {
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        self.cost += usage.cost();
        self.currency = Some(usage.model.currency);
        self.latency += usage.latency;
        self.last = Some(usage.clone());
    }

    /// Adds what another part used.
    pub fn merge(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cost += other.cost;
        self.latency += other.latency;
        self.currency = other.currency.or(self.currency);
        self.last = other.last.clone().or_else(|| self.last.take());
    }

    /// Tokens in and out.
    pub fn tokens(&self) -> i64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// `USD` when nothing was called.
    pub fn currency(&self) -> &'static str {
        self.currency.unwrap_or("USD")
    }

    /// Money as the metadata of containers shows it.
    pub fn price_text(&self) -> String {
        if self.cost.is_zero() { "0.0".to_owned() } else { self.cost.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_half_up_to_seven_digits() {
        let usage = Usage::new(GPT_MINI, 25, 45, 277_715, None);
        assert_eq!(usage.prompt_cost.to_string(), "0.0000038");
        assert_eq!(usage.completion_cost.to_string(), "0.0000270");
        assert_eq!(usage.cost().to_string(), "0.0000308");
    }
}
