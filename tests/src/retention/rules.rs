//! How long what is kept, as a test says it to dify-janitor and to plain SQL.

use std::fmt::Write as _;

use uuid::Uuid;

/// A policy by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// For this app alone.
    pub app: Option<Uuid>,
    /// For runs with one of these statuses alone.
    pub statuses: Vec<&'static str>,
    /// Seconds that what fits is kept.
    pub age: Option<i64>,
    /// What fits stays.
    pub hold: bool,
}

/// Everything that decides what goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Seconds that runs and conversations are kept where no rule says another age.
    pub age: i64,
    /// Seconds after which a run that still says `running` is taken for dead.
    pub stale_after: i64,
    /// The exceptions.
    pub rules: Vec<Rule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { age: 30 * 86_400, stale_after: 7 * 86_400, rules: Vec::new() }
    }
}

impl Rules {
    /// Thirty days for most, ten for the first app, nothing of the second goes, and what failed stays twice as long.
    pub fn varied(apps: &[Uuid]) -> Self {
        let rule = |name| Rule { name, app: None, statuses: Vec::new(), age: None, hold: false };
        let short = Rule { app: apps.first().copied(), age: Some(10 * 86_400), ..rule("short") };
        let held = Rule { app: apps.get(1).copied(), hold: true, ..rule("held") };
        let failed = Rule { statuses: vec!["failed", "stopped"], age: Some(60 * 86_400), ..rule("failed") };
        Self { rules: vec![short, held, failed], ..Self::default() }
    }

    /// The same as a part of `dify-observe.toml`.
    pub fn to_toml(&self) -> String {
        let mut toml = format!("[janitor]\nage = \"{}s\"\nstale_after = \"{}s\"\n", self.age, self.stale_after);
        for rule in &self.rules {
            let _ = writeln!(toml, "[janitor.policies.{}]", rule.name);
            if let Some(app) = rule.app {
                let _ = writeln!(toml, "apps = [\"{app}\"]");
            }
            if !rule.statuses.is_empty() {
                let _ = writeln!(toml, "statuses = {:?}", rule.statuses);
            }
            if let Some(age) = rule.age {
                let _ = writeln!(toml, "age = \"{age}s\"");
            }
            if rule.hold {
                toml.push_str("hold = true\n");
            }
        }
        toml
    }

    /// The rules as rows `(app, statuses, seconds, hold)`.
    pub(super) fn to_values(&self) -> String {
        let mut rows = vec!["(NULL::uuid, NULL::text[], NULL::bigint, false)".to_owned()];
        for rule in &self.rules {
            let app = rule.app.map_or("NULL".to_owned(), |app| format!("'{app}'::uuid"));
            let statuses = if rule.statuses.is_empty() { "NULL".to_owned() } else { format!("ARRAY['{}']", rule.statuses.join("', '")) };
            let age = rule.age.map_or("NULL".to_owned(), |age| age.to_string());
            rows.push(format!("({app}, {statuses}, {age}, {})", rule.hold));
        }
        rows.join(", ")
    }
}
