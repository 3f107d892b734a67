//! Where chance comes from: one number, printed, so that any run can be repeated.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// The seed of a random test: `DIFY_OBSERVE_SEED`, else taken from the clock. It is printed either way, past the test runner's
/// capture, because a failure without its seed cannot be repeated.
pub fn seed(test: &str) -> u64 {
    let seed = from_environment().unwrap_or_else(from_clock);
    // Nothing useful can be done when stderr is closed.
    let _ = writeln!(std::io::stderr(), "seed of {test}: {seed} (repeat with DIFY_OBSERVE_SEED={seed})");
    seed
}

/// Whether long random histories run at full length (`make soak`).
pub fn soak() -> bool {
    std::env::var_os("DIFY_OBSERVE_SOAK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// `long` in `make soak`, `short` in `make test`.
pub fn length<T>(short: T, long: T) -> T {
    if soak() { long } else { short }
}

fn from_environment() -> Option<u64> {
    std::env::var("DIFY_OBSERVE_SEED").ok()?.trim().parse().ok()
}

fn from_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Six digits are easy to type and more than any test needs.
    (since.as_nanos() as u64 / 1_000) % 1_000_000
}
