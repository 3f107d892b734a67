//! `[janitor.policies.<name>]`: what is kept longer or shorter than the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::settings::list_or_text;

/// Every status of a workflow run that Dify writes and that a policy can name. `running` are runs that never ended
/// (`janitor.stale_after`); paused runs never go.
pub const STATUSES: [&str; 5] = ["succeeded", "failed", "stopped", "partial-succeeded", "running"];

/// What is kept longer or shorter than the rest, by the policies' names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoliciesSettings(pub BTreeMap<String, PolicySettings>);

/// One policy: for which runs and conversations it is, and how they are kept. It is for what fits all of the keys `apps`, `tags`,
/// `tenants` and `statuses` that are given; without any it is for everything. Of several policies that fit, the longest age and the
/// largest `keep_last` count, and a hold outranks everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// Only these apps, by id or by name. A name means every app that bears it. A name that no app bears is an error; the id of an app that is
    /// gone is none: what it left behind can be kept or pruned by it.
    #[serde(deserialize_with = "list_or_text", skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<String>,
    /// Only apps that bear one of these tags.
    #[serde(deserialize_with = "list_or_text", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only apps of these tenants (workspaces), by id.
    #[serde(deserialize_with = "list_or_text", skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Only workflow runs with one of these statuses: `succeeded`, `failed`, `stopped`, `partial-succeeded`, and `running` for runs that
    /// never ended. Conversations have no status, so that a policy with this key is not for them.
    #[serde(deserialize_with = "list_or_text", skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<String>,
    /// How long they are kept, in place of `janitor.age`. May be shorter than a day (`10m` after the end) for an app that is to keep nothing.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// Of each app, the newest so many workflow runs (of `statuses`) and the newest so many conversations stay, whatever their age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// Nothing that fits goes, whatever other policies say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

impl PoliciesSettings {
    pub(super) fn validate(&self) -> Result<(), (String, String)> {
        for (name, policy) in &self.0 {
            validate_name(name).map_err(|problem| (name.clone(), problem))?;
            policy.validate().map_err(|(key, problem)| (format!("{name}.{key}"), problem))?;
        }
        Ok(())
    }
}

impl PolicySettings {
    fn validate(&self) -> Result<(), (&'static str, String)> {
        if let Some(tenant) = self.tenants.iter().find(|tenant| Uuid::try_parse(tenant).is_err()) {
            return Err(("tenants", format!("holds {tenant:?}, which is not the id of a tenant: write it as in the table tenants")));
        }
        if let Some(status) = self.statuses.iter().find(|status| !STATUSES.contains(&status.as_str())) {
            return Err(("statuses", format!("holds {status:?}: a policy knows {}", STATUSES.join(", "))));
        }
        if let Some(age) = self.age {
            super::validate_age(age).map_err(|problem| ("age", problem))?;
        }
        if self.keep_last == Some(0) {
            return Err(("keep_last", "is 0, which keeps nothing: write 1 or more, or leave the key out".to_owned()));
        }
        if self.hold && (self.age.is_some() || self.keep_last.is_some()) {
            return Err(("hold", "keeps everything, so that age and keep_last beside it mean nothing: keep one of them".to_owned()));
        }
        if !self.hold && self.age.is_none() && self.keep_last.is_none() {
            return Err(("age", "is not there, nor are keep_last and hold: say how what fits is kept".to_owned()));
        }
        Ok(())
    }
}

/// Names stand in metrics, in the archive's lists and in variables.
fn validate_name(name: &str) -> Result<(), String> {
    if name == "default" {
        return Err("is the name of what janitor.age says: give the policy another one".to_owned());
    }
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(letters) {
        return Err("is not a name for a policy: use up to 63 lower-case letters, digits, - and _".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        toml::from_str::<PoliciesSettings>(text).unwrap().validate().unwrap_err().0
    }

    #[test]
    fn a_policy_says_for_what_it_is_and_how_that_is_kept() {
        let text = "[failed]\nstatuses = \"failed, stopped\"\nage = \"90d\"\n[legal]\ntags = [\"hold\"]\nhold = true\n";
        let policies: PoliciesSettings = toml::from_str(text).unwrap();
        assert_eq!(policies.0["failed"].statuses, ["failed", "stopped"]);
        assert_eq!(policies.0["failed"].age, Some(Duration::from_secs(90 * 24 * 3600)));
        assert!(policies.0["legal"].hold);
        assert_eq!(policies.validate(), Ok(()));
    }

    #[test]
    fn what_means_nothing_or_is_mistyped_is_refused() {
        assert_eq!(complaint("[a]\napps = [\"x\"]"), "a.age");
        assert_eq!(complaint("[a]\nhold = true\nage = \"1d\""), "a.hold");
        assert_eq!(complaint("[a]\nkeep_last = 0"), "a.keep_last");
        assert_eq!(complaint("[a]\nage = \"0s\""), "a.age");
        assert_eq!(complaint("[a]\nhold = true\nstatuses = [\"success\"]"), "a.statuses");
        assert_eq!(complaint("[a]\nhold = true\ntenants = [\"mine\"]"), "a.tenants");
        assert_eq!(complaint("[default]\nhold = true"), "default");
        assert_eq!(complaint("[\"A b\"]\nhold = true"), "A b");
        assert!(toml::from_str::<PoliciesSettings>("[a]\nhold = true\nstrip_payloads_after = \"1d\"").is_err());
    }
}
