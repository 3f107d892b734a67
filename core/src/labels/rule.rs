//! One rule: source, normalisation, and what may come out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::{LabelFacts, LabelRuleError, LabelSettings, NONE, OTHER, private};
use crate::dify::json;
use crate::settings::LabelSource;

/// A rule, checked and ready.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) source: Source,
    lowercase: bool,
    map: BTreeMap<String, Arc<str>>,
    /// Empty: any value, up to `max_values`.
    allowed: BTreeSet<Arc<str>>,
    max_values: usize,
}

/// Where the value comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Input(String),
    AppTag(String),
    AppName {
        pattern: Regex,
        template: String,
    },
    /// The separator; without it the value is the longest allowed one that the id begins with.
    EndUser(Option<String>),
    UserAge,
}

impl Rule {
    pub(super) fn new(name: &str, settings: &LabelSettings) -> Result<Rule, LabelRuleError> {
        let wrong = |reason: &str| Err(LabelRuleError::Key { name: name.to_owned(), reason: reason.to_owned() });
        check_keys(name, settings)?;
        if !(1..=1000).contains(&settings.max_values) {
            return wrong("max_values must be between 1 and 1000");
        }
        if settings.values.iter().chain(settings.map.values()).any(|value| value.trim().is_empty()) {
            return wrong("a value is empty; records without a value have \"none\"");
        }
        Ok(Rule {
            source: Source::new(name, settings)?,
            lowercase: settings.lowercase,
            map: settings.map.iter().map(|(from, to)| (from.clone(), Arc::from(to.trim()))).collect(),
            allowed: settings.values.iter().map(|value| Arc::from(value.trim())).collect(),
            max_values: settings.max_values,
        })
    }

    pub(super) fn cap(&self) -> Option<usize> {
        let is_bounded = !self.allowed.is_empty() || matches!(self.source, Source::UserAge);
        (!is_bounded).then_some(self.max_values)
    }

    pub(super) fn value(&self, facts: &LabelFacts<'_>) -> Arc<str> {
        let raw = match self.source.raw(facts) {
            Raw::Missing => return NONE.into(),
            Raw::Unusable => return OTHER.into(),
            Raw::Text(text) => text,
        };
        let trimmed = raw.trim();
        let value: Cow<'_, str> = if self.lowercase { trimmed.to_lowercase().into() } else { trimmed.into() };
        if value.is_empty() {
            return NONE.into();
        }
        self.admitted(&value)
    }

    fn admitted(&self, value: &str) -> Arc<str> {
        let mapped = self.map.get(value);
        let candidate: &str = mapped.map_or(value, |mapped| mapped);
        if self.allowed.is_empty() {
            let private = mapped.is_none() && private::may_be_private(candidate);
            return if private { OTHER.into() } else { candidate.into() };
        }
        if matches!(self.source, Source::EndUser(None)) {
            let longest = self.allowed.iter().filter(|allowed| candidate.starts_with(&***allowed)).max_by_key(|allowed| allowed.len());
            return longest.cloned().unwrap_or_else(|| OTHER.into());
        }
        self.allowed.get(candidate).cloned().unwrap_or_else(|| OTHER.into())
    }
}

/// Each source has its own keys; a key of another source is a mistake that would otherwise go unnoticed.
fn check_keys(name: &str, settings: &LabelSettings) -> Result<(), LabelRuleError> {
    let (source, needs, may): (&str, &[&str], &[&str]) = match settings.source {
        LabelSource::Input => ("input", &["variable"], &[]),
        LabelSource::AppTag => ("app_tag", &["prefix"], &[]),
        LabelSource::AppName => ("app_name", &["pattern"], &["template"]),
        LabelSource::EndUser => ("end_user", &[], &["separator"]),
        LabelSource::UserAge => ("user_age", &[], &[]),
    };
    let wrong = |reason: String| Err(LabelRuleError::Key { name: name.to_owned(), reason });
    let keys = [
        ("variable", &settings.variable),
        ("prefix", &settings.prefix),
        ("pattern", &settings.pattern),
        ("template", &settings.template),
        ("separator", &settings.separator),
    ];
    for (key, value) in keys {
        let is_set = value.as_ref().is_some_and(|value| !value.is_empty());
        if needs.contains(&key) && !is_set {
            return wrong(format!("source = {source:?} needs {key}"));
        }
        if value.is_some() && !needs.contains(&key) && !may.contains(&key) {
            return wrong(format!("source = {source:?} has no key {key}"));
        }
    }
    if settings.source == LabelSource::EndUser && settings.separator.as_deref().unwrap_or_default().is_empty() && settings.values.is_empty()
    {
        return wrong("source = \"end_user\" needs separator or values: whole ids would name people".to_owned());
    }
    Ok(())
}

