//! One start-up order for all binaries: configuration, logs, what is running with which configuration, then the work.
//!
//! A mistake is one sentence on standard error and an exit code of [`crate::exit::Exit`], before any port is opened.

use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Clock;
use crate::exit::Exit;
use crate::secret::scrub;
use crate::settings::{LogFormat, Override, Settings};
use crate::shutdown::Shutdown;
use crate::telemetry;

/// The configuration file that is used when none is named and it exists in the working folder.
pub const DEFAULT_CONFIG: &str = "dify-observe.toml";

/// Time for the work in hand after the first signal; below the 30 seconds that Kubernetes waits before it kills.
const GRACE: Duration = Duration::from_secs(20);

/// Threads of the runtime. The work is mostly waiting.
const WORKERS: usize = 2;

/// Arguments of every command of every binary.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonArgs {
    /// Configuration file (TOML). Without it: ./dify-observe.toml if there is one, else defaults and environment only
    #[arg(long, value_name = "FILE", env = "DIFY_OBSERVE_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Shape of the log lines on standard error [default: text, or telemetry.log_format]
    #[arg(long, value_enum, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// Which program is running.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, such as `dify-exporter`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// How a command lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Runs until it is told to end; logs what it does; finishes its work at the first signal.
    Service,
    /// Prints an answer and ends; logs only what is wrong; a signal ends it.
    Command,
}

/// What a command starts with.
#[derive(Debug)]
pub struct Context {
    /// The configuration.
    pub settings: Settings,
    /// Tells when to end.
    pub shutdown: Shutdown,
    /// Tells the time.
    pub clock: Clock,
}

/// Runs a command that needs the configuration, from its arguments to its exit code.
pub fn run<F, Work>(program: Program, life: Life, common: &CommonArgs, work: F) -> ExitCode
where
    F: FnOnce(Context) -> Work,
    Work: Future<Output = anyhow::Result<Exit>>,
{
    report(program, guarded(|| start(program, life, common, work)))
}

/// Runs a command that needs neither configuration nor network.
pub fn run_plain(program: Program, work: impl FnOnce() -> anyhow::Result<Exit>) -> ExitCode {
    report(program, guarded(work))
}

fn start<F, Work>(program: Program, life: Life, common: &CommonArgs, work: F) -> anyhow::Result<Exit>
where
    F: FnOnce(Context) -> Work,
    Work: Future<Output = anyhow::Result<Exit>>,
{
    let file = config_file(common, Path::new(DEFAULT_CONFIG));
    let settings = load(common, file.as_deref())?;
    // What sqlx warns of (a lost connection, a slow answer) is said by ourselves, once and in our words.
    telemetry::start(&settings.telemetry, if life == Life::Service { "info,sqlx=error" } else { "warn,sqlx=error" });
    set_panic_hook();
    install_tls_provider();
    log_start(program, file.as_deref(), &settings);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().context("failed to start the runtime")?;
    let result = runtime.block_on(async {
        let shutdown = match life {
            Life::Service => Shutdown::on_signals(GRACE).context("failed to listen to signals")?,
            Life::Command => Shutdown::never(),
        };
        let context = Context { settings, shutdown: shutdown.clone(), clock: Clock::system() };
        tokio::select! {
            result = work(context) => result,
            () = shutdown.now() => anyhow::bail!("stopped before the work in hand was finished"),
        }
    });
    // A blocked thread must not keep a finished process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn config_file(common: &CommonArgs, default: &Path) -> Option<PathBuf> {
    let named = common.config.clone().filter(|path| !path.as_os_str().is_empty());
    named.or_else(|| default.is_file().then(|| default.to_owned()))
}

fn load(common: &CommonArgs, file: Option<&Path>) -> anyhow::Result<Settings> {
    let overrides: Vec<Override> = common.log_format.iter().map(|format| ("telemetry.log_format", format.as_str().to_owned())).collect();
    let env = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Settings::load(file, env, &overrides)?)
}

fn log_start(program: Program, file: Option<&Path>, settings: &Settings) {
    let changed: Vec<String> = settings.changed().into_iter().map(|(key, value)| format!("{key} = {value:?}")).collect();
    tracing::info!(
        version = program.version,
        config.file = file.map(|path| tracing::field::display(path.display())),
        config.changed = %changed.join(", "),
        database = settings.postgres.target().map(tracing::field::display),
        "starting {}",
        program.name
    );
}

/// Says where a panic happened and nothing of its message, which may quote what people wrote into Dify.
fn set_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(location, thread, "a bug: the program panicked here");
    }));
}

/// Every TLS connection of the process uses ring, whoever makes it.
pub fn install_tls_provider() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

fn guarded(work: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(anyhow::anyhow!("stopped by a bug, please report it")))
}

fn report(program: Program, result: anyhow::Result<Exit>) -> ExitCode {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            let exit = Exit::of(&error);
            if exit != Exit::Done {
                // Nothing is left to do when even this cannot be written.
                let _unwritten = writeln!(std::io::stderr().lock(), "{}: {}", program.name, sentence(&error));
            }
            exit
        }
    };
    exit.into()
}

/// The error and its causes on one line, without what a URL says about its user.
fn sentence(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Many errors repeat their cause in their own text.
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    scrub(&parts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ResultExt as _;

    const PROGRAM: Program = Program { name: "dify-test", version: "0" };

    #[test]
    fn an_error_is_one_sentence_without_credentials() {
        let error = anyhow::anyhow!("cannot reach postgres://u:hunter2@h/d").context("failed to connect");
        assert_eq!(sentence(&error), "failed to connect: cannot reach postgres://<redacted>@h/d");
    }

    #[test]
    fn a_cause_that_is_already_quoted_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("disk trouble: {0}")]
        struct Quoting(#[source] std::io::Error);
        assert_eq!(sentence(&anyhow::Error::from(Quoting(std::io::Error::other("full")))), "disk trouble: full");
    }

    #[test]
    fn a_panic_is_a_failure_and_not_a_crash() {
        let result = guarded(|| panic!("hunter2"));
        assert_eq!(result.unwrap_err().to_string(), "stopped by a bug, please report it");
    }

    #[test]
    fn an_empty_config_argument_counts_as_none() {
        let common = CommonArgs { config: Some(PathBuf::new()), log_format: None };
        assert_eq!(config_file(&common, Path::new("/nowhere")), None);
        let here = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert_eq!(config_file(&common, here), Some(here.to_owned()));
    }

    #[test]
    fn work_gets_the_settings_and_its_exit_becomes_the_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, "[exporter]\nstreak_length = 7\n").unwrap();
        let common = CommonArgs { config: Some(path), log_format: Some(LogFormat::Json) };
        let result = start(PROGRAM, Life::Command, &common, |context| async move {
            assert_eq!(context.settings.exporter.streak_length, 7);
            assert_eq!(context.settings.telemetry.log_format, LogFormat::Json);
            Err(anyhow::anyhow!("busy")).or_exit(Exit::TryLater)
        });
        assert_eq!(Exit::of(&result.unwrap_err()), Exit::TryLater);
    }
}
