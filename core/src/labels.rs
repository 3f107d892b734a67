//! Business labels: the operator's rules that turn a record's inputs, tags or names into a few bounded labels.
//!
//! Labels are a promise about cardinality and about people, so a rule's value passes three gates: the allow list or a cap
//! (whose choice the exporter keeps in its state), and, where there is no allow list, a look at the value itself: what
//! could name a person or a single record becomes [`OTHER`]. A record without a value has [`NONE`].

mod private;
mod rule;

use std::sync::Arc;

use crate::settings::{LabelSettings, LabelsSettings};
use rule::Rule;

/// The value of what is not allowed, or one too many.
pub const OTHER: &str = "other";
/// The value of a record to which the rule does not apply: no such input, no such tag.
pub const NONE: &str = "none";
/// Each label multiplies the number of series.
pub const MOST_LABELS: usize = 4;

/// Names that metrics and Prometheus themselves use.
pub const RESERVED_NAMES: &[&str] = &[
    "action",
    "app",
    "app_id",
    "collector",
    "complete",
    "created_by_role",
    "currency",
    "dataset",
    "error_type",
    "family",
    "indexing_status",
    "instance",
    "invoke_from",
    "job",
    "kind",
    "le",
    "mode",
    "model",
    "name",
    "node_type",
    "part",
    "provider",
    "provider_type",
    "quantile",
    "rating",
    "result",
    "run_type",
    "scope",
    "source",
    "state",
    "status",
    "table",
    "tags",
    "tenant_id",
    "token_type",
    "tool",
    "trigger_type",
    "triggered_from",
    "version",
    "window",
];

/// What the rules look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelFacts<'a> {
    /// `inputs` of the run or message: JSON text, not necessarily strict
    pub inputs: Option<&'a str>,
    /// The app's name.
    pub app_name: &'a str,
    /// The app's tags.
    pub app_tags: &'a [Arc<str>],
    /// The end user's `session_id`
    pub end_user: Option<&'a str>,
    /// Whether the end user was first seen with this record; `None` for records without an end user.
    pub new_user: Option<bool>,
}

/// The rules of `[labels]`, checked and ready.
#[derive(Clone, Debug, Default)]
pub struct LabelRules {
    names: Vec<Arc<str>>,
    rules: Vec<Rule>,
}

/// Why `[labels]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelRuleError {
    /// More rules than labels are allowed.
    #[error("[labels] has {0} rules, at most {MOST_LABELS} are possible: each label multiplies the number of series")]
    TooMany(usize),
    /// A name that Prometheus does not take, or that would be unclear.
    #[error("[labels.{name}]: {reason}")]
    Name {
        /// The rule's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A key that is missing, or that this source does not have.
    #[error("[labels.{name}]: {reason}")]
    Key {
        /// The rule's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The pattern is no regular expression.
    #[error("[labels.{name}]: pattern {pattern:?} is not a regular expression: {}", .source.to_string().lines().last().unwrap_or_default().trim())]
    Pattern {
        /// The rule's name.
        name: String,
        /// The pattern.
        pattern: String,
        /// What the expression's parser says.
        source: Box<regex::Error>,
    },
}

impl LabelRules {
    /// Checks the rules. Every mistake is one sentence that names the rule.
    pub fn from_settings(settings: &LabelsSettings) -> Result<Self, LabelRuleError> {
        if settings.0.len() > MOST_LABELS {
            return Err(LabelRuleError::TooMany(settings.0.len()));
        }
        let mut rules = LabelRules::default();
        for (name, label) in &settings.0 {
            check_name(name)?;
            rules.rules.push(Rule::new(name, label)?);
            rules.names.push(name.as_str().into());
        }
        Ok(rules)
    }

    /// The labels' names, in the order of [`LabelRules::values`].
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// How many values each label may have, in the order of the names; `None` where an allow list says which.
    pub fn caps(&self) -> impl Iterator<Item = Option<usize>> {
        self.rules.iter().map(Rule::cap)
    }

    /// No rules: no labels.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule looks at [`LabelFacts::inputs`]: otherwise they need not be read.
    pub fn needs_inputs(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.source, rule::Source::Input(_)))
    }

    /// Whether a rule looks at [`LabelFacts::app_tags`].
    pub fn needs_app_tags(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.source, rule::Source::AppTag(_)))
    }

    /// Whether a rule looks at [`LabelFacts::end_user`].
    pub fn needs_end_user(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.source, rule::Source::EndUser(_)))
    }

    /// Whether a rule looks at [`LabelFacts::new_user`].
    pub fn needs_user_age(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.source, rule::Source::UserAge))
    }

    /// A value for each name.
    pub fn values(&self, facts: &LabelFacts<'_>) -> Vec<Arc<str>> {
        self.rules.iter().map(|rule| rule.value(facts)).collect()
    }
}

