//! Rows as they are, whatever their columns hold and however large they are.

use std::collections::HashMap;

use dify_observe_core::dify::retention::{Bundle, Cell, Column, Key, LoadLimits, Piece, Root, Row, Shape, Wire};
use dify_observe_tests::Schema;
use dify_observe_tests::postgres::{Cluster, TestDatabase};
use dify_observe_tests::retention::{Rules, populate};
use dify_observe_tests::simulator::live;
use sqlx::{AssertSqlSafe, Row as _};

use super::world::{World, text, wanted};

/// A value as text: `NULL` is nothing.
fn shown(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Bool(value) => Some(value.to_string()),
        Cell::Int(value) | Cell::Timestamp(value) => Some(value.to_string()),
        Cell::Double(bits) => Some(format!("{:?}", f64::from_bits(*bits))),
        Cell::Uuid(value) => Some(value.to_string()),
        Cell::Bytes(bytes) => Some(String::from_utf8(bytes.clone()).unwrap_or_else(|_| format!("{bytes:?}"))),
        Cell::Large(length) => Some(format!("{length} bytes")),
    }
}

/// How PostgreSQL writes the same; timestamps as microseconds since 1970.
fn as_text(shape: &Shape) -> Vec<String> {
    let column = |column: &Column| {
        let name = &column.name;
        match column.wire {
            Wire::Timestamp => format!(
                "CASE \"{name}\" WHEN 'infinity' THEN '{}' WHEN '-infinity' THEN '{}' ELSE ((extract(epoch FROM \"{name}\") * 1000000)::bigint)::text END",
                i64::MAX,
                i64::MIN
            ),
            _ => format!("\"{name}\"::text"),
        }
    };
    shape.columns.iter().map(column).collect()
}

