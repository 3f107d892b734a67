//! `[janitor]`: what dify-janitor keeps, what it lets go, and how gently.

mod archive;
mod policy;
mod throttle;
mod window;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use archive::ArchiveSettings;
pub use policy::{PoliciesSettings, PolicySettings, STATUSES};
pub use throttle::ThrottleSettings;
pub use window::Window;

use super::SettingsError;
use crate::secret::Secret;

/// What dify-janitor keeps, what it lets go, and how gently. Nothing is deleted without `run --execute`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JanitorSettings {
    /// How long a workflow run is kept after its end, and a conversation after its last sign of life, where no policy says another age.
    #[serde(with = "humantime_serde")]
    pub age: Duration,
    /// A run that still says `running` goes only when its age is reached and its row has not changed for this long. Above
    /// `follow.abandon_after`. Paused runs never go.
    #[serde(with = "humantime_serde")]
    pub stale_after: Duration,
    /// When deleting is allowed, as `22:00-06:00` in `time_zone`; it may pass midnight. When not set: always. A run stops, between two
    /// transactions, when the window closes, and does not begin outside of it (exit code 75).
    pub window: Option<Window>,
    /// The time zone of `window`, by its IANA name such as `Asia/Shanghai`.
    pub time_zone: String,
    /// How long one run may take; what is left is the next run's. Also the flag `--time-budget`. When not set: until it is done.
    #[serde(with = "humantime_serde")]
    pub time_budget: Option<Duration>,
    /// Rows deleted per second, over all tables, in the mean. The default was measured to be invisible to Dify's traffic; 0 deletes as
    /// fast as the database can, which Dify's users notice.
    pub pace: u64,
    /// Exporters and shippers that must have read a record before it goes, by the address of their admin server, such as
    /// `http://dify-exporter:9810`. One that cannot be asked, or that has not written its position for 15 minutes, stops the run
    /// (exit code 75).
    #[serde(deserialize_with = "super::list_or_text")]
    pub wait_for: Vec<String>,
    /// The user name, where the servers of `wait_for` ask for basic authentication.
    pub wait_for_username: Option<String>,
    /// The password that belongs to `wait_for_username`.
    pub wait_for_password: Option<Secret>,
    /// A file that holds `janitor.wait_for_password`.
    pub wait_for_password_file: Option<PathBuf>,
    /// A file with the certificate authority that signed the certificates of the servers of `wait_for` (PEM). When not set: the system's.
    pub wait_for_ca_file: Option<PathBuf>,
    /// Refuses to begin when one policy would take more than this share of all runs and conversations, as `plan` estimates it: that is how
    /// a mistyped age looks, and how a Dify looks that was not used for long. 1 allows everything.
    pub max_share: f64,
    /// Most runs or conversations that are archived as one batch. Larger makes fewer and larger files, and more to do again after a crash.
    pub batch_bundles: u32,
    /// Most rows of one batch; a run or conversation that has more is a batch of its own.
    pub batch_rows: u32,
    /// Most rows deleted in one transaction. A run or conversation that has more goes in several, its own row last.
    pub transaction_rows: u32,
    /// How long one transaction should take: the number of rows in it follows what was measured, up to `transaction_rows`.
    #[serde(with = "humantime_serde")]
    pub transaction_target: Duration,
    /// How long a statement that deletes may wait for a lock before it gives way to Dify and tries again later.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How long one statement may take before the server cancels it. A deletion that is cancelled is tried again with fewer rows.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Nothing is deleted while this file exists: `touch` it to pause a run, remove it to let it go on.
    pub pause_file: Option<PathBuf>,
    /// A file, ending in `.prom`, to which each run writes its metrics for node_exporter's textfile collector.
    pub metrics_textfile: Option<PathBuf>,
    /// A Pushgateway to which each run sends its metrics, such as `http://pushgateway:9091`.
    pub pushgateway_url: Option<String>,
    /// The job under which the Pushgateway keeps them.
    pub pushgateway_job: String,
    /// Where rows are kept before they are deleted.
    pub archive: ArchiveSettings,
    /// When deleting gives way.
    pub throttle: ThrottleSettings,
    /// What is kept longer or shorter than the rest.
    pub policies: PoliciesSettings,
}

