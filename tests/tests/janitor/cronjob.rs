//! deploy/kubernetes/janitor-cronjob.yaml: its arguments, its configuration and its exit codes are what the binary knows.

use std::path::Path;

use dify_observe_tests::Schema;
use dify_observe_tests::postgres::Cluster;
use dify_observe_tests::process::{self, Finished};
use yaml_rust2::{Yaml, YamlLoader};

use crate::roles::grant;
use crate::scene::Scene;

/// The documents of the manifest by their kind.
fn manifest() -> Vec<Yaml> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/janitor-cronjob.yaml");
    YamlLoader::load_from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn of_kind(kind: &str) -> Yaml {
    manifest().into_iter().find(|document| document["kind"].as_str() == Some(kind)).unwrap()
}

fn texts(list: &Yaml) -> Vec<String> {
    list.as_vec().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn container() -> Yaml {
    of_kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0].clone()
}

/// A pod in a folder: what the manifest mounts is below it, and its addresses are those of the test.
struct Pod {
    folder: tempfile::TempDir,
    url: String,
    guarded_by: String,
}

impl Pod {
    fn new(url: &str, guarded_by: &str) -> anyhow::Result<Self> {
        let pod = Self { folder: tempfile::tempdir()?, url: url.to_owned(), guarded_by: guarded_by.to_owned() };
        for mount in container()["volumeMounts"].as_vec().unwrap() {
            std::fs::create_dir_all(format!("{}{}", pod.folder.path().display(), mount["mountPath"].as_str().unwrap()))?;
        }
        let toml = of_kind("ConfigMap")["data"]["dify-observe.toml"].as_str().unwrap().to_owned();
        let (address, password) = pod.address();
        std::fs::write(pod.path("/etc/dify-observe/config/dify-observe.toml"), pod.here(&toml).replace(ADDRESS, &address))?;
        std::fs::write(pod.path("/etc/dify-observe/secrets/postgres-password"), password)?;
        Ok(pod)
    }

    /// The URL without its password, and the password.
    fn address(&self) -> (String, String) {
        let (user, rest) = self.url.split_once("//").and_then(|(_, rest)| rest.split_once(':')).unwrap();
        let (password, host) = rest.split_once('@').unwrap();
        (format!("postgres://{user}@{host}"), password.to_owned())
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.folder.path().display())
    }

    /// A text of the manifest with the pod's paths and servers.
    fn here(&self, text: &str) -> String {
        let text =
            text.replace("/etc/dify-observe/", &self.path("/etc/dify-observe/")).replace("http://dify-exporter:9810", &self.guarded_by);
        text.replace("/var/lib/dify-observe", &self.path("/var/lib/dify-observe"))
    }

    /// Runs the container: its arguments as they are, and its variables.
    async fn run(&self, more: &[(&str, &str)]) -> anyhow::Result<Finished> {
        let container = container();
        let arguments = texts(&container["args"]);
        let value = |variable: &Yaml| (variable["name"].as_str().unwrap().to_owned(), self.here(variable["value"].as_str().unwrap()));
        let variables: Vec<(String, String)> = container["env"].as_vec().unwrap().iter().map(value).collect();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(more.iter().copied()).collect();
        process::run("dify-janitor", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &variables).await
    }
}

/// What the manifest says of the database, to be replaced.
const ADDRESS: &str = "postgres://dify_janitor@dify-postgresql:5432/dify";

/// Without a pace that would take minutes, and with every share allowed: the data of tests is old.
const QUICK: [(&str, &str); 2] = [("DIFY_OBSERVE__JANITOR__PACE", "0"), ("DIFY_OBSERVE__JANITOR__MAX_SHARE", "1")];

#[tokio::test]
async fn a_night_archives_and_deletes_and_one_that_is_guarded_may_be_tried_again() -> anyhow::Result<()> {
    let scene = Scene::new(&Schema::load("1.12.1")?, dify_observe_tests::seed("a_night_archives_and_deletes"), 150).await?;
    let url = grant(Cluster::shared()?, &scene.database, "dify_observe_test_nightly", true).await?;
    let guarded = Pod::new(&url, "http://127.0.0.1:1")?;
    let finished = guarded.run(&QUICK).await?;
    assert_eq!(finished.code, Some(75), "{finished:?}");
    scene.is_untouched().await?;
    // Nobody is waited for.
    let without = [QUICK[0], QUICK[1], ("DIFY_OBSERVE__JANITOR__WAIT_FOR", " ,")];
    let pod = Pod::new(&url, "http://127.0.0.1:1")?;
    let finished = pod.run(&without).await?;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let gone: usize = scene.gone().await?.values().map(|keys| keys.len()).sum();
    assert!(gone > 0, "{finished:?}");
    assert!(Path::new(&pod.path("/var/lib/dify-observe/archive")).read_dir()?.count() > 0);
    scene.no_new_orphans().await?;
    let finished = pod.run(&[("DIFY_OBSERVE__JANITOR__AGE", "0s")]).await?;
    assert_eq!(finished.code, Some(64), "{finished:?}");
    Ok(())
}

#[test]
fn what_trying_again_cannot_mend_ends_the_job_at_once() {
    let job = &of_kind("CronJob")["spec"]["jobTemplate"]["spec"];
    let rule = &job["podFailurePolicy"]["rules"][0];
    let codes: Vec<i64> = rule["onExitCodes"]["values"].as_vec().unwrap().iter().filter_map(Yaml::as_i64).collect();
    assert_eq!((rule["action"].as_str(), codes), (Some("FailJob"), vec![2, 64, 78]));
    assert_eq!(job["template"]["spec"]["restartPolicy"].as_str(), Some("Never"), "a failure policy wants it");
    assert!(job["backoffLimit"].as_i64().unwrap() > 0);
}

#[test]
fn nights_do_not_overlap_and_have_time_to_end() {
    let cron = &of_kind("CronJob")["spec"];
    assert_eq!(cron["concurrencyPolicy"].as_str(), Some("Forbid"));
    let budget = texts(&container()["args"]).into_iter().find_map(|argument| argument.strip_prefix("--time-budget=").map(str::to_owned));
    let budget = humantime::parse_duration(&budget.unwrap()).unwrap().as_secs();
    assert!(cron["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_i64().unwrap() as u64 > budget + 600);
}

#[test]
fn the_pod_may_do_nothing_but_its_work() {
    let spec = &of_kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let (pod, container) = (&spec["securityContext"], &spec["containers"][0]["securityContext"]);
    assert_eq!(pod["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"));
    assert_eq!(container["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(container["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(texts(&container["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(spec["automountServiceAccountToken"].as_bool(), Some(false));
}