enum Raw<'a> {
    Missing,
    Unusable,
    Text(Cow<'a, str>),
}

impl<'a> From<Option<&'a str>> for Raw<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Raw::Missing, |text| Raw::Text(text.into()))
    }
}

impl Source {
    fn new(name: &str, settings: &LabelSettings) -> Result<Source, LabelRuleError> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(match settings.source {
            LabelSource::Input => Source::Input(text(&settings.variable)),
            LabelSource::AppTag => Source::AppTag(text(&settings.prefix)),
            LabelSource::AppName => {
                let pattern = parse_pattern(name, &text(&settings.pattern))?;
                let template = settings.template.clone().unwrap_or_else(|| first_group(&pattern).to_owned());
                check_template(name, &pattern, &template)?;
                Source::AppName { pattern, template }
            }
            LabelSource::EndUser => Source::EndUser(settings.separator.clone().filter(|separator| !separator.is_empty())),
            LabelSource::UserAge => Source::UserAge,
        })
    }

    fn raw<'a>(&self, facts: &LabelFacts<'a>) -> Raw<'a> {
        match self {
            Source::Input(variable) => facts.inputs.map_or(Raw::Missing, |inputs| input(inputs, variable)),
            Source::AppTag(prefix) => facts.app_tags.iter().filter_map(|tag| tag.strip_prefix(prefix.as_str())).min().into(),
            Source::AppName { pattern, template } => pattern.captures(facts.app_name).map_or(Raw::Missing, |captures| {
                let mut value = String::new();
                captures.expand(template, &mut value);
                Raw::Text(value.into())
            }),
            Source::EndUser(Some(separator)) => {
                facts.end_user.and_then(|id| id.split_once(separator.as_str())).map(|(before, _)| before).into()
            }
            Source::EndUser(None) => facts.end_user.into(),
            Source::UserAge => facts.new_user.map(|new| if new { "new" } else { "returning" }).into(),
        }
    }
}

fn parse_pattern(name: &str, pattern: &str) -> Result<Regex, LabelRuleError> {
    Regex::new(pattern).map_err(|source| LabelRuleError::Pattern {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        source: Box::new(source),
    })
}

fn first_group(pattern: &Regex) -> &'static str {
    if pattern.captures_len() > 1 { "$1" } else { "$0" }
}

/// A group that is not there would silently be empty.
fn check_template(name: &str, pattern: &Regex, template: &str) -> Result<(), LabelRuleError> {
    let groups = Regex::new(r"\$(?:\$|([0-9A-Za-z_]+)|\{([^}]*)\})").expect("a constant pattern");
    let is_known = |group: &str| match group.parse::<usize>() {
        Ok(number) => number < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|name| name == group),
    };
    let named = groups.captures_iter(template).filter_map(|captures| captures.get(1).or(captures.get(2)));
    if named.map(|group| group.as_str()).all(is_known) {
        return Ok(());
    }
    let reason = format!("template {template:?} names a group that the pattern does not have");
    Err(LabelRuleError::Key { name: name.to_owned(), reason })
}

/// An input variable as text.
fn input<'a>(inputs: &str, variable: &str) -> Raw<'a> {
    match json::pick(inputs, &[variable]).remove(variable) {
        None | Some(Value::Null) => Raw::Missing,
        Some(Value::String(text)) => Raw::Text(text.into()),
        Some(Value::Bool(flag)) => Raw::Text(flag.to_string().into()),
        Some(Value::Number(number)) => Raw::Text(number.to_string().into()),
        // Files and lists are no categories.
        Some(Value::Array(_) | Value::Object(_)) => Raw::Unusable,
    }
}
