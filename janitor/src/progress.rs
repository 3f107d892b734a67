//! A bar for people who look on. Nothing where standard error is no terminal: logs must not fill up with it.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far something is, on standard error. Dropping it clears the line.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of `total` steps, where standard error is a terminal. `unit` is what is counted, such as "rows".
    pub fn new(total: u64, unit: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), target());
        bar.set_style(style(unit));
        Progress { bar }
    }

    /// Moves on by `steps`.
    pub fn add(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// Says what is being done, and shows that it is when nothing moves. No word of a row belongs here.
    pub fn say(&self, message: impl Into<Cow<'static, str>>) {
        self.bar.set_message(message);
        self.bar.tick();
    }

    /// Corrects the total, once it is known better.
    pub fn expect(&self, total: u64) {
        self.bar.set_length(total.max(self.bar.position()));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() }
}

fn style(unit: &str) -> ProgressStyle {
    let template = format!("{{bar:30}} {{human_pos}} of about {{human_len}} {unit}, {{eta}} left; {{msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A duration as people say it, in at most two units: `5s`, `11m`, `2h 5m`, `3d 4h`.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let two = |whole: u64, unit: &str, part: u64, smaller: &str| {
        if part == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit} {part}{smaller}") }
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 => two(seconds / 60, "m", seconds % 60, "s"),
        600..3600 => format!("{}m", (seconds + 30) / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_understood() {
        assert!(ProgressStyle::with_template("{bar:30} {human_pos} of about {human_len} rows, {eta} left; {msg}").is_ok());
        let progress = Progress::new(10, "rows");
        progress.add(3);
        progress.say("reading");
        progress.expect(2);
        assert_eq!((progress.bar.position(), progress.bar.length()), (3, Some(3)));
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let seconds =
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (600, "10m"), (680, "11m"), (3600, "1h"), (7500, "2h 5m"), (273_600, "3d 4h")];
        for (seconds, text) in seconds {
            assert_eq!(spoken(Duration::from_secs(seconds)), text);
        }
    }
}
