//! `docs/configuration.md`, made of the doc comments of the settings, so that it says what the code says.
//!
//! The test below fails when the file is stale; with `UPDATE_DOCS=1` it writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Settings, SinkSettings, leaves, variable_name};

/// One key of the configuration, read from the source of its struct.
struct Field {
    name: String,
    rust_type: String,
    meaning: String,
}

/// The sections: prefix of the keys, source, name of the struct.
const SECTIONS: [(&str, &str, &str); 15] = [
    ("", include_str!("../settings.rs"), "Settings"),
    ("postgres", include_str!("postgres.rs"), "PostgresSettings"),
    ("follow", include_str!("follow.rs"), "FollowSettings"),
    ("telemetry", include_str!("telemetry.rs"), "TelemetrySettings"),
    ("exporter", include_str!("exporter.rs"), "ExporterSettings"),
    ("shipper", include_str!("shipper.rs"), "ShipperSettings"),
    ("shipper.sinks.<name>", include_str!("shipper/sink.rs"), "SinkSettings"),
    ("janitor", include_str!("janitor.rs"), "JanitorSettings"),
    ("janitor.archive", include_str!("janitor/archive.rs"), "ArchiveSettings"),
    ("janitor.throttle", include_str!("janitor/throttle.rs"), "ThrottleSettings"),
    ("janitor.policies.<name>", include_str!("janitor/policy.rs"), "PolicySettings"),
    ("labels", include_str!("labels.rs"), "LabelsSettings"),
    ("labels.<name>", include_str!("labels.rs"), "LabelSettings"),
    ("redaction", include_str!("redaction.rs"), "RedactionSettings"),
    ("redaction.patterns.<name>", include_str!("redaction.rs"), "PatternSettings"),
];

const INTRODUCTION: &str = "\
# Configuration

<!-- Made from the doc comments of core/src/settings. After a change there: UPDATE_DOCS=1 cargo test -p dify-observe-core --lib reference -->

One TOML file serves all binaries; keys of another binary do no harm. It is named by `--config FILE` or `DIFY_OBSERVE_CONFIG`; without
either, `dify-observe.toml` in the working folder is used if there is one. A commented sample is `dify-observe.toml` at the top of the
repository.

Four layers, weakest first: defaults, the file, environment variables, flags. The variable of a key is `DIFY_OBSERVE__`, then section
and key in capitals with two underscores between them; a variable that is set to nothing counts as not set.

- Unknown keys and unknown variables are errors: a mistyped key never goes unnoticed.
- Durations are text such as `30s`, `5m`, `1h 30m`, `7d`; sizes such as `256KiB`, `8MiB`. Lists are TOML lists, or one text with commas.
- Every secret can be read from a file, by the same key with `_file` at the end; one line break at the end of the file is ignored.
  Giving both is an error. Secrets are never logged.
- A mistake in the configuration ends the program with exit code 64 and one sentence that says where it is and how to mend it.
- `[section]` tables that end in a name of your choice (`[labels.<name>]`, `[shipper.sinks.<name>]`, `[janitor.policies.<name>]`) take lower-case names, so that variables can set them too.
";

/// The whole document.
fn document() -> String {
    let defaults = defaults();
    let mut text = INTRODUCTION.to_owned();
    for (prefix, source, name) in SECTIONS {
        let (about, fields) = read_struct(source, name);
        let title = if prefix.is_empty() { "Top level".to_owned() } else { format!("`[{prefix}]`") };
        writeln!(text, "\n## {title}").unwrap();
        if !prefix.is_empty() {
            writeln!(text, "\n{about}").unwrap();
        }
        for field in fields {
            let key = if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) };
            // The sections themselves are fields of the top level.
            if field.rust_type.trim_end_matches('>').ends_with("Settings") {
                continue;
            }
            write!(text, "\n{}", entry(&key, &field, &defaults)).unwrap();
        }
    }
    text
}

/// The defaults of all keys, those of a named sink too.
fn defaults() -> BTreeMap<String, String> {
    const SINK: &str = "shipper.sinks.name.";
    let mut settings = Settings::default();
    settings.shipper.sinks.insert("name".to_owned(), SinkSettings::default());
    let named = |key: String| key.strip_prefix(SINK).map_or(key.clone(), |rest| format!("shipper.sinks.<name>.{rest}"));
    leaves(&settings).into_iter().map(|(key, value)| (named(key), value)).collect()
}

fn entry(key: &str, field: &Field, defaults: &BTreeMap<String, String>) -> String {
    let kind = if field.name.ends_with("_bytes") { "size" } else { kind(&field.rust_type) };
    let variable = variable_name(key);
    match defaults.get(key).filter(|value| !value.is_empty()) {
        // The default has a place of its own; its mention in the comment would only repeat it.
        Some(default) => format!("### `{key}`\n\n{kind}, default `{default}` · `{variable}`\n\n{}\n", without_default(&field.meaning)),
        None => format!("### `{key}`\n\n{kind} · `{variable}`\n\n{}\n", field.meaning),
    }
}

