//! Lifecycle policies: hot, warm, cold, deleted. None of the phases refuses writes, because late records and corrections come at any age.
//!
//! Elasticsearch (ILM) counts ages from the date in an index's name, its first day, so that the length of the partition is added; OpenSearch
//! (ISM) from the creation of the index. Both may be missing or forbidden: the shipper deletes old partitions by name whatever they do.

use std::time::Duration;

use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::{ShipperSettings, SinkSettings};
use serde_json::{Value, json};

use super::object::{Object, Sort, fingerprint};
use crate::document::Kind;
use crate::elasticsearch::partition::{Schedule, alias, longest};
use crate::elasticsearch::partitions::MARK;
use crate::elasticsearch::{Distribution, Server};

/// The policy of a kind, in the words of the server.
pub(super) fn policy(
    kind: Kind,
    sink: &SinkSettings,
    shipper: &ShipperSettings,
    server: &Server,
    schedule: &Schedule,
    now: Micros,
) -> Object {
    let name = alias(kind, &shipper.namespace);
    let length = longest(schedule.longest(now));
    match server.distribution {
        Distribution::Elasticsearch => ilm(&name, &ages(sink, length)),
        Distribution::OpenSearch => ism(&name, &ages(sink, length)),
    }
}

/// When each phase begins, in the order of the phases. One that begins no earlier than the next is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ages {
    warm: Option<Duration>,
    cold: Option<Duration>,
    delete: Duration,
}

fn ages(sink: &SinkSettings, length: Duration) -> Ages {
    let delete = sink.delete_after;
    let cold = Some(sink.cold_after).filter(|cold| *cold < delete);
    let warm = Some(sink.warm_after).filter(|warm| *warm < cold.unwrap_or(delete));
    let plus = |age: Duration| age + length;
    Ages { warm: warm.map(plus), cold: cold.map(plus), delete: plus(delete) }
}

fn ilm(name: &str, ages: &Ages) -> Object {
    let mut phases = json!({ "hot": { "min_age": "0ms", "actions": { "set_priority": { "priority": 100 } } } });
    if let Some(age) = ages.warm {
        phases["warm"] = json!({ "min_age": written(age), "actions": { "set_priority": { "priority": 50 } } });
    }
    if let Some(age) = ages.cold {
        phases["cold"] = json!({ "min_age": written(age), "actions": { "set_priority": { "priority": 0 } } });
    }
    phases["delete"] = json!({ "min_age": written(ages.delete), "actions": { "delete": {} } });
    let body = json!({ "policy": { "phases": phases } });
    let mark = format!("/{name}/policy/_meta/{MARK}/fingerprint");
    Object::marked(format!("lifecycle policy {name}"), format!("/_ilm/policy/{name}"), body, "/policy", mark)
}

fn ism(name: &str, ages: &Ages) -> Object {
    let phases = [("hot", 100, Some(Duration::ZERO)), ("warm", 50, ages.warm), ("cold", 0, ages.cold)];
    let present: Vec<_> = phases.into_iter().filter_map(|(state, priority, age)| Some((state, priority, age?))).collect();
    let mut states: Vec<Value> = Vec::new();
    for (place, (state, priority, _)) in present.iter().enumerate() {
        let (next, age) = present.get(place + 1).map_or(("delete", ages.delete), |(state, _, age)| (state, *age));
        states.push(json!({
            "name": state,
            "actions": [{ "index_priority": { "priority": priority } }],
            "transitions": [{ "state_name": next, "conditions": { "min_index_age": written(age) } }],
        }));
    }
    states.push(json!({ "name": "delete", "actions": [{ "delete": {} }], "transitions": [] }));
    let patterns = json!([{ "index_patterns": [format!("{name}-*")], "priority": 300 }]);
    let mut body = json!({ "policy": { "default_state": "hot", "states": states, "ism_template": patterns } });
    let fingerprint = fingerprint(&body);
    // The one place in a policy where text is kept as it is.
    body["policy"]["description"] = json!(format!("dify-shipper ({fingerprint})"));
    Object {
        name: format!("lifecycle policy {name}"),
        path: format!("/_plugins/_ism/policies/{name}"),
        body,
        fingerprint,
        mark: "/policy/description".to_owned(),
        sort: Sort::Policy,
    }
}

/// In the largest unit that says it exactly.
fn written(age: Duration) -> String {
    let seconds = age.as_secs();
    for (unit, length) in [("d", 24 * 3600), ("h", 3600), ("m", 60)] {
        if seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use dify_observe_core::settings::PartitionLength;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn sink(warm: u32, cold: u32, delete: u32) -> SinkSettings {
        SinkSettings { warm_after: DAY * warm, cold_after: DAY * cold, delete_after: DAY * delete, ..SinkSettings::default() }
    }

    fn policy_of(distribution: Distribution, sink: &SinkSettings) -> Value {
        let server = Server { distribution, version: "9.0.0".to_owned() };
        let schedule = Schedule::new(PartitionLength::Week);
        policy(Kind::Message, sink, &ShipperSettings::default(), &server, &schedule, Micros(0)).body["policy"].take()
    }

    #[test]
    fn nothing_leaves_early_because_the_length_of_the_partition_is_added() {
        let phases = policy_of(Distribution::Elasticsearch, &sink(7, 30, 90))["phases"].take();
        assert_eq!(phases["warm"]["min_age"], "14d");
        assert_eq!(phases["cold"]["min_age"], "37d");
        assert_eq!(phases["delete"]["min_age"], "97d");
    }

    #[test]
    fn phases_that_would_come_after_the_end_are_left_out() {
        let phases = policy_of(Distribution::Elasticsearch, &sink(7, 30, 20))["phases"].take();
        assert!(phases.get("cold").is_none() && phases.get("warm").is_some(), "{phases}");
        let states = policy_of(Distribution::OpenSearch, &sink(7, 7, 7))["states"].take();
        let names: Vec<&str> = states.as_array().unwrap().iter().map(|state| state["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["hot", "delete"]);
    }

    #[test]
    fn no_phase_refuses_writes() {
        for distribution in [Distribution::Elasticsearch, Distribution::OpenSearch] {
            let text = policy_of(distribution, &sink(7, 30, 90)).to_string();
            for action in ["read", "forcemerge", "force_merge", "shrink", "snapshot", "freeze", "close", "rollover"] {
                assert!(!text.contains(action), "{action} in {text}");
            }
        }
    }

    #[test]
    fn ages_are_written_exactly() {
        for (seconds, text) in [(0, "0d"), (86_400, "1d"), (5_400, "90m"), (7_200, "2h"), (61, "61s")] {
            assert_eq!(written(Duration::from_secs(seconds)), text);
        }
    }
}
