//! What a person sees while a measurement runs.

use std::io::Write as _;
use std::sync::LazyLock;
use std::time::Instant;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Writes a line with the time since the first one.
pub(crate) fn say(text: &str) {
    // Nobody may be reading any more; that is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "[{:>7.1} s] {text}", BEGAN.elapsed().as_secs_f64());
}
