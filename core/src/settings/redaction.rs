//! `[redaction]`: what is taken out of texts before they leave the process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is taken out of content, titles, errors and log texts before they leave the process. All rules are on unless they are named in
/// `disabled`; what they find and what they leave alone: `redaction.md`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionSettings {
    /// Rules that are not applied: any of `email`, `phone`, `id_card`, `iban`, `payment_card`, `api_key`, `jwt`, `private_key`, `authorization`,
    /// `password`, `cookie`.
    #[serde(deserialize_with = "super::list_or_text", skip_serializing_if = "Vec::is_empty")]
    pub disabled: Vec<String>,
    /// Rules of your own, `[redaction.patterns.<name>]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub patterns: BTreeMap<String, PatternSettings>,
}

/// A rule of your own. What it finds becomes `[<name>]`, and is counted under that name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatternSettings {
    /// A regular expression. Of a text that matches, the group named `secret` is taken out, or all of it where the pattern has no such group.
    pub pattern: String,
    /// What stands in its place (default: the rule's name in brackets).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}
