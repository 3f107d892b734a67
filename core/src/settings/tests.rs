use std::time::Duration;

use super::*;

fn load_with(file: &str, env: &[(&str, &str)], overrides: &[Override]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dify-observe.toml");
    std::fs::write(&path, file).unwrap();
    Settings::load(Some(&path), env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), overrides)
}

/// What a person sees, without the temporary folder.
fn complaint(file: &str, env: &[(&str, &str)]) -> String {
    let text = format!("{:#}", anyhow::Error::from(load_with(file, env, &[]).unwrap_err()));
    text.split('/').next_back().unwrap_or_default().to_owned()
}

#[test]
fn nothing_configured_is_the_defaults() {
    let settings = Settings::load(None, std::iter::empty(), &[]).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.state_dir, Path::new("/var/lib/dify-observe"));
    assert_eq!(settings.changed(), []);
}

#[test]
fn file_environment_and_flags_outrank_each_other_in_this_order() {
    let file = "[telemetry]\nlog_filter = \"warn\"\nlog_format = \"text\"\n[exporter]\nlisten = \"127.0.0.1:1\"\n";
    let env = [("DIFY_OBSERVE__TELEMETRY__LOG_FILTER", "debug"), ("DIFY_OBSERVE__TELEMETRY__LOG_FORMAT", "text")];
    let settings = load_with(file, &env, &[("telemetry.log_format", "json".to_owned())]).unwrap();
    assert_eq!(settings.exporter.listen, "127.0.0.1:1");
    assert_eq!(settings.telemetry.log_filter.as_deref(), Some("debug"));
    assert_eq!(settings.telemetry.log_format, LogFormat::Json);
}

#[test]
fn variables_set_numbers_switches_durations_lists_and_words() {
    let env = [
        ("DIFY_OBSERVE__STATE_DIR", "/tmp/x"),
        ("DIFY_OBSERVE__EXPORTER__STREAK_LENGTH", "5"),
        ("DIFY_OBSERVE__EXPORTER__APP_NAME_LABEL", "false"),
        ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "0s"),
        ("DIFY_OBSERVE__EXPORTER__START", "1970-01-02"),
        ("DIFY_OBSERVE__EXPORTER__WEB_CONFIG_FILE", "/etc/web.yml"),
        ("DIFY_OBSERVE__FOLLOW__TRAIL", "1m, 2m"),
        ("DIFY_OBSERVE__POSTGRES__SSL_MODE", "verify-ca"),
        ("DIFY_OBSERVE__POSTGRES__PASSWORD", "0123e5"),
        ("DIFY_OBSERVE__TELEMETRY__LOG_FILTER", ""),
        ("DIFY_OBSERVE_CONFIG", "not a key"),
    ];
    let settings = load_with("", &env, &[]).unwrap();
    assert_eq!(settings.state_dir, Path::new("/tmp/x"));
    assert_eq!((settings.exporter.streak_length, settings.exporter.app_name_label), (5, false));
    assert_eq!(settings.exporter.birth_hold, Duration::ZERO);
    assert_eq!(settings.exporter.start.to_string(), "1970-01-02T00:00:00Z");
    assert_eq!(settings.exporter.web_config_file.as_deref(), Some(Path::new("/etc/web.yml")));
    assert_eq!(settings.follow.trail, [60, 120].map(Duration::from_secs));
    assert_eq!(settings.postgres.ssl_mode, Some(SslMode::VerifyCa));
    assert_eq!(settings.postgres.password.as_ref().map(Secret::expose), Some("0123e5"));
    assert_eq!(settings.telemetry.log_filter, None);
}

