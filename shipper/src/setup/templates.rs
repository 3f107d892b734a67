//! Index templates: the settings of all partitions, and for each kind its mapping, its alias and its schedule.

use dify_observe_core::settings::{ShipperSettings, SinkSettings};
use serde_json::{Value, json};

use super::object::Object;
use crate::catalogue;
use crate::document::Kind;
use crate::elasticsearch::partition::{Schedule, alias};
use crate::elasticsearch::partitions::MARK;
use crate::elasticsearch::{Distribution, Server};

/// Above the engines' own template for `logs-*-*`, which makes data streams.
const PRIORITY: u32 = 300;

/// Settings that partitions of all kinds share.
pub(super) fn settings(sink: &SinkSettings, shipper: &ShipperSettings) -> Object {
    let mut index = json!({ "number_of_shards": sink.shards, "codec": "best_compression" });
    match sink.replicas.parse::<u32>() {
        Ok(number) => {
            index["number_of_replicas"] = json!(number);
            index["auto_expand_replicas"] = json!(false);
        }
        Err(_) => index["auto_expand_replicas"] = json!(sink.replicas),
    }
    component(&settings_name(shipper), &json!({ "settings": { "index": index } }))
}

/// The fields of a kind.
pub(super) fn mapping(kind: Kind, sink: &SinkSettings, shipper: &ShipperSettings) -> Object {
    let mut mapping = catalogue::mapping(kind, &sink.analyzer);
    // By which a writer knows an index that was made from this template.
    mapping["_meta"][MARK] = json!({ "kind": kind.as_str() });
    component(&mapping_name(kind, shipper), &json!({ "mappings": mapping }))
}

/// The template of a kind.
pub(super) fn index(kind: Kind, sink: &SinkSettings, shipper: &ShipperSettings, server: &Server, schedule: &Schedule) -> Object {
    let name = alias(kind, &shipper.namespace);
    let mut template = json!({ "aliases": { &name: { "is_write_index": false } } });
    if sink.lifecycle && server.distribution == Distribution::Elasticsearch {
        template["settings"] = json!({ "index": { "lifecycle": { "name": name, "parse_origination_date": true } } });
    }
    let body = json!({
        "index_patterns": [format!("{name}-*")],
        "priority": PRIORITY,
        "composed_of": [settings_name(shipper), mapping_name(kind, shipper)],
        "template": template,
        "_meta": { MARK: { "partitions": schedule.to_json() } },
    });
    let mark = format!("/index_templates/0/index_template/_meta/{MARK}/fingerprint");
    Object::marked(format!("index template {name}"), format!("/_index_template/{name}"), body, "", mark)
}

fn component(name: &str, template: &Value) -> Object {
    let mark = format!("/component_templates/0/component_template/_meta/{MARK}/fingerprint");
    let body = json!({ "template": template });
    Object::marked(format!("component template {name}"), format!("/_component_template/{name}"), body, "", mark)
}

fn settings_name(shipper: &ShipperSettings) -> String {
    format!("logs-dify-{}-settings", shipper.namespace)
}

fn mapping_name(kind: Kind, shipper: &ShipperSettings) -> String {
    format!("{}-mapping", alias(kind, &shipper.namespace))
}
