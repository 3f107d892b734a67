//! Which index a record lives in: a function of its kind, its own time and a schedule, so that one `_id` has one possible home.
//!
//! The schedule says which length partitions have since when. It is kept in the index template, where every writer reads it, and is never
//! changed for a time that has begun: a record would have two homes then.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate};
use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::PartitionLength;
use serde_json::{Value, json};

use crate::document::Kind;

/// Writers read the schedule once a minute, and clocks of Dify's hosts may be ahead: a change must be known to all before it begins.
const NOTICE: Duration = Duration::from_secs(3600);

/// The name under which all partitions of a kind are read.
pub fn alias(kind: Kind, namespace: &str) -> String {
    format!("logs-dify.{}-{namespace}", kind.as_str())
}

/// The UTC days that one index covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Its first day, which is in its name.
    pub(crate) start: NaiveDate,
    /// The first day after it.
    pub(crate) end: NaiveDate,
}

impl Partition {
    /// The name of its index.
    pub(crate) fn index(self, kind: Kind, namespace: &str) -> String {
        format!("{}-{}", alias(kind, namespace), self.start.format("%Y.%m.%d"))
    }

    /// Whether all that it may hold is older than is kept.
    pub(crate) fn is_expired(self, now: Micros, keep: Duration) -> bool {
        midnight(self.end).plus(keep) <= now
    }
}

/// Which length partitions have since when. Never empty, and sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule(Vec<(NaiveDate, PartitionLength)>);

impl Schedule {
    /// One length for all times.
    pub(crate) fn new(length: PartitionLength) -> Self {
        Schedule(vec![(NaiveDate::default(), length)])
    }

    /// As it is written in a template.
    pub(crate) fn parse(text: &Value) -> Option<Self> {
        let change = |entry: &Value| {
            let from = entry["from"].as_str()?.parse().ok()?;
            let length = serde_json::from_value(entry["length"].clone()).ok()?;
            Some((from, length))
        };
        let changes = text.as_array()?.iter().map(change).collect::<Option<Vec<_>>>()?;
        (!changes.is_empty() && changes.is_sorted_by(|earlier, later| earlier.0 < later.0)).then_some(Schedule(changes))
    }

    /// For the template.
    pub(crate) fn to_json(&self) -> Value {
        self.0.iter().map(|(from, length)| json!({ "from": from.to_string(), "length": length })).collect()
    }

    /// The schedule with `length` from the next boundary on that every writer can know of in time.
    pub(crate) fn with(&self, length: PartitionLength, now: Micros) -> Self {
        let known = day(now.plus(NOTICE));
        let mut changes = self.0.clone();
        // What has not begun can still be taken back.
        changes.retain(|(from, _)| *from <= known || *from == NaiveDate::default());
        if changes.last().is_none_or(|(_, last)| *last != length) {
            changes.push((end_of(start_of(known, length), length), length));
        }
        Schedule(changes)
    }

    /// The longest partitions that there are now or later: what a policy must count with.
    pub(crate) fn longest(&self, now: Micros) -> PartitionLength {
        let begun = self.0.iter().rposition(|(from, _)| *from <= day(now)).unwrap_or(0);
        self.0[begun..].iter().map(|(_, length)| *length).max().unwrap_or(PartitionLength::Week)
    }

    /// The home of a record of this time.
    pub(crate) fn partition(&self, time: Micros) -> Partition {
        self.partition_of_day(day(time))
    }

    /// The partition that has this day in its name.
    pub(crate) fn partition_of_day(&self, day: NaiveDate) -> Partition {
        let place = self.0.iter().rposition(|(from, _)| *from <= day).unwrap_or(0);
        let length = self.0[place].1;
        let start = start_of(day, length);
        let end = end_of(start, length);
        let cut = self.0.get(place + 1).map_or(end, |(next, _)| end.min(*next));
        Partition { start, end: cut }
    }
}

/// The first day that is in an index's name, if it is one of this kind and namespace.
pub(crate) fn day_of_index(index: &str, kind: Kind, namespace: &str) -> Option<NaiveDate> {
    let date = index.strip_prefix(&alias(kind, namespace))?.strip_prefix('-')?;
    let day = NaiveDate::parse_from_str(date, "%Y.%m.%d").ok()?;
    (day.format("%Y.%m.%d").to_string() == date).then_some(day)
}

/// How long a partition is at most.
pub(crate) fn longest(length: PartitionLength) -> Duration {
    let days = match length {
        PartitionLength::Day => 1,
        PartitionLength::Week => 7,
        PartitionLength::Month => 31,
    };
    Duration::from_secs(days * 24 * 3600)
}

fn start_of(day: NaiveDate, length: PartitionLength) -> NaiveDate {
    let back = match length {
        PartitionLength::Day => 0,
        PartitionLength::Week => day.weekday().num_days_from_monday(),
        PartitionLength::Month => day.day0(),
    };
    day.checked_sub_days(Days::new(back.into())).unwrap_or(day)
}

fn end_of(start: NaiveDate, length: PartitionLength) -> NaiveDate {
    let end = match length {
        PartitionLength::Day => start.checked_add_days(Days::new(1)),
        PartitionLength::Week => start.checked_add_days(Days::new(7)),
        PartitionLength::Month => start.checked_add_months(Months::new(1)),
    };
    end.unwrap_or(start)
}

