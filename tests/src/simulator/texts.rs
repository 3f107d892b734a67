//! Names, questions and answers.

use super::dice::Dice;

/// Values of the input variable `category`.
pub(crate) const CATEGORIES: [&str; 4] = ["phones", "clothing", "food", "other"];

const QUESTIONS: [&str; 10] = [
    "Does the P40 support 5G?",
    "How long is the warranty?",
    "这件衣服会缩水吗？",
    "When does the noodle pack expire?",
    "Can I return a dress without the receipt?",
    "手机保修几年？",
    "Do you ship to Hamburg — and what does it cost?",
    "Is there a student discount",
    "What sizes are in stock?\n\nPlease answer in one line.",
    "配送需要几天 🚚",
];

const WORDS: [&str; 40] = [
    "the",
    "warranty",
    "covers",
    "two",
    "years",
    "please",
    "keep",
    "receipt",
    "return",
    "within",
    "fourteen",
    "days",
    "stock",
    "of",
    "this",
    "size",
    "ships",
    "in",
    "one",
    "day",
    "colours",
    "depend",
    "on",
    "window",
    "and",
    "while",
    "order",
    "手机",
    "服装",
    "保修",
    "退货",
    "is",
    "available",
    "or",
    "not",
    "see",
    "our",
    "shop",
    "for",
    "more",
];

const APP_NAMES: [&str; 24] = [
    "客服助手",
    "Order desk",
    "Returns (beta)",
    "库存查询 v2",
    "Newsletter \"autumn\"",
    "Contract check",
    "Wetter & Lager",
    "Price\\Watch",
    "订单 / 退款",
    "FAQ Bot",
    "Naïve café ☕",
    "Loop lab",
    "Parent flow",
    "Webhook intake",
    "Nightly report",
    "Approval",
    "知识库问答",
    "Two model chat",
    "Iterating chat",
    "Shop chat",
    "Shop chat RAG",
    "通义聊天",
    "Advert writer",
    "Tool agent",
];

/// The name of the app with this number.
pub(crate) fn app_name(number: usize) -> String {
    let name = APP_NAMES[number % APP_NAMES.len()];
    match number / APP_NAMES.len() {
        0 => name.to_owned(),
        round => format!("{name} {}", round + 1),
    }
}

/// A user's question.
pub(crate) fn question(dice: &mut Dice) -> String {
    (*dice.pick(&QUESTIONS)).to_owned()
}

/// Words of a model, about as many as tokens.
pub(crate) fn answer(dice: &mut Dice, tokens: i64) -> String {
    let mut text = String::with_capacity(tokens as usize * 6);
    for position in 0..tokens.clamp(1, 120) {
        if position > 0 {
            text.push(' ');
        }
        let word: &&str = dice.pick(&WORDS);
        text.push_str(word);
    }
    text
}

/// A value of the input variable `category`; now and then one that no allow list has.
pub(crate) fn category(dice: &mut Dice) -> &'static str {
    if dice.chance(0.01) { "someone@example.com" } else { CATEGORIES[dice.weighted(&[5.0, 3.0, 2.0, 1.0])] }
}

/// The session id of a user, as callers choose them.
pub(crate) fn session(number: i64) -> String {
    match number % 4 {
        0 => format!("u-{number}"),
        1 => format!("user{number}@example.com"),
        2 => format!("员工-{number}"),
        _ => format!("sess_{:08x}", number * 2_654_435_761 % 0xffff_ffff),
    }
}
