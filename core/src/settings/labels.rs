//! `[labels]`: the operator's own labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The operator's own labels: up to four rules, `[labels.<name>]`, each of which adds the label `<name>` to the metrics of
/// runs, nodes, model calls, tools and messages, and `labels.<name>` to documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelsSettings(pub BTreeMap<String, LabelSettings>);

/// One label: where its value comes from, and which values it may have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSettings {
    /// Where the value comes from.
    pub source: LabelSource,
    /// `source = "input"`: the name of the input variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// `source = "app_tag"`: what the tag begins with, for example "team:"; the rest of it is the value. Of several such
    /// tags the first in alphabetical order counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `source = "app_name"`: a regular expression that is looked for in the app's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// `source = "app_name"`: the value, with `$1` or `$name` for what the pattern's groups matched (default: the first
    /// group, or all that matched where the pattern has no group).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// `source = "end_user"`: the value is what stands before the first of this text in the end user's id, for example
    /// "-". Without it, the value is the one of `values` that the id begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The values that are allowed; all others become `other` (default: any, up to `max_values`).
    #[serde(default, deserialize_with = "super::list_or_text", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// How many different values there may be where `values` is not given (default 50). The first ones stay, also across
    /// restarts; all others become `other`. Every value multiplies the series of many metrics.
    #[serde(default = "max_values")]
    pub max_values: usize,
    /// Values to be replaced, for example `{ "Rechnung" = "billing" }`; before `values` is looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub map: BTreeMap<String, String>,
    /// Values are written in lower case, before `map` and `values` are looked at (default false).
    #[serde(default)]
    pub lowercase: bool,
}

/// Where a label's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// An input variable of the run or message.
    Input,
    /// A tag of the app.
    AppTag,
    /// The app's name.
    AppName,
    /// The beginning of the end user's id (its `session_id`, the `user` of the service API).
    EndUser,
    /// `new` when the end user was first seen with this record, else `returning`.
    UserAge,
}

fn max_values() -> usize {
    50
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_one_text() {
        let settings: LabelsSettings = toml::from_str("[category]\nsource = \"input\"\nvariable = \"topic\"\nvalues = \"a, b\"").unwrap();
        assert_eq!(settings.0["category"].values, ["a", "b"]);
        assert_eq!(settings.0["category"].max_values, 50);
    }

    #[test]
    fn unknown_keys_and_sources_are_errors() {
        assert!(toml::from_str::<LabelsSettings>("[x]\nsource = \"input\"\nvarible = \"topic\"").is_err());
        assert!(toml::from_str::<LabelsSettings>("[x]\nsource = \"weather\"").is_err());
    }
}
