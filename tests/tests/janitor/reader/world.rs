//! A database as dify-janitor reads it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dify_observe_core::dify::retention::{
    Bundle, Candidate, Drafts, Key, LoadLimits, Ownership, Pass, Piece, Prefetched, Root, Snapshot, UnknownShape, Wanted, complete,
    prefetch, referenced_runs,
};
use dify_observe_core::dify::schema::Schema;
use dify_observe_core::dify::session::Database;
use dify_observe_core::dify::time::Micros;
use dify_observe_tests::postgres::TestDatabase;
use dify_observe_tests::retention::Rules;

/// Long enough for a busy machine.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);

/// A database and what is known of it.
pub(super) struct World {
    pub(super) database: Database,
    pub(super) ownership: Arc<Ownership>,
}

impl World {
    pub(super) async fn open(database: &TestDatabase) -> World {
        let ownership = Self::resolve(database).await.unwrap_or_else(|refused| panic!("{}: {refused}", database.schema().describe()));
        Self::with(database, ownership)
    }

    pub(super) fn with(database: &TestDatabase, ownership: Ownership) -> World {
        World { database: connect(database), ownership: Arc::new(ownership) }
    }

    pub(super) async fn resolve(database: &TestDatabase) -> Result<Ownership, UnknownShape> {
        let mut tx = connect(database).read(TIMEOUT).await.unwrap();
        let schema = Schema::probe(&mut tx).await.unwrap();
        tx.end().await.unwrap();
        Ownership::resolve(&schema)
    }

    /// All candidates of one kind, complete.
    pub(super) async fn candidates(&self, root: Root, wanted: Wanted) -> Vec<Candidate> {
        let drafts = Arc::new(Drafts::read(&self.database, &self.ownership, TIMEOUT).await.unwrap());
        let mut pass = Pass::new(root, Arc::clone(&self.ownership), Arc::clone(&drafts), wanted);
        let mut candidates = Vec::new();
        while let Some(page) = pass.next(&self.database, TIMEOUT).await.unwrap() {
            candidates.extend(page);
        }
        complete(&self.database, &self.ownership, &drafts, wanted, &mut candidates, TIMEOUT).await.unwrap();
        candidates
    }

    /// All candidates of one kind that nothing protects, where one age holds for all of them.
    pub(super) async fn due(&self, root: Root, wanted: Wanted) -> Vec<Bundle> {
        let mut candidates = self.candidates(root, wanted).await;
        candidates.retain(|candidate| candidate.protected.is_none() && candidate.bundle.ended_at < wanted.older_than);
        let asked: HashSet<_> =
            candidates.iter().filter(|candidate| candidate.may_be_named()).map(|candidate| candidate.bundle.id).collect();
        let mut free = asked.clone();
        referenced_runs(&self.database, &self.ownership, &mut free, 0.0, TIMEOUT).await.unwrap();
        candidates.retain(|candidate| !asked.contains(&candidate.bundle.id) || free.contains(&candidate.bundle.id));
        candidates.into_iter().map(|candidate| candidate.bundle).collect()
    }

    /// All pieces of some bundles.
    pub(super) async fn load(&self, bundles: &[Bundle], limits: LoadLimits) -> Vec<Piece> {
        let root = bundles.first().map_or(Root::Run, |bundle| bundle.root);
        let prefetched = prefetch(&self.database, &self.ownership, root, bundles, TIMEOUT).await.unwrap();
        self.load_with(bundles, prefetched, limits).await
    }

    /// The same with what was prefetched.
    pub(super) async fn load_with(&self, bundles: &[Bundle], prefetched: Prefetched, limits: LoadLimits) -> Vec<Piece> {
        let (ownership, prefetched) = (Arc::clone(&self.ownership), Arc::new(prefetched));
        let mut snapshot = Snapshot::begin(&self.database, ownership, bundles.into(), prefetched, limits).await.unwrap();
        assert_eq!(snapshot.changed(), [0; 0]);
        let mut pieces = Vec::new();
        while let Some(piece) = snapshot.next().await.unwrap() {
            pieces.push(piece);
        }
        snapshot.end().await.unwrap();
        pieces
    }

    /// Keys of all rows that hang on anything that is due.
    pub(super) async fn everything_due(&self, rules: &Rules, now: i64) -> BTreeMap<String, BTreeSet<String>> {
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for root in [Root::Run, Root::Conversation] {
            let bundles = self.due(root, wanted(rules, now)).await;
            for piece in self.load(&bundles, LoadLimits::default()).await {
                let Piece::Rows(rows) = piece else { continue };
                let of_table = keys.entry(rows.shape.table.clone()).or_default();
                for row in rows.rows {
                    assert!(of_table.insert(text(row.key)), "{} {:?} was read twice", rows.shape.table, row.key);
                }
            }
        }
        keys
    }
}

pub(super) fn wanted(rules: &Rules, now: i64) -> Wanted {
    let before = |seconds: i64| Micros(now - seconds * 1_000_000);
    Wanted { older_than: before(rules.age), stale_before: before(rules.stale_after) }
}

/// A key as the snapshots of tests write it.
pub(super) fn text(key: Key) -> String {
    key.second.map_or(key.id.to_string(), |second| format!("{}/{second}", key.id))
}

pub(super) fn connect(database: &TestDatabase) -> Database {
    Database::new(database.url().parse().unwrap(), TIMEOUT)
}