impl Default for JanitorSettings {
    fn default() -> Self {
        JanitorSettings {
            age: Duration::from_secs(30 * 24 * 3600),
            stale_after: Duration::from_secs(7 * 24 * 3600),
            window: None,
            time_zone: "UTC".to_owned(),
            time_budget: None,
            pace: 5000,
            wait_for: Vec::new(),
            wait_for_username: None,
            wait_for_password: None,
            wait_for_password_file: None,
            wait_for_ca_file: None,
            max_share: 0.95,
            batch_bundles: 5000,
            batch_rows: 100_000,
            transaction_rows: 20_000,
            transaction_target: Duration::from_millis(200),
            lock_timeout: Duration::from_millis(100),
            statement_timeout: Duration::from_secs(5),
            pause_file: None,
            metrics_textfile: None,
            pushgateway_url: None,
            pushgateway_job: "dify-janitor".to_owned(),
            archive: ArchiveSettings::default(),
            throttle: ThrottleSettings::default(),
            policies: PoliciesSettings::default(),
        }
    }
}

/// What is wrong with a key of a section, and which one it is.
type Problem = (String, String);

impl JanitorSettings {
    /// The time zone of `window`; `validate` has seen that it is one.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.time_zone.parse().unwrap_or(chrono_tz::UTC)
    }

    pub(super) fn read_secret_files(&mut self) -> Result<(), SettingsError> {
        let file = self.wait_for_password_file.as_deref();
        super::secret_from_file("janitor.wait_for_password", &mut self.wait_for_password, file)?;
        self.archive.read_secret_files()
    }

    /// `abandon_after` is the follower's: what it still watches must not be deleted as stale.
    pub(super) fn validate(&self, abandon_after: Duration) -> Result<(), Problem> {
        self.validate_ages(abandon_after)?;
        self.validate_wait_for()?;
        self.validate_amounts()?;
        self.validate_metrics()?;
        self.archive.validate().map_err(|(key, problem)| (format!("archive.{key}"), problem))?;
        self.throttle.validate().map_err(|(key, problem)| (format!("throttle.{key}"), problem))?;
        self.policies.validate().map_err(|(key, problem)| (format!("policies.{key}"), problem))
    }

    fn validate_ages(&self, abandon_after: Duration) -> Result<(), Problem> {
        validate_age(self.age).map_err(|problem| problem_with("age", problem))?;
        if self.stale_after <= abandon_after {
            let problem = format!(
                "is {}, not above follow.abandon_after ({}): the exporter and the shipper would still wait for runs that are deleted",
                humantime::format_duration(self.stale_after),
                humantime::format_duration(abandon_after)
            );
            return Err(problem_with("stale_after", problem));
        }
        if self.time_zone.parse::<chrono_tz::Tz>().is_err() {
            let problem = format!("is {:?}, which is not an IANA time zone: write a name such as \"Europe/Berlin\"", self.time_zone);
            return Err(problem_with("time_zone", problem));
        }
        Ok(())
    }

    fn validate_wait_for(&self) -> Result<(), Problem> {
        for url in &self.wait_for {
            validate_url(url).map_err(|problem| problem_with("wait_for", problem))?;
        }
        if self.wait_for_username.is_some() != self.wait_for_password.is_some() {
            let problem = "and janitor.wait_for_password belong together: set both or neither";
            return Err(problem_with("wait_for_username", problem));
        }
        validate_readable("wait_for_ca_file", self.wait_for_ca_file.as_deref())
    }

    fn validate_amounts(&self) -> Result<(), Problem> {
        if !(self.max_share > 0.0 && self.max_share <= 1.0) {
            return Err(problem_with("max_share", format!("is {}: write a share above 0 and up to 1, such as 0.95", self.max_share)));
        }
        let counts = [("batch_bundles", self.batch_bundles), ("batch_rows", self.batch_rows), ("transaction_rows", self.transaction_rows)];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(problem_with(key, "is 0, so that nothing would ever be done: write 1 or more"));
        }
        let durations = [
            ("transaction_target", self.transaction_target),
            ("lock_timeout", self.lock_timeout),
            ("statement_timeout", self.statement_timeout),
        ];
        if let Some((key, _)) = durations.into_iter().find(|(_, duration)| duration.as_millis() == 0) {
            return Err(problem_with(key, "is 0: write a duration such as \"200ms\""));
        }
        if self.time_budget.is_some_and(|budget| budget.is_zero()) {
            return Err(problem_with("time_budget", "is 0, so that nothing would ever be done: write a duration such as \"1h\""));
        }
        Ok(())
    }

    fn validate_metrics(&self) -> Result<(), Problem> {
        if let Some(path) = &self.metrics_textfile
            && path.extension().is_none_or(|extension| extension != "prom")
        {
            let problem = format!("is {}: node_exporter reads only files whose name ends in .prom", path.display());
            return Err(problem_with("metrics_textfile", problem));
        }
        if let Some(url) = &self.pushgateway_url {
            validate_url(url).map_err(|problem| problem_with("pushgateway_url", problem))?;
        }
        if self.pushgateway_job.trim().is_empty() {
            return Err(problem_with("pushgateway_job", "is empty: write a name such as \"dify-janitor\""));
        }
        Ok(())
    }
}

