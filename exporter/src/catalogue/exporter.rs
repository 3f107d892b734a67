//! The exporter's own condition.

use crate::store::FamilyDef;

families! {
    UP = gauge("dify_up", "Whether the last step read Dify's database; 0 means that the values are those of the last one that did")
        .global();
    COLLECTOR_SUCCESS = gauge("dify_exporter_collector_success", "Whether the collector's last turn succeeded")
        .labels(&["collector"]).global();
    COLLECTOR_DURATION = gauge("dify_exporter_collector_duration_seconds", "Duration of the collector's last turn")
        .labels(&["collector"]).unit("seconds").global();
    COLLECTOR_LAST_SUCCESS = gauge("dify_exporter_collector_last_success_timestamp_seconds", "Time of the collector's last success")
        .labels(&["collector"]).unit("seconds").global();
    LAG = gauge("dify_exporter_lag_seconds", "How far behind the database's clock the follower has taken everything")
        .labels(&["collector"]).unit("seconds").global();
    HORIZON = gauge("dify_exporter_horizon_seconds", "How late a row may commit after its own time and still be counted")
        .labels(&["collector"]).unit("seconds").global();
    LATE_RECORDS = counter("dify_exporter_late_records", "Records that only a trailing walk found")
        .labels(&["collector"]).global();
    VANISHED_RECORDS = counter("dify_exporter_vanished_records", "Records seen open that were deleted before they were seen final")
        .labels(&["collector"]).global();
    UNREADABLE_VALUES = counter("dify_exporter_unreadable_values", "JSON values that were damaged, or longer than follow.value_bytes: their record counts, with what stood before the break")
        .labels(&["collector"]).global();
    SERIES_FOLDED = counter("dify_exporter_series_folded", "Updates counted under the label value other because their family has as many label sets as exporter.max_series_per_family allows")
        .labels(&["family"]).global();
    DATABASE_CHANGES = counter("dify_exporter_database_changes", "Times that another database was found under the same URL, such as a restored backup; it is followed from then on")
        .global();
    STATE_WRITABLE = gauge("dify_exporter_state_writable", "Whether the state could be written; 0 means that the values stand still")
        .global();
    STATE_LOST = gauge("dify_exporter_state_lost", "Whether this process found a state that it could not use and began anew")
        .global();
    STATE_SAVED = gauge("dify_exporter_state_saved_timestamp_seconds", "Time at which the state was last written")
        .unit("seconds").global();
    BUILD = info("dify_exporter_build", "The exporter's version")
        .labels(&["version"]).global();
}
