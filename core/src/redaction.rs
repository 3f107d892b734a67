//! What names a person or opens a door is taken out of texts before they leave the process.
//!
//! One pass over a text finds the few places where a rule may apply: an `@`, digits close together, the first letters of a key, a word such as
//! `password`. Only there a rule looks closer, and it sees the text without its disguises (`fold`). In its place stands the rule's name
//! in brackets. Rules want proof (check digits, a country's numbering plan, a word before), because ids, times, prices and hashes must stay
//! searchable.

mod email;
mod fold;
mod ids;
mod keys;
mod numbers;
mod own;
mod phone;
mod secrets;
#[cfg(test)]
mod tests;
mod triggers;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::settings::RedactionSettings;
use fold::Folded;
use own::Pattern;
use triggers::{Name, Trigger, Triggers};

/// The rules that are there without any configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Email,
    Phone,
    IdCard,
    Iban,
    PaymentCard,
    ApiKey,
    Jwt,
    PrivateKey,
    Authorization,
    Password,
    Cookie,
}

/// Their names, in the order of `Rule`.
pub const RULES: [&str; 11] =
    ["email", "phone", "id_card", "iban", "payment_card", "api_key", "jwt", "private_key", "authorization", "password", "cookie"];

impl Rule {
    const fn index(self) -> usize {
        self as usize
    }
}

/// A part of a text, and the rule that wants it out: one of [`Rule`], or after them one of the operator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    rule: usize,
}

/// Why `[redaction]` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("redaction.{key} {problem}")]
pub struct RedactionError {
    /// The key below `redaction`.
    pub key: String,
    /// What is wrong and how to mend it.
    pub problem: String,
}

/// What the value of a key is, when the key alone says that it is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sensitive {
    rule: usize,
    /// The word is as often about something else (`token`): only texts that can be a secret go, and nothing below an object.
    pub(crate) vague: bool,
}

/// The rules of `[redaction]`, ready. One for the whole process; it may be used from several threads at a time.
#[derive(Debug)]
pub struct Redactor {
    triggers: Triggers,
    enabled: [bool; RULES.len()],
    own: Vec<Pattern>,
    replacements: Vec<String>,
    counts: Vec<AtomicU64>,
}