/// What a person writes for a Rust type.
fn kind(rust_type: &str) -> &'static str {
    let bare = rust_type.trim_start_matches("Option<").trim_end_matches('>');
    match rust_type {
        "Vec<Duration>" => return "list of durations",
        "Vec<String>" => return "list of texts",
        _ => {}
    }
    match bare {
        "Duration" => "duration",
        "bool" => "`true` or `false`",
        "u16" | "u32" | "u64" | "usize" | "i32" | "f64" => "number",
        "Window" => "part of the day",
        "Secret" => "secret text",
        "PathBuf" => "path",
        "BTreeMap<String, String" => "table of texts",
        "BTreeMap<String, PartitionLength" => "table of `day`, `week` or `month`",
        "SinkType" => "`elasticsearch`, `ndjson` or `stdout`",
        "ContentMode" => "`off`, `truncated` or `full`",
        "UserIds" => "`plain` or `hashed`",
        "String" => "text",
        "Start" => "`now`, `beginning` or a time",
        "LogFormat" => "`text` or `json`",
        "SslMode" => "one word",
        "LabelSource" => "`input`, `app_tag`, `app_name`, `end_user` or `user_age`",
        other => panic!("the reference has no word for the type {other}: add one here"),
    }
}

/// The doc comment of a struct, and its public fields with theirs.
fn read_struct(source: &str, name: &str) -> (String, Vec<Field>) {
    let lines: Vec<&str> = source.lines().collect();
    let head = format!("pub struct {name}");
    let start = lines.iter().position(|line| line.starts_with(&head)).unwrap_or_else(|| panic!("no struct {name}"));
    let above = lines[..start].iter().rposition(|line| line.is_empty()).map_or(0, |at| at + 1);
    let about = comment(&lines[above..start]);
    let mut fields = Vec::new();
    let mut pending = Vec::new();
    for line in lines[start + 1..].iter().take_while(|line| **line != "}" && !lines[start].ends_with(';')) {
        let line = line.trim();
        match line.strip_prefix("pub ").and_then(|rest| rest.strip_suffix(',')?.split_once(": ")) {
            Some((name, rust_type)) => {
                let meaning = comment(&pending);
                fields.push(Field { name: name.to_owned(), rust_type: rust_type.to_owned(), meaning });
                pending.clear();
            }
            None => pending.push(line),
        }
    }
    (about, fields)
}

/// The text of doc comments.
fn comment(lines: &[&str]) -> String {
    let text: Vec<&str> = lines.iter().filter_map(|line| line.trim().strip_prefix("///")).map(str::trim).collect();
    text.join("\n")
}

/// Leaves out "(default …)" and the space before it.
fn without_default(text: &str) -> String {
    let Some((before, rest)) = text.split_once("(default") else { return text.to_owned() };
    let Some((_, after)) = rest.split_once(')') else { return text.to_owned() };
    format!("{}{after}", before.trim_end())
}

#[test]
fn the_configuration_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let expected = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expected, "docs/configuration.md is stale: UPDATE_DOCS=1 cargo test -p dify-observe-core --lib reference");
}

#[test]
fn every_key_with_a_default_is_in_the_reference() {
    let document = document();
    for key in leaves(&Settings::default()).keys().filter(|key| *key != "labels") {
        assert!(document.contains(&format!("### `{key}`\n")), "{key}");
    }
}

#[test]
fn every_key_has_a_meaning() {
    for (prefix, source, name) in SECTIONS {
        let (about, fields) = read_struct(source, name);
        assert!(!about.is_empty(), "{name}");
        for field in fields {
            assert!(field.meaning.len() > 10, "{prefix}.{}", field.name);
        }
    }
}

/// The sample at the top of the repository: it is valid as it is, and so is every line of it that is commented out.
#[test]
fn the_sample_configuration_is_valid_with_and_without_its_comments() {
    let sample = include_str!("../../../dify-observe.toml");
    assert_eq!(toml::from_str::<Settings>(sample).unwrap(), Settings::default());
    let is_code = |line: &str| line.starts_with("#[") || (line.starts_with('#') && !line.starts_with("# "));
    let lines: Vec<&str> = sample.lines().map(|line| if is_code(line) { &line[1..] } else { line }).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.toml");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let settings = Settings::load(Some(&path), std::iter::empty(), &[]).unwrap();
    assert_eq!(settings.postgres.connect_options().unwrap().get_host(), "localhost");
    assert!(settings.changed().iter().any(|(key, _)| key.starts_with("labels.")));
}
