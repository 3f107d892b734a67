//! How much of bundles that were being deleted is still there.

use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::bundle::Root;
use super::ownership::{Member, Ownership};
use super::rows::Key;
use crate::dify::session::{Database, DatabaseError, ReadTx, built_query, query};

/// Keys asked for in one statement.
const PAGE: usize = 5000;

/// Between two looks at open transactions.
const POLL: Duration = Duration::from_millis(20);

/// How much of a bundle is there, in whatever version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Every row.
    Whole,
    /// Some rows.
    Part,
    /// None.
    Nothing,
}

/// Rows of bundles: position of the bundle, table (as [`Ownership::table_index`] counts them) and key.
pub type Wanted = (u32, u16, Key);

/// Waits until every transaction that is open now, ours among them, has ended, or `patience` is over. A process that was killed may have
/// sent its COMMIT before, and what that commit deletes is there until it is done.
pub async fn quiesce(db: &Database, timeout: Duration, patience: Duration) -> Result<(), DatabaseError> {
    let began = std::time::Instant::now();
    let until: i64 = ask(db, "SELECT txid_snapshot_xmax(txid_current_snapshot()) AS id", timeout).await?;
    while ask(db, "SELECT txid_snapshot_xmin(txid_current_snapshot()) AS id", timeout).await? < until && began.elapsed() < patience {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn ask(db: &Database, text: &'static str, timeout: Duration) -> Result<i64, DatabaseError> {
    let mut tx = db.read(timeout).await?;
    let id = tx.fetch_one(query(text)).await?.try_get("id")?;
    tx.end().await?;
    Ok(id)
}

/// Looks for rows of `bundles` bundles of one kind by their primary keys. A bundle without rows is not there.
pub async fn presence(
    db: &Database,
    ownership: &Ownership,
    root: Root,
    bundles: usize,
    rows: &[Wanted],
    timeout: Duration,
) -> Result<Vec<Presence>, DatabaseError> {
    let mut missing = vec![0_u64; bundles];
    let mut present = vec![0_u64; bundles];
    for (table, member) in ownership.members(root).iter().enumerate() {
        let of_table: Vec<&Wanted> = rows.iter().filter(|(_, index, _)| usize::from(*index) == table).collect();
        for page in of_table.chunks(PAGE) {
            let mut tx = db.read(timeout).await?;
            for (bundle, found, absent) in look(&mut tx, member, page).await? {
                present[bundle] += found;
                missing[bundle] += absent;
            }
            tx.end().await?;
        }
    }
    let judge = |(present, missing): (u64, u64)| match (present, missing) {
        (0, _) => Presence::Nothing,
        (_, 0) => Presence::Whole,
        _ => Presence::Part,
    };
    Ok(present.into_iter().zip(missing).map(judge).collect())
}

/// For each bundle of a page: how many of its rows are there, and how many are not.
async fn look(tx: &mut ReadTx, member: &Member, page: &[&Wanted]) -> Result<Vec<(usize, u64, u64)>, DatabaseError> {
    let bundles: Vec<i32> = page.iter().map(|(bundle, ..)| i32::try_from(*bundle).unwrap_or(i32::MAX)).collect();
    let ids: Vec<Uuid> = page.iter().map(|(.., key)| key.id).collect();
    let seconds: Vec<Option<Uuid>> = page.iter().map(|(.., key)| key.second).collect();
    let statement = statement(member);
    let rows = tx.fetch_all(built_query(statement).bind(bundles).bind(ids).bind(seconds)).await?;
    let mut counts = Vec::with_capacity(rows.len());
    for row in rows {
        let count = |name: &str| -> Result<u64, DatabaseError> { Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0)) };
        let bundle: i32 = row.try_get("bundle")?;
        let all = count("wanted")?;
        let found = count("found")?;
        counts.push((usize::try_from(bundle).unwrap_or(usize::MAX), found, all - found));
    }
    Ok(counts)
}

/// The statement for one member: nested loops through its primary key.
fn statement(member: &Member) -> String {
    let shape = &member.shape;
    let names: Vec<&str> = shape.key.iter().map(|position| shape.columns[*position].name.as_str()).collect();
    let second = names.get(1).map(|name| format!(" AND t.{name} = p.second")).unwrap_or_default();
    format!(
        "SELECT p.bundle, count(*) AS wanted, count(t.id) AS found FROM unnest($1::int4[], $2::uuid[], $3::uuid[]) AS p(bundle, id, second) \
         LEFT JOIN LATERAL (SELECT t.id FROM {} AS t WHERE t.id = p.id{second} OFFSET 0) AS t ON true GROUP BY p.bundle",
        shape.table
    )
}