impl Redactor {
    /// Checks the settings.
    pub fn new(settings: &RedactionSettings) -> Result<Self, RedactionError> {
        let mut enabled = [true; RULES.len()];
        for name in &settings.disabled {
            let rule = RULES.iter().position(|rule| rule == name).ok_or_else(|| RedactionError {
                key: "disabled".to_owned(),
                problem: format!("names a rule {name:?} that does not exist: the rules are {}", RULES.join(", ")),
            })?;
            enabled[rule] = false;
        }
        let mut replacements: Vec<String> = RULES.iter().map(|rule| format!("[{rule}]")).collect();
        let mut own = Vec::new();
        for (name, pattern) in &settings.patterns {
            own.push(Pattern::new(name, pattern)?);
            replacements.push(pattern.replacement.clone().unwrap_or_else(|| format!("[{name}]")));
        }
        let counts = replacements.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Redactor { triggers: Triggers::new(), enabled, own, replacements, counts })
    }

    /// The text without what the rules find. Most texts come back as they are.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replace(text, self.spans(text))
    }

    /// How often each rule found something since the start, by its name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let names = RULES.into_iter().chain(self.own.iter().map(Pattern::name));
        names.zip(&self.counts).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// Whether all of the value under this key of an object goes, whatever it is.
    pub(crate) fn key(&self, key: &str) -> Option<Sensitive> {
        let name = triggers::name_of_key(key)?;
        let rule = match name {
            Name::Authorization => Rule::Authorization,
            Name::Cookie => Rule::Cookie,
            Name::Password => Rule::Password,
            Name::Key | Name::Vague => Rule::ApiKey,
        };
        let rule = rule.index();
        self.enabled[rule].then_some(Sensitive { rule, vague: name == Name::Vague })
    }

    /// What stands in place of such a value.
    pub(crate) fn replacement(&self, sensitive: Sensitive) -> &str {
        self.count(sensitive.rule);
        &self.replacements[sensitive.rule]
    }

    /// A short value together with the key it stands under, which may be the word that tells what it is: `"phone": "612345678"`.
    pub(crate) fn redact_value<'a>(&self, key: &str, value: &'a str) -> Cow<'a, str> {
        let plain = self.redact(value);
        let digits = value.bytes().filter(u8::is_ascii_digit).count();
        if matches!(plain, Cow::Owned(_)) || !(6..=19).contains(&digits) || value.len() > 48 || key.is_empty() || key.len() > 48 {
            return plain;
        }
        let both = format!("{key}: {value}");
        match self.redact(&both) {
            Cow::Owned(both) => both.strip_prefix(&format!("{key}: ")).map_or(plain, |value| Cow::Owned(value.to_owned())),
            Cow::Borrowed(_) => plain,
        }
    }

    fn count(&self, rule: usize) {
        self.counts[rule].fetch_add(1, Ordering::Relaxed);
    }

    /// What the rules want out, in order and without overlaps.
    fn spans(&self, text: &str) -> Vec<Span> {
        let mut spans = Vec::new();
        let folded = Folded::new(text);
        self.built_in(&folded.text, &mut spans);
        self.own_patterns(&folded.text, &mut spans);
        for span in &mut spans {
            (span.start, span.end) = (folded.original(span.start), folded.original(span.end));
        }
        if folded.is_changed() {
            self.own_patterns(text, &mut spans);
        }
        merge(spans)
    }

    fn own_patterns(&self, text: &str, spans: &mut Vec<Span>) {
        for (at, pattern) in self.own.iter().enumerate() {
            spans.extend(pattern.find(text).map(|(start, end)| Span { start, end, rule: RULES.len() + at }));
        }
    }

    fn built_in(&self, text: &str, spans: &mut Vec<Span>) {
        let mut covered = 0;
        for (trigger, start, end) in self.triggers.find(text) {
            // Inside of what goes anyway: a cookie that holds tokens. At its very end a name may stand whose value comes after it:
            // `…/key=1?q=secret = 2`.
            if end + secrets::GAP <= covered {
                continue;
            }
            let found = look(text, trigger, start, end).filter(|span| self.enabled[span.rule]);
            if let Some(span) = found {
                covered = covered.max(span.end);
                spans.push(span);
            }
        }
        let wants = |rule: Rule| self.enabled[rule.index()];
        let wanted = numbers::Wanted {
            phone: wants(Rule::Phone),
            id_card: wants(Rule::IdCard),
            iban: wants(Rule::Iban),
            payment_card: wants(Rule::PaymentCard),
        };
        numbers::find(text, wanted, spans);
    }

    fn replace<'a>(&self, text: &'a str, spans: Vec<Span>) -> Cow<'a, str> {
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut redacted = String::with_capacity(text.len());
        let mut copied = 0;
        for span in spans {
            redacted.push_str(&text[copied..span.start]);
            redacted.push_str(&self.replacements[span.rule]);
            copied = span.end;
            self.count(span.rule);
        }
        redacted.push_str(&text[copied..]);
        Cow::Owned(redacted)
    }
}

fn look(text: &str, trigger: Trigger, start: usize, end: usize) -> Option<Span> {
    match trigger {
        Trigger::At => email::address(text, start),
        Trigger::Key(which) => keys::vendor_key(text, which, start, end),
        Trigger::Jwt => keys::jwt(text, start, end),
        Trigger::Armour => keys::private_key(text, start, end),
        Trigger::Scheme => secrets::credentials(text, start, end),
        Trigger::Name(name) => secrets::named(text, name, end),
        Trigger::Url => secrets::url_password(text, end),
    }
}

/// In order; of those that overlap, the first one takes the place of all.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// Whether a key says that its value is a telephone number.
pub(crate) fn announces_phone(key: &str) -> bool {
    phone::is_word(key)
}