#[test]
fn the_log_tells_what_was_changed_and_no_secret() {
    let file = "[postgres]\nurl = \"postgres://u:hunter2@h/d\"\n[follow]\ntrail = [\"1m\"]\n[exporter]\nmin_interval = \"1s\"\n";
    let changed = load_with(file, &[], &[]).unwrap().changed();
    let expected = [("follow.trail", "1m"), ("postgres.url", "<redacted>")];
    assert_eq!(changed, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn secrets_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("url");
    std::fs::write(&secret, "postgres://u:p@from-file/d\n").unwrap();
    let file = format!("[postgres]\nurl_file = {:?}\n", secret.display().to_string());
    let settings = load_with(&file, &[("DATABASE_URL", "postgres://u:p@elsewhere/d")], &[]).unwrap();
    assert_eq!(settings.postgres.connect_options().unwrap().get_host(), "from-file");

    let twice = load_with(&file, &[("DIFY_OBSERVE__POSTGRES__URL", "postgres://u:p@h/d")], &[]).unwrap_err();
    assert_eq!(format!("{:#}", anyhow::Error::from(twice)), "postgres.url: is given twice, as itself and as a file: keep one of the two");
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    for (name, value, expected) in [
        ("DIFY_OBSERVE__EXPORTR__LISTEN", "x", "unknown field `exportr`"),
        ("DIFY_OBSERVE__EXPORTER__STREAK_LENGTH", "many", "many"),
        ("DIFY_OBSERVE__EXPORTER__BIRTH_HOLD", "5 parsecs", "parsecs"),
        ("DIFY_OBSERVE__EXPORTER__START", "later", "beginning"),
        ("DIFY_OBSERVE__POSTGRES__SSL_MODE", "maybe", "verify-full"),
        ("DIFY_OBSERVE__FOLLOW__TRAIL", "1m,soon", "soon"),
        ("DIFY_OBSERVE__EXPORTER", "x", "exporter"),
    ] {
        let shown = complaint("", &[("DIFY_OBSERVE__POSTGRES__URL", "postgres://u:hunter2@h/d"), (name, value)]);
        assert!(shown.starts_with(&format!("environment variable {name}: ")) && shown.contains(expected), "{shown}");
        assert!(!shown.contains('\n'), "{shown}");
    }
}

#[test]
fn a_value_that_cannot_work_says_who_set_it() {
    let file = "[exporter]\nstreak_length = 0\n";
    assert_eq!(complaint(file, &[]), "dify-observe.toml)");
    let settings = load_with(file, &[("DIFY_OBSERVE__EXPORTER__STREAK_LENGTH", "0")], &[]).unwrap_err();
    assert_eq!(
        settings.to_string(),
        "exporter.streak_length is 0: at least one failure makes a streak, so write 1 or more (set in the environment variable \
         DIFY_OBSERVE__EXPORTER__STREAK_LENGTH)"
    );
    assert_eq!(settings.exit(), Exit::Configuration);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::load(Some(Path::new("/nowhere/x.toml")), std::iter::empty(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration file /nowhere/x.toml");
}

#[test]
fn a_bad_database_url_is_found_at_load() {
    let error = load_with("[postgres]\nurl = \"mysql://u:hunter2@h/d\"", &[], &[]).unwrap_err();
    assert_eq!(error.to_string(), "postgres.url names another kind of database: Dify Observe reads only PostgreSQL");
    let error = load_with("", &[("DATABASE_URL", "hunter2")], &[]).unwrap_err();
    assert_eq!(error.to_string(), "DATABASE_URL is not a URL: write postgres://user:password@host:5432/dify");
}

#[test]
fn a_relative_state_folder_is_refused() {
    assert!(load_with("state_dir = \"state\"", &[], &[]).unwrap_err().to_string().starts_with("state_dir is \"state\""));
}

#[test]
fn a_named_table_can_come_from_several_variables() {
    let source = ("DIFY_OBSERVE__LABELS__CATEGORY__SOURCE", "input");
    let settings = load_with("", &[source, ("DIFY_OBSERVE__LABELS__CATEGORY__VARIABLE", "topic")], &[]).unwrap();
    assert_eq!(settings.labels.0["category"].variable.as_deref(), Some("topic"));

    let shown = complaint("", &[("DIFY_OBSERVE__LABELS__CATEGORY__VARIABLE", "topic")]);
    assert!(shown.contains("source"), "{shown}");
    let shown = complaint("", &[("DIFY_OBSERVE__LABELS__CATEGORY__SOURCE", "magic")]);
    assert!(shown.starts_with("environment variable DIFY_OBSERVE__LABELS__CATEGORY__SOURCE: "), "{shown}");
}
