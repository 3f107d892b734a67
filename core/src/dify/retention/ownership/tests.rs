use super::*;
use crate::dify::schema::{Column, Index, Table};

/// A schema with one table: columns that are uuids, and indexes by their columns.
fn schema(name: &str, columns: &[&str], indexes: &[&[&str]]) -> Schema {
    let column = |position: usize| Column { data_type: "uuid".into(), readable: true, position: position as i16, generated: false };
    let index =
        |columns: &&[&str]| Index { name: "i".into(), columns: columns.iter().map(|name| (*name).to_owned()).collect(), partial: false };
    let mut table = Table { primary_key: vec!["id".into()], ..Table::default() };
    table.columns = columns.iter().enumerate().map(|(place, name)| ((*name).to_owned(), column(place))).collect();
    table.indexes = indexes.iter().map(index).collect();
    let mut schema = Schema::default();
    schema.insert(name.to_owned(), table);
    schema
}

fn path_of(indexes: &[&[&str]]) -> Option<Path> {
    let columns = ["id", "tenant_id", "app_id", "workflow_id", "triggered_from", "workflow_run_id"];
    index_path(&schema("t", &columns, indexes), "t", "workflow_run_id").unwrap()
}

#[test]
fn the_shortest_index_that_serves_is_taken() {
    let composite: &[&str] = &["tenant_id", "app_id", "workflow_id", "triggered_from", "workflow_run_id"];
    let Some(Path::Index { prefix, columns }) = path_of(&[composite, &["workflow_run_id", "node_id"]]) else { panic!("no path") };
    assert_eq!((prefix, columns.len()), (Prefix::None, 1));
    let Some(Path::Index { prefix, columns }) = path_of(&[composite]) else { panic!("no path") };
    assert_eq!((prefix, columns.len()), (Prefix::Run, 5));
    assert_eq!(path_of(&[&["app_id"], &["tenant_id", "workflow_run_id"]]), None);
}

#[test]
fn a_reference_of_an_unknown_table_is_reported() {
    let schema = schema("workflow_of_tomorrow", &["id", "workflow_run_id", "parent_message_id", "app_id"], &[]);
    let unknown: Vec<String> = unknown(&schema).iter().map(ToString::to_string).collect();
    assert_eq!(unknown, ["workflow_of_tomorrow.parent_message_id", "workflow_of_tomorrow.workflow_run_id"]);
}

#[test]
fn a_new_reference_of_a_known_table_is_reported() {
    let schema = schema("message_files", &["id", "message_id", "form_id"], &[]);
    assert_eq!(unknown(&schema), [Reference { table: "message_files".into(), column: "form_id".into() }]);
}