fn problem_with(key: &str, problem: impl Into<String>) -> Problem {
    (key.to_owned(), problem.into())
}

/// An age is after the end of something and before the dawn of time.
fn validate_age(age: Duration) -> Result<(), String> {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    if age.as_secs() < 60 {
        let shown = humantime::format_duration(age);
        return Err(format!("is {shown}: the shortest age is \"1m\", so that Dify is done with a run before it goes"));
    }
    if age > CENTURY {
        return Err("is more than 100 years: to keep something for ever, write a policy with `hold = true`".to_owned());
    }
    Ok(())
}

/// An address of a server of ours or of a Pushgateway. Credentials stand in keys of their own, because addresses are logged.
fn validate_url(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(format!("holds {url:?}, which begins with neither http:// nor https://: write such as \"http://dify-exporter:9810\""));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user name or password in an address: addresses are logged, use the keys for credentials".to_owned());
    }
    let host = authority.split(':').next().unwrap_or_default();
    if host.is_empty() || url.chars().any(char::is_whitespace) {
        return Err(format!("holds {url:?}, which names no host: write such as \"http://dify-exporter:9810\""));
    }
    Ok(())
}

fn validate_readable(key: &str, path: Option<&Path>) -> Result<(), Problem> {
    match path.map(|path| (path, std::fs::File::open(path))) {
        Some((path, Err(error))) => Err(problem_with(key, format!("names the file {}, which cannot be read ({error})", path.display()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut JanitorSettings)) -> String {
        let mut settings = JanitorSettings::default();
        change(&mut settings);
        settings.validate(Duration::from_secs(24 * 3600)).expect_err("refused").0
    }

    #[test]
    fn the_defaults_are_fine() {
        assert_eq!(JanitorSettings::default().validate(Duration::from_secs(24 * 3600)), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        assert_eq!(refused(|s| s.age = Duration::ZERO), "age");
        assert_eq!(refused(|s| s.age = Duration::from_secs(u64::MAX)), "age");
        assert_eq!(refused(|s| s.stale_after = Duration::from_secs(24 * 3600)), "stale_after");
        assert_eq!(refused(|s| s.time_zone = "Mars".to_owned()), "time_zone");
        assert_eq!(refused(|s| s.time_budget = Some(Duration::ZERO)), "time_budget");
        assert_eq!(refused(|s| s.wait_for = vec!["dify-exporter:9810".to_owned()]), "wait_for");
        assert_eq!(refused(|s| s.wait_for = vec!["http://:9810".to_owned()]), "wait_for");
        assert_eq!(refused(|s| s.wait_for_username = Some("u".to_owned())), "wait_for_username");
        assert_eq!(refused(|s| s.wait_for_ca_file = Some("/nowhere/ca.pem".into())), "wait_for_ca_file");
        for share in [0.0, -1.0, 1.1, f64::NAN] {
            assert_eq!(refused(|s| s.max_share = share), "max_share");
        }
        assert_eq!(refused(|s| s.batch_rows = 0), "batch_rows");
        assert_eq!(refused(|s| s.lock_timeout = Duration::from_micros(10)), "lock_timeout");
        assert_eq!(refused(|s| s.metrics_textfile = Some("/x/janitor.txt".into())), "metrics_textfile");
        assert_eq!(refused(|s| s.pushgateway_url = Some("gateway".to_owned())), "pushgateway_url");
        assert_eq!(refused(|s| s.pushgateway_job = " ".to_owned()), "pushgateway_job");
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_shown() {
        let settings = JanitorSettings { wait_for: vec!["http://u:hunter2@h:9810".to_owned()], ..JanitorSettings::default() };
        let (key, problem) = settings.validate(Duration::from_secs(1)).expect_err("refused");
        assert_eq!(key, "wait_for");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
