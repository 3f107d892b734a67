//! Where in the archive an object lies.

use dify_observe_core::dify::time::Micros;
use uuid::Uuid;

use super::manifest::BatchHead;

/// Who archives now.
pub(crate) const LEASE: &str = "lease.json";

/// Lists of what must not be deleted again for a while.
pub(crate) const HOLDS: &str = "holds";

/// Batches that were begun and may have left objects without a manifest.
pub(crate) const BEGUN: &str = "manifests/begun";

/// Batches on their way. Few, so that they are found without looking at the others.
pub(crate) const OPEN: &str = "manifests/open";

/// Batches that are done.
pub(crate) const DONE: &str = "manifests/done";

/// Added to a table's name for the parts of its large values.
pub(crate) const CHUNKS: &str = "__chunks";

/// What the folder of a table begins with.
pub(crate) const TABLE: &str = "table=";

/// The manifest of a batch that was begun.
pub(crate) fn begun(batch: Uuid) -> String {
    format!("{BEGUN}/{batch}.json")
}

/// The manifest of a batch on its way.
pub(crate) fn open(batch: Uuid) -> String {
    format!("{OPEN}/{batch}.json")
}

/// The folder of the manifests of done batches of one app and day.
pub(crate) fn done_folder(head: &BatchHead) -> String {
    format!("{DONE}/{}", partition(head))
}

/// The manifest of a done batch. What is asked for most often stands in its name: tenant, app, day, and when it was done.
pub(crate) fn done(head: &BatchHead, done_at: Micros) -> String {
    format!("{}/{:020}-{}.json", done_folder(head), done_at.0.max(0), head.id)
}

/// A batch that is done, as the name of its manifest says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneBatch {
    /// The tenant of its bundles.
    pub tenant_id: Uuid,
    /// The app of its bundles.
    pub app_id: Uuid,
    /// The UTC day on which its bundles ended, as days since 1970-01-01; infinite ones as far as a date can say it.
    pub day: i32,
    /// When it was done.
    pub done_at: Micros,
    /// The batch.
    pub id: Uuid,
    pub(crate) path: String,
}

impl DoneBatch {
    /// Reads the path of a manifest; `None` for anything else.
    pub(crate) fn parse(path: String) -> Option<DoneBatch> {
        let mut parts = path.strip_prefix(DONE)?.strip_prefix('/')?.split('/');
        let mut part = |name: &str| parts.next()?.strip_prefix(name);
        let tenant_id = Uuid::parse_str(part("tenant_id=")?).ok()?;
        let app_id = Uuid::parse_str(part("app_id=")?).ok()?;
        let date: chrono::NaiveDate = part("date=")?.parse().ok()?;
        let (done_at, id) = part("")?.strip_suffix(".json")?.split_once('-')?;
        let (done_at, id) = (Micros(done_at.parse().ok()?), Uuid::parse_str(id).ok()?);
        Some(DoneBatch { tenant_id, app_id, day: date.to_epoch_days(), done_at, id, path })
    }
}

/// An object with rows of a batch. Each time the batch is rewritten, its objects get new names.
pub(crate) fn object(table: &str, head: &BatchHead, revision: u32) -> String {
    let revision = if revision == 0 { String::new() } else { format!("-r{revision}") };
    format!("{TABLE}{table}/{}/{}{revision}.parquet", partition(head), head.id)
}

/// A list of bundles that are held.
pub(crate) fn hold(until: Micros, id: Uuid) -> String {
    format!("{HOLDS}/{:020}-{id}.json", until.0.max(0))
}

/// Until when the list at `path` holds.
pub(crate) fn held_until(path: &str) -> Option<Micros> {
    let (until, _) = path.strip_prefix(HOLDS)?.strip_prefix('/')?.split_once('-')?;
    until.parse().ok().map(Micros)
}

fn partition(head: &BatchHead) -> String {
    format!("tenant_id={}/app_id={}/date={}", head.tenant_id, head.app_id, date(head.day))
}

/// The first and the last day that every tool reads. PostgreSQL's infinite times have a day too.
pub(crate) const FIRST_DAY: i32 = -719_162;
pub(crate) const LAST_DAY: i32 = 2_932_896;

fn date(day: i32) -> String {
    chrono::NaiveDate::from_epoch_days(day.clamp(FIRST_DAY, LAST_DAY)).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use dify_observe_core::dify::retention::Root;

    use super::*;

    fn head(day: i32) -> BatchHead {
        BatchHead {
            id: Uuid::from_u128(3),
            tenant_id: Uuid::from_u128(1),
            app_id: Uuid::from_u128(2),
            day,
            root: Root::Run,
            policy: "default".to_owned(),
            written_at: Micros(0),
            alembic: None,
            database: String::new(),
        }
    }

    #[test]
    fn objects_lie_in_hive_partitions() {
        let id = |number: u8| format!("00000000-0000-0000-0000-00000000000{number}");
        let folder = format!("table=messages/tenant_id={}/app_id={}/date=2026-11-21", id(1), id(2));
        assert_eq!(object("messages", &head(20_778), 0), format!("{folder}/{}.parquet", id(3)));
        assert_eq!(object("messages", &head(20_778), 2), format!("{folder}/{}-r2.parquet", id(3)));
    }

    #[test]
    fn infinite_days_are_days() {
        let days = [(i32::MIN, "0001-01-01"), (-1, "1969-12-31"), (0, "1970-01-01"), (2_932_896, "9999-12-31"), (i32::MAX, "9999-12-31")];
        for (day, text) in days {
            assert_eq!(date(day), text);
        }
    }

    #[test]
    fn a_name_says_what_is_asked_for() {
        let path = done(&head(20_778), Micros(17));
        let [tenant_id, app_id, id] = [1, 2, 3].map(Uuid::from_u128);
        let expected = DoneBatch { tenant_id, app_id, day: 20_778, done_at: Micros(17), id, path: path.clone() };
        assert_eq!(DoneBatch::parse(path), Some(expected));
        assert_eq!(DoneBatch::parse("manifests/open/x.json".to_owned()), None);
        assert_eq!(held_until(&hold(Micros(5), Uuid::nil())), Some(Micros(5)));
    }
}
