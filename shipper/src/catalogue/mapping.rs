//! The mapping of a kind, for Elasticsearch and OpenSearch alike.

use serde_json::{Map, Value, json};

use super::{FieldType, of_kind};
use crate::document::Kind;

/// Longest text, in characters, that is found as a whole; of longer ones only the words are. An engine refuses terms above 32,766 bytes.
pub const LONGEST_KEYWORD: u32 = 1024;

/// The body of `mappings` in the index template of a kind. `analyzer` reads the texts.
///
/// What is not in the catalogue is kept but not searched (`dynamic: false`), so that no field can make a document be refused. The one
/// exception are the operator's labels, of which there are at most four.
pub fn mapping(kind: Kind, analyzer: &str) -> Value {
    let mut properties = Map::new();
    for field in of_kind(kind) {
        insert(&mut properties, field.path, definition(field.field_type, analyzer));
    }
    json!({
        "dynamic": false,
        "dynamic_templates": [{ "labels": { "path_match": "labels.*", "mapping": definition(FieldType::Keyword, analyzer) } }],
        "properties": properties,
    })
}

fn definition(field_type: FieldType, analyzer: &str) -> Value {
    let keyword = json!({ "type": "keyword", "ignore_above": LONGEST_KEYWORD });
    match field_type {
        FieldType::Keyword => keyword,
        FieldType::Text => json!({ "type": "text", "analyzer": analyzer }),
        FieldType::TextKeyword => json!({ "type": "text", "analyzer": analyzer, "fields": { "keyword": keyword } }),
        FieldType::Long => json!({ "type": "long" }),
        FieldType::Double => json!({ "type": "double" }),
        FieldType::Date => json!({ "type": "date" }),
        FieldType::Boolean => json!({ "type": "boolean" }),
        FieldType::Labels => json!({ "type": "object", "dynamic": true }),
    }
}

/// Puts a field into the objects that its path names.
fn insert(properties: &mut Map<String, Value>, path: &str, definition: Value) {
    let Some((object, rest)) = path.split_once('.') else {
        properties.insert(path.to_owned(), definition);
        return;
    };
    let object = properties.entry(object).or_insert_with(|| json!({ "properties": {} }));
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        insert(properties, rest, definition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::FIELDS;

    #[test]
    fn a_mapping_has_the_fields_of_its_kind_where_their_paths_say() {
        for kind in Kind::ALL {
            let mapping = mapping(kind, "cjk");
            for field in FIELDS {
                let pointer = format!("/properties/{}", field.path.replace('.', "/properties/"));
                assert_eq!(mapping.pointer(&pointer).is_some(), field.kinds.contains(&kind), "{} of {}", field.path, kind.as_str());
            }
        }
    }

    #[test]
    fn texts_are_read_by_the_analyzer_that_was_asked_for() {
        let mapping = mapping(Kind::Message, "smartcn");
        assert_eq!(mapping.pointer("/properties/dify/properties/message/properties/query/analyzer").unwrap(), "smartcn");
        assert_eq!(mapping.pointer("/properties/error/properties/message/fields/keyword/ignore_above").unwrap(), 1024);
        assert_eq!(mapping["dynamic"], false);
    }

    /// Modules and plugins may be missing: only these types come with every distribution.
    #[test]
    fn every_engine_knows_the_types() {
        fn types(value: &Value, found: &mut Vec<String>) {
            if let Some(name) = value.get("type").and_then(Value::as_str) {
                found.push(name.to_owned());
            }
            value.as_object().into_iter().flatten().for_each(|(_, value)| types(value, found));
        }
        let mut found = Vec::new();
        Kind::ALL.iter().for_each(|kind| types(&mapping(*kind, "standard"), &mut found));
        for name in found {
            assert!(["keyword", "text", "long", "double", "date", "boolean", "object"].contains(&name.as_str()), "{name}");
        }
    }
}