fn check_name(name: &str) -> Result<(), LabelRuleError> {
    let wrong = |reason| Err(LabelRuleError::Name { name: name.to_owned(), reason });
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return wrong("a label's name begins with a lower-case letter and has lower-case letters, digits and underscores only");
    }
    if name.len() > 64 {
        return wrong("a label's name has at most 64 characters");
    }
    if RESERVED_NAMES.contains(&name) {
        return wrong("metrics already have a label of this name; choose another");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(toml: &str) -> Result<LabelRules, String> {
        let settings: LabelsSettings = toml::from_str(toml).map_err(|e| e.to_string())?;
        LabelRules::from_settings(&settings).map_err(|e| e.to_string())
    }

    fn values(toml: &str, facts: &LabelFacts<'_>) -> Vec<String> {
        rules(toml).unwrap().values(facts).iter().map(|value| value.to_string()).collect()
    }

    fn inputs(inputs: &str) -> LabelFacts<'_> {
        LabelFacts { inputs: Some(inputs), ..LabelFacts::default() }
    }

    #[test]
    fn an_input_variable_becomes_a_label() {
        let rule = "[category]\nsource = \"input\"\nvariable = \"topic\"";
        assert_eq!(values(rule, &inputs(r#"{"topic": " billing "}"#)), ["billing"]);
        assert_eq!(values(rule, &inputs(r#"{"topic": 7}"#)), ["7"]);
        assert_eq!(values(rule, &inputs(r#"{"topic": true}"#)), ["true"]);
        for missing in [r#"{"topic": null}"#, r#"{"topic": ""}"#, "{}", "[]", "not json", ""] {
            assert_eq!(values(rule, &inputs(missing)), [NONE], "{missing}");
        }
        assert_eq!(values(rule, &inputs(r#"{"topic": {"a": 1}}"#)), [OTHER]);
        assert_eq!(values(rule, &inputs(r#"{"n": NaN, "topic": "sales", "rest": "cut h"#)), ["sales"], "as Python writes it, and cut");
        assert_eq!(values(rule, &LabelFacts::default()), [NONE]);
    }

    #[test]
    fn an_allow_list_is_asked_after_lower_case_and_map() {
        let rule = "[category]\nsource = \"input\"\nvariable = \"t\"\nvalues = [\"billing\", \"13800138000\"]\nlowercase = true\nmap = { rechnung = \"billing\" }";
        assert_eq!(values(rule, &inputs(r#"{"t": "Rechnung"}"#)), ["billing"]);
        assert_eq!(values(rule, &inputs(r#"{"t": "BILLING"}"#)), ["billing"]);
        assert_eq!(values(rule, &inputs(r#"{"t": "sales"}"#)), [OTHER]);
        assert_eq!(values(rule, &inputs(r#"{"t": "13800138000"}"#)), ["13800138000"], "who lists a value wants it");
        assert_eq!(rules(rule).unwrap().caps().collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_could_name_a_person_or_a_record_becomes_other() {
        let rule = "[who]\nsource = \"input\"\nvariable = \"t\"";
        assert_eq!(values(rule, &inputs(r#"{"t": "ada@example.com"}"#)), [OTHER]);
        assert_eq!(values(rule, &inputs(r#"{"t": "+49 170 1234567"}"#)), [OTHER]);
        assert_eq!(rules(rule).unwrap().caps().collect::<Vec<_>>(), [Some(50)]);
    }

    #[test]
    fn tags_names_and_end_users() {
        let tags: Vec<Arc<str>> = ["zone:b", "team:support", "team:sales"].map(Arc::from).to_vec();
        let facts = LabelFacts {
            app_name: "HR - Onboarding",
            app_tags: &tags,
            end_user: Some("wx-4711"),
            new_user: Some(true),
            ..LabelFacts::default()
        };
        assert_eq!(values("[team]\nsource = \"app_tag\"\nprefix = \"team:\"", &facts), ["sales"]);
        assert_eq!(values("[unit]\nsource = \"app_name\"\npattern = '^(\\w+) - '", &facts), ["HR"]);
        assert_eq!(values("[unit]\nsource = \"app_name\"\npattern = '^(?<u>\\w+) - (\\w)'\ntemplate = \"${u}/$2\"", &facts), ["HR/O"]);
        assert_eq!(values("[unit]\nsource = \"app_name\"\npattern = 'Nowhere'", &facts), [NONE]);
        assert_eq!(values("[channel]\nsource = \"end_user\"\nseparator = \"-\"", &facts), ["wx"]);
        assert_eq!(values("[channel]\nsource = \"end_user\"\nseparator = \"#\"", &facts), [NONE]);
        assert_eq!(values("[channel]\nsource = \"end_user\"\nvalues = [\"w\", \"wx\"]", &facts), ["wx"]);
        assert_eq!(values("[channel]\nsource = \"end_user\"\nvalues = [\"web\"]", &facts), [OTHER]);
        assert_eq!(values("[user_age]\nsource = \"user_age\"", &facts), ["new"]);
        assert_eq!(values("[user_age]\nsource = \"user_age\"", &LabelFacts::default()), [NONE]);
    }

    #[test]
    fn a_bad_rule_is_one_clear_sentence() {
        for (toml, part) in [
            ("[status]\nsource = \"user_age\"", "[labels.status]: metrics already have a label of this name"),
            ("[Category]\nsource = \"user_age\"", "[labels.Category]: a label's name begins with"),
            ("[x]\nsource = \"input\"", "[labels.x]: source = \"input\" needs variable"),
            ("[x]\nsource = \"user_age\"\nprefix = \"a\"", "[labels.x]: source = \"user_age\" has no key prefix"),
            ("[x]\nsource = \"app_name\"\npattern = \"(\"", "[labels.x]: pattern \"(\" is not a regular expression: error: unclosed group"),
            (
                "[x]\nsource = \"app_name\"\npattern = \"a\"\ntemplate = \"$1\"",
                "[labels.x]: template \"$1\" names a group that the pattern does not have",
            ),
            ("[x]\nsource = \"end_user\"", "[labels.x]: source = \"end_user\" needs separator or values"),
            ("[x]\nsource = \"app_tag\"\nprefix = \"t:\"\nmax_values = 0", "[labels.x]: max_values must be between 1 and 1000"),
            (
                "[a]\nsource=\"user_age\"\n[b]\nsource=\"user_age\"\n[c]\nsource=\"user_age\"\n[d]\nsource=\"user_age\"\n[e]\nsource=\"user_age\"",
                "[labels] has 5 rules",
            ),
        ] {
            let error = rules(toml).unwrap_err();
            assert!(error.starts_with(part) && !error.contains('\n'), "{error}");
        }
    }
}