/// Every row of a table by its key, as PostgreSQL writes it.
async fn rows_of(database: &TestDatabase, shape: &Shape) -> HashMap<String, (i64, Vec<Option<String>>)> {
    let mut connection = database.connect().await.unwrap();
    let key: Vec<String> = shape.key.iter().map(|place| format!("\"{}\"", shape.columns[*place].name)).collect();
    let sql =
        format!("SELECT concat_ws('/', {}), xmin::text::bigint, ARRAY[{}] FROM {}", key.join(", "), as_text(shape).join(", "), shape.table);
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

fn same(shape: &Shape, place: usize, cell: &Cell, expected: &Option<String>) -> bool {
    let shown = shown(cell);
    match (shape.columns[place].wire, &shown, expected) {
        (Wire::Double, Some(shown), Some(expected)) => {
            let (shown, expected): (f64, f64) = (shown.parse().unwrap(), expected.parse().unwrap());
            shown.to_bits() == expected.to_bits() || (shown.is_nan() && expected.is_nan())
        }
        (Wire::Bytes, Some(_), Some(expected)) => match cell {
            Cell::Bytes(bytes) => format!("\\x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()) == *expected,
            _ => false,
        },
        _ => shown == *expected,
    }
}

/// Odd columns on the table that has most rows.
const ODD: &str = "
    ALTER TABLE workflow_node_executions ADD odd_jsonb jsonb, ADD odd_numeric numeric, ADD odd_array text[], ADD odd_inet inet,
      ADD odd_interval interval, ADD odd_zone timestamptz, ADD odd_real real, ADD odd_bytes bytea, ADD odd_small smallint,
      ADD odd_double double precision, ADD odd_time timestamp, ADD odd_date date, ADD odd_bool boolean, ADD odd_json json,
      ADD odd_short varchar(3), ADD \"odd Name\" text, ADD odd_computed int GENERATED ALWAYS AS (index + 1) STORED;
    ALTER TABLE workflow_node_executions DROP COLUMN odd_date;
    UPDATE workflow_node_executions SET odd_jsonb = '{\"b\": 1, \"a\": [null]}', odd_numeric = 'NaN', odd_array = '{a,NULL,\"b c\"}',
      odd_inet = '10.0.0.1', odd_interval = '-1 month 2 days', odd_zone = '2024-03-31 02:30+05:30', odd_real = 0.1, odd_bytes = '\\x00ff',
      odd_small = -3, odd_double = 'NaN', odd_time = 'infinity', odd_bool = true, odd_json = '{\"k\" :  1.0}', odd_short = 'äöü',
      \"odd Name\" = '' WHERE index % 3 = 0;
    UPDATE workflow_node_executions SET odd_double = '-0', odd_time = '-infinity', odd_bool = false, odd_numeric = 1.50, \"odd Name\" = 'a' || chr(10) || '\\u0000'
      WHERE index % 3 = 1";

async fn due(database: &TestDatabase, now: i64) -> (World, Vec<Bundle>, Vec<Bundle>) {
    let world = World::open(database).await;
    let wanted = wanted(&Rules::default(), now);
    let (runs, conversations) = (world.due(Root::Run, wanted).await, world.due(Root::Conversation, wanted).await);
    (world, runs, conversations)
}

#[tokio::test]
async fn every_value_is_read_as_it_is() {
    let seed = dify_observe_tests::seed("every_value_is_read_as_it_is");
    let cluster = Cluster::shared().unwrap();
    for version in ["1.2.0", "1.17.1"] {
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        let now = live::now();
        populate(&database, seed, 300, now).await.unwrap();
        database.execute(ODD).await.unwrap();
        let (world, runs, conversations) = due(&database, now).await;
        let mut expected = HashMap::new();
        let mut compared = 0;
        for bundles in [runs, conversations] {
            for piece in world.load(&bundles, LoadLimits::default()).await {
                let Piece::Rows(rows) = piece else { panic!("nothing is large") };
                if !expected.contains_key(&rows.shape.table) {
                    expected.insert(rows.shape.table.clone(), rows_of(&database, &rows.shape).await);
                }
                for row in rows.rows {
                    let (xmin, values) = &expected[&rows.shape.table][&text(row.key)];
                    assert_eq!(i64::from(row.xmin), *xmin);
                    assert_eq!(row.cells.len(), values.len());
                    for (place, (cell, value)) in row.cells.iter().zip(values).enumerate() {
                        let column = &rows.shape.columns[place];
                        assert!(same(&rows.shape, place, cell, value), "{}.{}: {cell:?} {value:?}", rows.shape.table, column.name);
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 10_000, "{compared}");
        let computed = |shape: &Shape| shape.columns.iter().any(|column| column.name == "odd_computed");
        assert!(!world.ownership.run.iter().any(|member| computed(&member.shape)), "a computed column cannot be written");
    }
}

fn bytes_of(row: &Row) -> usize {
    let of_cell = |cell: &Cell| if let Cell::Bytes(bytes) = cell { bytes.len() } else { 0 };
    row.cells.iter().map(of_cell).sum()
}

/// Rows by table and key, and how many pieces they came in.
fn gather(pieces: Vec<Piece>, most: usize) -> (HashMap<(String, Key), Row>, usize) {
    let count = pieces.len();
    let mut gathered = HashMap::new();
    for piece in pieces {
        let Piece::Rows(rows) = piece else { panic!("nothing is large") };
        let bytes: usize = rows.rows.iter().map(bytes_of).sum();
        assert!(bytes <= most || rows.rows.len() == 1, "{} rows of {} have {bytes} bytes", rows.rows.len(), rows.shape.table);
        for row in rows.rows {
            assert!(gathered.insert((rows.shape.table.clone(), row.key), row).is_none());
        }
    }
    (gathered, count)
}

#[tokio::test]
async fn pieces_are_bounded_and_divide_nothing_but_the_work() {
    let seed = dify_observe_tests::seed("pieces_are_bounded");
    let cluster = Cluster::shared().unwrap();
    for version in ["1.2.0", "1.17.1"] {
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        let now = live::now();
        populate(&database, seed, 300, now).await.unwrap();
        let (world, runs, conversations) = due(&database, now).await;
        for bundles in [runs, conversations] {
            let (whole, few) = gather(world.load(&bundles, LoadLimits::default()).await, 8 << 20);
            let small = LoadLimits { piece_bytes: 20_000, ..LoadLimits::default() };
            let (divided, many) = gather(world.load(&bundles, small).await, 20_000);
            assert!(many > few, "{few} {many}");
            assert_eq!(whole, divided, "{version}");
            // What was not prefetched is found by the snapshot itself.
            let (unprepared, _) = gather(world.load_with(&bundles, Default::default(), LoadLimits::default()).await, 8 << 20);
            assert_eq!(whole, unprepared, "{version}");
        }
    }
}

#[tokio::test]
async fn a_conversation_with_thousands_of_messages_is_read_whole() {
    const MESSAGES: i64 = 4_500;
    let cluster = Cluster::shared().unwrap();
    for version in ["1.2.0", "1.12.1"] {
        let database = cluster.database(&Schema::load(version).unwrap()).await.unwrap();
        let sequence =
            if database.schema().column("workflow_runs", "sequence_number").is_some() { ("sequence_number, ", "n, ") } else { ("", "") };
        database
            .execute(&format!(
                "CREATE TEMP TABLE long AS SELECT n, md5(n::text)::uuid AS id, md5('app')::uuid AS app, timestamp '2026-01-01' + n * interval '1 minute' AS at
                   FROM generate_series(1, {MESSAGES}) n;
                 INSERT INTO conversations (id, app_id, mode, name, inputs, status, from_source, created_at, updated_at)
                   SELECT app, app, 'advanced-chat', 'long', '{{}}', 'normal', 'api', at, at FROM long WHERE n = 1;
                 INSERT INTO workflow_runs ({}id, tenant_id, app_id, workflow_id, type, triggered_from, version, status, created_by_role, created_by, created_at, finished_at)
                   SELECT {}id, app, app, app, 'chat', 'app-run', '1', 'succeeded', 'end_user', app, at, at FROM long;
                 INSERT INTO messages (id, app_id, conversation_id, workflow_run_id, inputs, query, message, message_unit_price, answer, answer_unit_price,
                     currency, from_source, created_at, updated_at)
                   SELECT id, app, app, id, '{{}}', 'q', '[]', 0, 'a', 0, 'USD', 'api', at, at FROM long;
                 INSERT INTO workflow_node_executions (id, tenant_id, app_id, workflow_id, triggered_from, workflow_run_id, index, node_execution_id,
                     node_id, node_type, title, status, elapsed_time, created_by_role, created_by, created_at)
                   SELECT id, app, app, app, 'workflow-run', id, 1, id, 'a', 'llm', 'LLM', 'succeeded', 1, 'end_user', app, at FROM long;
                 INSERT INTO message_feedbacks (id, app_id, conversation_id, message_id, rating, from_source)
                   SELECT id, app, app, id, 'like', 'user' FROM long",
                sequence.0, sequence.1
            ))
            .await
            .unwrap();
        let (world, runs, conversations) = due(&database, live::now()).await;
        assert!(runs.is_empty(), "messages name them");
        let (rows, _) = gather(world.load(&conversations, LoadLimits::default()).await, 8 << 20);
        assert_eq!(rows.len() as i64, 1 + 4 * MESSAGES, "{version}");
    }
}

#[tokio::test]
async fn what_is_too_large_to_hold_comes_in_slices() {
    let cluster = Cluster::shared().unwrap();
    let database = cluster.database(&Schema::load("1.17.1").unwrap()).await.unwrap();
    let now = live::now();
    populate(&database, 7, 60, now).await.unwrap();
    database
        .execute(
            "ALTER TABLE workflow_node_executions ADD odd_bytes bytea, ADD odd_jsonb jsonb;
             CREATE TABLE big AS SELECT string_agg(md5(n::text), 'ä') AS value FROM generate_series(1, 300000) n;
             UPDATE workflow_node_executions SET process_data = left((SELECT value FROM big), 4000000), outputs = repeat((SELECT value FROM big), 5), odd_bytes = convert_to((SELECT value FROM big), 'UTF8'),
               odd_jsonb = to_jsonb((SELECT value FROM big))
               WHERE id = (SELECT n.id FROM workflow_node_executions n JOIN workflow_runs r ON r.id = n.workflow_run_id
                           WHERE r.type = 'workflow' AND r.status = 'succeeded' AND r.version <> 'draft' AND n.created_at < now() - interval '40 days'
                             AND NOT EXISTS (SELECT FROM workflow_draft_variables v JOIN workflow_node_executions o ON o.id = v.node_execution_id WHERE o.workflow_run_id = r.id)
                           ORDER BY n.created_at LIMIT 1);
             INSERT INTO workflow_conversation_variables (id, conversation_id, app_id, data)
               SELECT gen_random_uuid(), c.id, c.app_id, (SELECT value FROM big) FROM conversations c
               WHERE greatest(c.created_at, c.updated_at) < now() - interval '40 days'",
        )
        .await
        .unwrap();
    let (world, runs, conversations) = due(&database, now).await;
    let limits = LoadLimits::default();
    let mut large = Vec::new();
    for bundles in [runs, conversations] {
        let mut open: Option<(String, Key, String, Vec<u8>, u64)> = None;
        for piece in world.load(&bundles, limits).await {
            match piece {
                Piece::Rows(rows) => {
                    large.extend(open.take());
                    assert!(rows.rows.iter().map(bytes_of).sum::<usize>() <= 8 << 20);
                }
                Piece::Slice { shape, key, column, sequence, bytes } => {
                    assert!(!bytes.is_empty() && bytes.len() <= limits.slice as usize);
                    let name = shape.columns[column].name.clone();
                    match &mut open {
                        Some((_, of, at, value, next)) if (*of, &*at) == (key, &name) => {
                            assert_eq!(u64::from(sequence), *next);
                            value.extend(bytes);
                            *next += 1;
                        }
                        _ => {
                            assert_eq!(sequence, 0);
                            large.extend(open.take());
                            open = Some((shape.table.clone(), key, name, bytes, 1));
                        }
                    }
                }
            }
        }
        large.extend(open);
    }
    let columns: Vec<&str> = large.iter().map(|(_, _, column, ..)| column.as_str()).collect();
    assert!(columns.starts_with(&["process_data", "outputs", "odd_bytes", "odd_jsonb"]) && columns.contains(&"data"), "{columns:?}");
    let mut connection = database.connect().await.unwrap();
    for (table, key, column, value, slices) in large {
        assert!(slices >= 2);
        let bytes = if column == "odd_bytes" { column.clone() } else { format!("convert_to({column}::text, 'UTF8')") };
        let second = key.second.map_or(String::new(), |second| format!("AND conversation_id = '{second}'"));
        let sql = format!("SELECT {bytes} FROM {table} WHERE id = '{}' {second}", key.id);
        let expected: Vec<u8> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        assert!(value == expected, "{table}.{column}: {} of {} bytes", value.len(), expected.len());
    }
}
