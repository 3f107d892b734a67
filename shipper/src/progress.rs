//! A bar for people who look on. Nothing where standard error is no terminal: logs must not fill up with it.

use std::io::IsTerminal as _;

use dify_observe_core::dify::time::Micros;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far something is in a range of time, on standard error. Dropping it clears the line.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    from: Micros,
}

impl Progress {
    /// A bar from one time to another.
    pub(crate) fn new(from: Micros, to: Micros) -> Self {
        let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(minutes(from, to)), target);
        let style = ProgressStyle::with_template("{bar:30} {percent}% of the time range, {eta} left; {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, from }
    }

    /// Records up to this time are read, and so many documents sent.
    pub(crate) fn tell(&self, at: Micros, documents: u64) {
        self.bar.set_position(minutes(self.from, at));
        self.bar.set_message(format!("{documents} documents"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn minutes(from: Micros, to: Micros) -> u64 {
    to.since(from).as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_moves_with_the_time() {
        let progress = Progress::new(Micros(0), Micros::from_secs(6000));
        progress.tell(Micros::from_secs(3000), 7);
        assert_eq!((progress.bar.position(), progress.bar.length()), (50, Some(100)));
        assert!(ProgressStyle::with_template("{bar:30} {percent}% of the time range, {eta} left; {msg}").is_ok());
    }
}
