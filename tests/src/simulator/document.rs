//! Documents on their way into a knowledge base, stage by stage.

use super::{
    story::Story,
    value::{MILLISECOND, Micros, SECOND, Value, naive, row},
};

const TABLE: &str = "documents";

/// The story of one document: completed, failed, or stuck at some stage.
pub(crate) fn tell(story: &mut Story<'_>, at: Micros) {
    let id = story.dice.uuid();
    let dataset = story.world.datasets[story.dice.between(0, story.world.datasets.len() as i64 - 1) as usize].clone();
    let row = row! {
        "id" => id, "tenant_id" => story.world.tenants[0], "dataset_id" => dataset.id, "position" => story.dice.between(4, 99),
        "data_source_type" => "upload_file", "data_source_info" => "{}", "batch" => naive(at),
        "name" => format!("产品-{}.txt", story.dice.between(1, 999)), "created_from" => "api", "created_by" => story.world.account,
        "created_at" => story.rounded(at), "is_paused" => false, "indexing_status" => "waiting", "enabled" => true,
        "archived" => false, "updated_at" => story.rounded(at), "doc_form" => "text_model", "doc_language" => "English",
        "error" => Value::Null, "completed_at" => Value::Null,
    };
    story.insert(at + 5 * MILLISECOND, TABLE, row);
    let stages: [(&str, Option<&'static str>); 4] = [
        ("parsing", None),
        ("splitting", Some("parsing_completed_at")),
        ("indexing", Some("splitting_completed_at")),
        ("completed", Some("completed_at")),
    ];
    let last = if story.dice.chance(0.1) { story.dice.between(1, 3) as usize } else { 4 };
    let fails = story.dice.chance(0.15);
    let mut now = at + (story.dice.between(100, 5_000) as f64 * story.options.time_scale) as Micros * MILLISECOND;
    let started = now;
    for (number, (status, column)) in stages.into_iter().enumerate().take(last) {
        let mut set = row! { "indexing_status" => status };
        if number == 0 {
            set.push(("processing_started_at", story.host(now).into()));
        }
        if let Some(column) = column {
            set.push((column, story.host(now).into()));
        }
        if column == Some("splitting_completed_at") {
            set.push(("cleaning_completed_at", story.host(now).into()));
        }
        if status == "completed" {
            set.push(("tokens", story.dice.between(10, 5_000).into()));
            set.push(("word_count", story.dice.between(10, 9_000).into()));
            set.push(("indexing_latency", ((now - started) as f64 / 1e6).into()));
        }
        if fails && status == "completed" {
            set = row! { "indexing_status" => "error", "error" => "[models] Rate Limit Error, Error code: 429", "stopped_at" => story.host(now) };
        }
        story.update(now + 4 * MILLISECOND, TABLE, id, set);
        now += (story.dice.duration(800) as f64 * story.options.time_scale) as Micros + SECOND / 100;
    }
}