/// The UTC day of a time. Names have four digits for the year, and nothing is older than Unix.
fn day(time: Micros) -> NaiveDate {
    const LAST: i64 = 253_402_300_799_000_000;
    DateTime::from_timestamp_micros(time.0.clamp(0, LAST)).map_or_else(NaiveDate::default, |time| time.date_naive())
}

fn midnight(day: NaiveDate) -> Micros {
    Micros::from_secs(day.signed_duration_since(NaiveDate::default()).num_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        Micros(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
    }

    fn name(schedule: &Schedule, time: &str) -> String {
        schedule.partition(at(time)).index(Kind::Message, "prod")
    }

    #[test]
    fn the_name_has_the_first_day_of_the_partition() {
        let of = |length| name(&Schedule::new(length), "2026-11-21T23:59:59.999999Z");
        assert_eq!(of(PartitionLength::Day), "logs-dify.message-prod-2026.11.21");
        assert_eq!(of(PartitionLength::Week), "logs-dify.message-prod-2026.11.16");
        assert_eq!(of(PartitionLength::Month), "logs-dify.message-prod-2026.11.01");
        assert_eq!(name(&Schedule::new(PartitionLength::Week), "2026-11-23T00:00:00Z"), "logs-dify.message-prod-2026.11.23");
    }

    #[test]
    fn every_time_has_a_name_of_the_same_shape() {
        for time in [Micros::MIN, Micros(0), Micros(i64::MAX)] {
            let partition = Schedule::new(PartitionLength::Month).partition(time);
            let index = partition.index(Kind::Log, "x");
            assert_eq!(day_of_index(&index, Kind::Log, "x"), Some(partition.start), "{index}");
        }
    }

    #[test]
    fn a_change_begins_at_the_next_boundary_and_is_never_retroactive() {
        let week = Schedule::new(PartitionLength::Week);
        // A Saturday.
        let changed = week.with(PartitionLength::Day, at("2026-11-21T12:00:00Z"));
        assert_eq!(name(&changed, "2026-11-21T23:00:00Z"), "logs-dify.message-prod-2026.11.16");
        assert_eq!(name(&changed, "2026-11-22T00:00:00Z"), "logs-dify.message-prod-2026.11.22");
        assert_eq!(changed.partition(at("2026-11-21T12:00:00Z")).end.to_string(), "2026-11-22");
        let back = changed.with(PartitionLength::Month, at("2026-11-25T12:00:00Z"));
        assert_eq!(name(&back, "2026-11-30T12:00:00Z"), "logs-dify.message-prod-2026.11.30");
        assert_eq!(name(&back, "2026-12-24T12:00:00Z"), "logs-dify.message-prod-2026.12.01");
        assert_eq!(name(&back, "2026-11-17T12:00:00Z"), "logs-dify.message-prod-2026.11.16");
    }

    #[test]
    fn a_change_leaves_writers_the_time_to_hear_of_it() {
        let changed = Schedule::new(PartitionLength::Week).with(PartitionLength::Day, at("2026-11-21T23:30:00Z"));
        assert_eq!(name(&changed, "2026-11-22T12:00:00Z"), "logs-dify.message-prod-2026.11.16");
        assert_eq!(name(&changed, "2026-11-23T00:00:00Z"), "logs-dify.message-prod-2026.11.23");
    }

    #[test]
    fn what_has_not_begun_can_be_taken_back_and_the_same_again_changes_nothing() {
        let week = Schedule::new(PartitionLength::Week);
        let now = at("2026-11-21T12:00:00Z");
        let changed = week.with(PartitionLength::Day, now);
        assert_eq!(changed.with(PartitionLength::Day, now), changed);
        assert_eq!(changed.with(PartitionLength::Week, now), week);
        assert_eq!(week.with(PartitionLength::Week, now), week);
        assert_eq!(Schedule::parse(&changed.to_json()), Some(changed));
    }

    #[test]
    fn every_record_has_one_home_whatever_was_changed_before() {
        let lengths = [PartitionLength::Day, PartitionLength::Month, PartitionLength::Week];
        let mut schedule = Schedule::new(PartitionLength::Week);
        let mut homes = std::collections::HashMap::new();
        let start = at("2026-01-01T06:00:00Z");
        for day in 0..900_u64 {
            let now = start.plus(Duration::from_secs(day * 24 * 3600));
            let home = schedule.partition(now);
            assert!(home.start <= super::day(now) && super::day(now) < home.end, "{home:?}");
            homes.insert(now, home);
            if day % 17 == 0 {
                schedule = schedule.with(lengths[(day as usize / 17) % 3], now);
            }
        }
        for (time, home) in homes {
            assert_eq!(schedule.partition(time).start, home.start, "{time}");
        }
    }

    #[test]
    fn a_partition_expires_as_a_whole() {
        let partition = Schedule::new(PartitionLength::Week).partition(at("2026-11-16T00:00:00Z"));
        let keep = Duration::from_secs(24 * 3600);
        assert!(!partition.is_expired(at("2026-11-23T23:59:59Z"), keep));
        assert!(partition.is_expired(at("2026-11-24T00:00:00Z"), keep));
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for other in ["logs-dify.message-prod", "logs-dify.message-prod-2026.11.1", "logs-dify.message-prod-b-2026.11.01", "x-2026.11.01"] {
            assert_eq!(day_of_index(other, Kind::Message, "prod"), None, "{other}");
        }
    }
}
