//! A part of the day, as people write it: `22:00-06:00`.

use std::fmt;

use chrono::{NaiveTime, Timelike as _};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// A part of the day, from a time up to another one, which may be on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: NaiveTime,
    to: NaiveTime,
}

const DAY_MINUTES: u32 = 24 * 60;

impl Window {
    /// Reads `HH:MM-HH:MM`; `24:00` is the end of the day. A window without length is none.
    pub fn parse(text: &str) -> Option<Window> {
        let time = |text: &str| match text.trim() {
            "24:00" => Some(NaiveTime::MIN),
            text => NaiveTime::parse_from_str(text, "%H:%M").ok(),
        };
        let (from, to) = text.split_once('-')?;
        let window = Window { from: time(from)?, to: time(to)? };
        (window.from != window.to).then_some(window)
    }

    /// Whether a time of the day is inside.
    pub fn contains(&self, time: NaiveTime) -> bool {
        if self.from < self.to { self.from <= time && time < self.to } else { self.from <= time || time < self.to }
    }

    /// Its length in minutes.
    pub fn minutes(&self) -> u32 {
        let minute = |time: NaiveTime| time.hour() * 60 + time.minute();
        (minute(self.to) + DAY_MINUTES - minute(self.from)) % DAY_MINUTES
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.format("%H:%M"), self.to.format("%H:%M"))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Window::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a part of the day: write such as \"22:00-06:00\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32, minute: u32) -> NaiveTime {
        NaiveTime::from_hms_opt(hour, minute, 0).unwrap()
    }

    #[test]
    fn a_window_may_pass_midnight() {
        let night = Window::parse("22:00-06:00").unwrap();
        assert_eq!(night.minutes(), 480);
        assert!(night.contains(at(22, 0)) && night.contains(at(0, 0)) && night.contains(at(5, 59)));
        assert!(!night.contains(at(6, 0)) && !night.contains(at(21, 59)));
        let noon = Window::parse("12:00 - 13:30").unwrap();
        assert_eq!((noon.minutes(), noon.to_string()), (90, "12:00-13:30".to_owned()));
        assert!(noon.contains(at(12, 0)) && !noon.contains(at(13, 30)));
        assert_eq!(Window::parse("18:00-24:00").unwrap().minutes(), 360);
    }

    #[test]
    fn what_is_no_part_of_the_day_is_refused() {
        for text in ["", "22:00", "22-06", "22:00-22:00", "25:00-26:00", "00:00-24:00", "10pm-6am"] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
    }
}
