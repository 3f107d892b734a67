//! Documents put together until they are worth a request: batches of one kind each, within a budget of memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::document::{Document, Kind};

/// Documents of one kind, and their claim on memory, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) kind: Kind,
    pub(crate) documents: Arc<[Document]>,
    pub(crate) bytes: usize,
    pub(crate) claim: Option<OwnedSemaphorePermit>,
}

/// Batches in the making.
#[derive(Debug)]
pub(crate) struct Batches {
    most_bytes: usize,
    most_documents: usize,
    share: usize,
    memory: Arc<Semaphore>,
    kinds: BTreeMap<Kind, Making>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Making {
    documents: Vec<Document>,
    bytes: usize,
    claim: Option<OwnedSemaphorePermit>,
}

impl Batches {
    /// Batches within a sink's limits, all together in `share` bytes.
    pub(crate) fn new((bytes, documents): (usize, usize), share: usize) -> Self {
        let share = share.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Batches {
            // Half of the share is always left for a document of any size, so that nothing waits for what it holds itself.
            most_bytes: bytes.min(share / 2).max(1),
            most_documents: documents.max(1),
            share,
            memory: Arc::new(Semaphore::new(share)),
            kinds: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The batches that must go before the document can be taken in.
    pub(crate) fn make_room(&mut self, document: &Document) -> Vec<Batch> {
        let bytes = document.bytes();
        let mut full = Vec::new();
        let own = self.kinds.get(&document.kind);
        if own.is_some_and(|own| own.bytes + bytes > self.most_bytes || own.documents.len() >= self.most_documents) {
            full.extend(self.take(document.kind));
        }
        while self.bytes > 0 && self.bytes + bytes > self.share / 2 {
            let largest = self.kinds.iter().max_by_key(|(_, making)| making.bytes).map(|(kind, _)| *kind);
            match largest.and_then(|kind| self.take(kind)) {
                Some(batch) => full.push(batch),
                None => break,
            }
        }
        full
    }

    /// Takes a document in, once there is memory for it. What [`Batches::make_room`] gave must be on its way.
    pub(crate) async fn put(&mut self, document: Document) {
        let bytes = document.bytes();
        let wanted = u32::try_from(bytes.min(self.share)).unwrap_or(u32::MAX);
        let claim = self.memory.clone().acquire_many_owned(wanted).await.expect("the semaphore is never closed");
        let making = self.kinds.entry(document.kind).or_default();
        match &mut making.claim {
            Some(claimed) => claimed.merge(claim),
            None => making.claim = Some(claim),
        }
        making.documents.push(document);
        making.bytes += bytes;
        self.bytes += bytes;
    }

    /// Everything that is left.
    pub(crate) fn take_all(&mut self) -> Vec<Batch> {
        let kinds: Vec<Kind> = self.kinds.keys().copied().collect();
        kinds.into_iter().filter_map(|kind| self.take(kind)).collect()
    }

    /// Tells at any time how much memory is claimed.
    pub(crate) fn meter(&self) -> Meter {
        Meter { share: self.share, memory: self.memory.clone() }
    }

    fn take(&mut self, kind: Kind) -> Option<Batch> {
        let making = self.kinds.remove(&kind)?;
        self.bytes -= making.bytes;
        Some(Batch { kind, documents: making.documents.into(), bytes: making.bytes, claim: making.claim })
    }
}

/// How much memory is claimed.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    share: usize,
    memory: Arc<Semaphore>,
}

impl Meter {
    /// Bytes that are claimed: in the making, waiting, or under way.
    pub(crate) fn claimed(&self) -> usize {
        self.share - self.memory.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dify_observe_core::dify::catalog::App;
    use dify_observe_core::dify::time::Micros;
    use uuid::Uuid;

    use super::*;
    use crate::document::Scope;

    fn document(kind: Kind, bytes: usize) -> Document {
        let word = || "x".into();
        let app = App { id: Uuid::nil(), tenant_id: None, name: word(), mode: word(), status: word(), tags: Vec::new() };
        let scope = Scope { app: Arc::new(app), status: None };
        Document { kind, id: String::new(), revision: 1, time: Micros(0), source: Bytes::from(vec![b' '; bytes - 128]), scope }
    }

    async fn put(batches: &mut Batches, kind: Kind, bytes: usize) -> Vec<(Kind, usize, usize)> {
        let document = document(kind, bytes);
        let full = batches.make_room(&document).iter().map(|batch| (batch.kind, batch.documents.len(), batch.bytes)).collect();
        batches.put(document).await;
        full
    }

    #[tokio::test]
    async fn a_batch_is_full_by_bytes_or_by_number() {
        let mut batches = Batches::new((1000, 3), 100_000);
        assert!(put(&mut batches, Kind::Message, 400).await.is_empty());
        assert!(put(&mut batches, Kind::Feedback, 400).await.is_empty(), "kinds have batches of their own");
        assert!(put(&mut batches, Kind::Message, 400).await.is_empty());
        assert_eq!(put(&mut batches, Kind::Message, 400).await, [(Kind::Message, 2, 800)]);
        for _ in 0..2 {
            assert!(put(&mut batches, Kind::Message, 200).await.is_empty());
        }
        assert_eq!(put(&mut batches, Kind::Message, 200).await, [(Kind::Message, 3, 800)]);
        assert_eq!(batches.take_all().len(), 2);
        assert_eq!(batches.meter().claimed(), 0);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_a_document_of_any_size_gets_through() {
        let mut batches = Batches::new((1 << 20, 1000), 10_000);
        for kind in [Kind::Message, Kind::Feedback, Kind::ToolCall, Kind::Retrieval].into_iter().cycle().take(50) {
            put(&mut batches, kind, 900).await;
            assert!(batches.meter().claimed() <= 5_000, "{}", batches.meter().claimed());
        }
        // Larger than the whole share: it waits until everything else is gone, and then goes.
        assert!(!put(&mut batches, Kind::Message, 50_000).await.is_empty());
        assert_eq!(batches.meter().claimed(), 10_000);
    }

    #[tokio::test]
    async fn reading_waits_for_memory() {
        let mut batches = Batches::new((4000, 1000), 10_000);
        let mut under_way = Vec::new();
        for _ in 0..9 {
            let document = document(Kind::Message, 1000);
            under_way.extend(batches.make_room(&document));
            batches.put(document).await;
        }
        let large = document(Kind::Message, 4000);
        under_way.extend(batches.make_room(&large));
        let mut put = Box::pin(batches.put(large));
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, &mut put).await.is_err());
        under_way.clear();
        put.await;
        assert_eq!(batches.meter().claimed(), 4000);
    }
}
