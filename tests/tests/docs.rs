//! What the documentation says exists: samples are read, links lead somewhere, metrics are in the catalogue.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dify_exporter::catalogue;
use dify_observe_core::settings::Settings;
use dify_observe_tests::children::find_program;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All pages of the repository, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = root();
    let folders = ["", "docs", "deploy/postgres", "deploy/kubernetes", "tests/fixtures"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let pages: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).map(|file| (file.clone(), read(&file))).collect();
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn assert_loads(text: &str, place: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("sample.toml"), folder.path().join("secret"));
    std::fs::write(&secret, "a secret of some length").unwrap();
    // Files that hold secrets are read when the configuration is: what the sample names is not on this machine.
    let with_files = text.lines().map(|line| match line.split_once("_file = \"") {
        Some((key, rest)) => format!("{key}_file = \"{}\"{}", secret.display(), rest.split_once('"').unwrap_or_default().1),
        None => line.to_owned(),
    });
    std::fs::write(&file, with_files.collect::<Vec<_>>().join("\n")).unwrap();
    let loaded = Settings::load(Some(&file), std::iter::empty(), Default::default());
    assert!(loaded.is_ok(), "{}: {}\n{text}", place.display(), loaded.unwrap_err());
}

#[test]
fn every_configuration_sample_is_valid() {
    let sample = root().join("dify-observe.toml");
    assert_loads(&read(&sample), &sample);
    // The same with every commented key switched on.
    let uncommented: Vec<String> =
        read(&sample).lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned()).collect();
    assert_loads(&uncommented.join("\n"), &sample);
    for (page, text) in pages() {
        blocks(&text, "toml").iter().for_each(|block| assert_loads(block, &page));
    }
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    for (page, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let linked = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(linked.exists(), "{} links to {target}", page.display());
            let found = anchor.is_empty() || read(&linked).lines().any(|line| line.starts_with('#') && slug(line) == anchor);
            assert!(found, "{} links to {target}, and there is no such heading", page.display());
        }
    }
}

/// As GitHub makes it of a heading.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_metric_that_is_named_exists() {
    let mut known = BTreeSet::new();
    for family in catalogue::all() {
        for suffix in ["", "_total", "_bucket", "_sum", "_count", "_info"] {
            known.insert(format!("{}{suffix}", family.name));
        }
    }
    let janitor = dify_janitor::metrics::Metrics::default().render();
    let families = janitor.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    known.extend(families.map(str::to_owned));
    let shipper = dify_shipper::metrics::table();
    known.extend(shipper.split('`').filter(|word| word.starts_with("dify_shipper_")).map(str::to_owned));
    let rules = root().join("deploy/prometheus/dify-rules.yml");
    let mut unknown = BTreeSet::new();
    for (page, text) in pages().into_iter().chain([(rules.clone(), read(&rules))]) {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '*' | '{' | '}' | ',' | '.')));
        for word in words.flat_map(|word| word.split(['{', '}', ','])).filter(|word| word.starts_with("dify_")) {
            let name = word.trim_end_matches([':', '.']);
            if !name.contains(['*', '.']) && !name.contains("::") && !NOT_METRICS.contains(&name) && !known.contains(name) {
                unknown.insert(format!("{name} in {}", page.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// Other things whose names begin like a metric: roles, crates, and prefixes in prose.
const NOT_METRICS: [&str; 9] = [
    "dify_exporter",
    "dify_janitor",
    "dify_shipper",
    "dify_observe",
    "dify_observe_",
    "dify_observe_core",
    "dify_observe_tests",
    "dify_exporter_",
    "dify_",
];

#[test]
fn the_prometheus_samples_pass_promtool() {
    let promtool = find_program("promtool", "prometheus").unwrap();
    for arguments in [["check", "config", "prometheus.yml"], ["test", "rules", "dify-rules.test.yml"]] {
        let output = Command::new(&promtool).args(arguments).current_dir(root().join("deploy/prometheus")).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    }
}
