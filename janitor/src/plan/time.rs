//! How long a run would take at the configured pace.

use std::time::Duration;

use dify_observe_core::settings::{JanitorSettings, Window};
use serde::Serialize;

use crate::progress::spoken;

/// How long it would take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Time {
    /// `janitor.pace`: rows per second; 0 is unpaced.
    pub pace: u64,
    /// Seconds of deleting at that pace; `None` when it is unpaced.
    pub seconds: Option<f64>,
    /// `janitor.window`
    #[serde(serialize_with = "as_text")]
    pub window: Option<Window>,
    /// How many openings of the window, or runs of `janitor.time_budget`, it takes. `None` where one runs until it is done.
    pub runs: Option<u64>,
    #[serde(skip)]
    slice: Option<Duration>,
}

impl Time {
    /// For so many rows, with the pace, window and budget that are configured.
    pub fn of(rows: u64, settings: &JanitorSettings) -> Time {
        let seconds = (settings.pace > 0).then(|| rows as f64 / settings.pace as f64);
        let window = settings.window.map(|window| Duration::from_secs(u64::from(window.minutes()) * 60));
        let slice = [window, settings.time_budget].into_iter().flatten().min();
        let runs = slice.zip(seconds).map(|(slice, seconds)| (seconds / slice.as_secs_f64()).ceil() as u64);
        Time { pace: settings.pace, seconds, window: settings.window, runs, slice }
    }

    /// In words.
    pub fn sentence(&self) -> String {
        let Some(seconds) = self.seconds else {
            return "It would take as long as the database needs: janitor.pace = 0 waits for nothing, which Dify's users notice."
                .to_owned();
        };
        let whole = spoken(Duration::from_secs_f64(seconds.max(1.0)));
        let slices = match (self.runs, self.slice) {
            (Some(runs), Some(slice)) if runs > 1 => format!(", {runs} runs of {}", spoken(slice)),
            _ => String::new(),
        };
        let window = self.window.map(|window| format!(", only {window}")).unwrap_or_default();
        format!("It would take about {whole} of deleting at {} rows/s{slices}{window}.", self.pace)
    }
}

fn as_text<S: serde::Serializer>(window: &Option<Window>, serializer: S) -> Result<S::Ok, S::Error> {
    match window {
        Some(window) => serializer.collect_str(window),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_pace_window_and_budget() {
        let mut settings = JanitorSettings::default();
        assert_eq!(Time::of(3_400_000, &settings).sentence(), "It would take about 11m of deleting at 5000 rows/s.");
        settings.window = Window::parse("22:00-06:00");
        let sentence = "It would take about 5d 18h of deleting at 5000 rows/s, 18 runs of 8h, only 22:00-06:00.";
        assert_eq!(Time::of(2_500_000_000, &settings).sentence(), sentence);
        settings.time_budget = Some(Duration::from_secs(3600));
        assert_eq!(Time::of(36_000_000, &settings).runs, Some(2));
        settings.pace = 0;
        assert!(Time::of(1, &settings).sentence().contains("as long as the database needs"));
    }
}
