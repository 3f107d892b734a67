//! Whether what is sent agrees with what the engines publish of their APIs: `published.json`, for the versions that cannot be run here too.

use dify_observe_core::dify::time::Micros;
use dify_observe_core::settings::{PartitionLength, ShipperSettings, SinkSettings};
use serde_json::Value;

use super::object::{Object, Sort};
use super::{lifecycle, templates};
use crate::document::Kind;
use crate::elasticsearch::partition::Schedule;
use crate::elasticsearch::{Distribution, Server, position};

const ENGINES: [(&str, Distribution); 4] = [
    ("Elasticsearch 8", Distribution::Elasticsearch),
    ("Elasticsearch 9", Distribution::Elasticsearch),
    ("OpenSearch 2", Distribution::OpenSearch),
    ("OpenSearch 3", Distribution::OpenSearch),
];

fn published() -> Value {
    serde_json::from_str(include_str!("published.json")).unwrap()
}

/// Every request that setup may send to an engine, with these settings.
fn requests(distribution: Distribution, sink: &SinkSettings) -> Vec<(String, Value)> {
    let shipper = ShipperSettings::default();
    let server = Server { distribution, version: String::new() };
    let schedule = Schedule::new(PartitionLength::Week).with(PartitionLength::Day, Micros::from_secs(1_800_000_000));
    let of_kind = |kind: Kind| {
        [
            lifecycle::policy(kind, sink, &shipper, &server, &schedule, Micros(0)),
            templates::mapping(kind, sink, &shipper),
            templates::index(kind, sink, &shipper, &server, &schedule),
        ]
    };
    let objects = Kind::ALL.into_iter().flat_map(of_kind).chain([templates::settings(sink, &shipper)]);
    let mut requests: Vec<_> = objects.map(|object| (path(&object), object.body)).collect();
    requests.push((format!("/{}", position::INDEX), position::index_body()));
    requests
}

fn path(object: &Object) -> String {
    let query = if object.sort == Sort::Policy { "?if_seq_no=1&if_primary_term=1" } else { "" };
    format!("{}{query}", object.path)
}

/// The published form of a request.
fn form<'a>(published: &'a Value, engine: &str, path: &str) -> Option<&'a Value> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let fits = |form: &&Value| {
        let parts: Vec<&str> = form["path"].as_str().unwrap().split('/').collect();
        let given: Vec<&str> = path.split('/').collect();
        let same = parts.len() == given.len() && parts.iter().zip(&given).all(|(part, given)| part.starts_with('{') || part == given);
        let known = |name: &str| form["query"].as_array().unwrap().iter().any(|known| known == name);
        let queried = query.split('&').filter(|pair| !pair.is_empty()).all(|pair| known(pair.split('=').next().unwrap()));
        form["engines"].as_array().unwrap().iter().any(|known| known == engine) && form["method"] == "PUT" && same && queried
    };
    published["requests"].as_array().unwrap().iter().find(fits)
}

/// The first place where a body is not as published.
fn difference(body: &Value, shape: &Value, at: &str) -> Option<String> {
    match (body, shape) {
        (_, Value::String(types)) => {
            let is = match body {
                Value::String(_) => "string",
                Value::Number(_) => "number",
                Value::Bool(_) => "boolean",
                _ => "object",
            };
            (!types.split('|').any(|known| known == is || known == "any")).then(|| format!("{at} is a {is}, not {types}"))
        }
        (Value::Object(fields), Value::Object(known)) => fields.iter().find_map(|(name, value)| {
            let path = format!("{at}.{name}");
            match known.get(name).or_else(|| known.get("*")) {
                Some(shape) => difference(value, shape, &path),
                None => Some(format!("{path} is not published")),
            }
        }),
        (Value::Array(entries), Value::Array(shape)) => entries.iter().find_map(|entry| difference(entry, &shape[0], at)),
        _ => Some(format!("{at} has another shape")),
    }
}

#[test]
fn requests_agree_with_the_published_apis() {
    let published = published();
    let sinks = [
        SinkSettings::default(),
        SinkSettings { replicas: "2".to_owned(), analyzer: "cjk".to_owned(), ..SinkSettings::default() },
        SinkSettings { replicas: "false".to_owned(), lifecycle: false, ..SinkSettings::default() },
    ];
    for ((engine, distribution), sink) in ENGINES.into_iter().flat_map(|engine| sinks.iter().map(move |sink| (engine, sink))) {
        for (path, body) in requests(distribution, sink) {
            let form = form(&published, engine, &path).unwrap_or_else(|| panic!("{engine} publishes no PUT {path}"));
            assert_eq!(difference(&body, &form["body"], ""), None, "{engine}: PUT {path}\n{body:#}");
        }
    }
}

#[test]
fn what_is_not_published_would_be_noticed() {
    let published = published();
    let shape = &form(&published, "OpenSearch 3", "/_index_template/x").unwrap()["body"];
    let noticed = |body: Value| difference(&body, shape, "").is_some();
    assert!(noticed(serde_json::json!({ "allow_auto_create": true })));
    assert!(noticed(serde_json::json!({ "priority": "300" })));
    assert!(noticed(serde_json::json!({ "template": { "aliases": { "a": { "write": true } } } })));
    assert!(form(&published, "OpenSearch 2", "/_ilm/policy/x").is_none());
    assert!(form(&published, "Elasticsearch 9", "/_ilm/policy/x?if_seq_no=1").is_none());
}
