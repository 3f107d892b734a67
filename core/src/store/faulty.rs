//! A store that breaks, for tests: at the n-th operation, in whatever way is asked for.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use futures_util::future::FutureExt as _;

use super::{Answer, Condition, Listed, Store, StoreError, Upload, Version};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done.
    Before,
    /// It is done, and its answer is lost.
    After,
    /// It is done, and one bit of what it reads or writes is wrong.
    Flip,
    /// No room is left.
    Full,
}

/// Passes `left` operations on, then fails; with `dead`, all that follow too, as for a process that was killed.
#[derive(Clone, Debug)]
pub struct Faulty {
    store: Arc<dyn Store>,
    left: Arc<AtomicI64>,
    fault: Fault,
    dead: bool,
}

impl Faulty {
    /// Passes `operations` on to `store`, then fails.
    pub fn new(store: Arc<dyn Store>, operations: i64, fault: Fault, dead: bool) -> Faulty {
        Faulty { store, left: Arc::new(AtomicI64::new(operations)), fault, dead }
    }

    /// Whether the fault happened.
    pub fn struck(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    fn next(&self) -> Option<Fault> {
        let before = self.left.fetch_sub(1, Ordering::SeqCst);
        if before > 0 {
            return None;
        }
        if before == 0 {
            return Some(self.fault);
        }
        self.dead.then_some(Fault::Before)
    }

    async fn run<T>(&self, operation: impl Future<Output = Result<T, StoreError>>, flip: impl FnOnce(T) -> T) -> Result<T, StoreError> {
        match self.next() {
            None => operation.await,
            Some(Fault::Before) => Err(broken()),
            Some(Fault::Full) => Err(StoreError::Full { place: "here".to_owned(), reason: "no space left on device".to_owned() }),
            Some(Fault::After) => {
                operation.await?;
                Err(broken())
            }
            Some(Fault::Flip) => operation.await.map(flip),
        }
    }
}

fn broken() -> StoreError {
    StoreError::Unavailable { action: "an operation".to_owned(), reason: "broken on purpose".to_owned() }
}

/// One bit in the middle.
fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 4;
    }
    bytes.into()
}

impl Store for Faulty {
    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        self.run(self.store.put(path, bytes), |()| ()).boxed()
    }

    fn put_if<'a>(&'a self, path: &'a str, bytes: Bytes, condition: Condition) -> Answer<'a, bool> {
        self.run(self.store.put_if(path, bytes, condition), |written| written).boxed()
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, Option<(Bytes, Version)>> {
        self.run(self.store.get(path), |found| found.map(|(bytes, version)| (flipped(&bytes), version))).boxed()
    }

    fn get_range<'a>(&'a self, path: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.run(self.store.get_range(path, range), |bytes| flipped(&bytes)).boxed()
    }

    fn size<'a>(&'a self, path: &'a str) -> Answer<'a, Option<u64>> {
        self.run(self.store.size(path), |size| size).boxed()
    }

    fn upload<'a>(&'a self, path: &'a str) -> Answer<'a, Box<dyn Upload>> {
        let begin = async move {
            let upload = self.store.upload(path).await?;
            Ok(Box::new(FaultyUpload { upload, faults: self.clone() }) as Box<dyn Upload>)
        };
        self.run(begin, |upload| upload).boxed()
    }

    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
        self.run(self.store.list(folder), |listed| listed).boxed()
    }

    fn folders(&self) -> Answer<'_, Vec<String>> {
        self.run(self.store.folders(), |folders| folders).boxed()
    }

    fn delete<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        self.run(self.store.delete(path), |()| ()).boxed()
    }
}

struct FaultyUpload {
    upload: Box<dyn Upload>,
    faults: Faulty,
}

impl Upload for FaultyUpload {
    fn put(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        async move {
            match self.faults.next() {
                None => self.upload.put(bytes).await,
                Some(Fault::Flip) => self.upload.put(flipped(&bytes)).await,
                Some(Fault::After) => {
                    self.upload.put(bytes).await?;
                    Err(broken())
                }
                Some(Fault::Full) => Err(StoreError::Full { place: "here".to_owned(), reason: "no space left on device".to_owned() }),
                Some(Fault::Before) => Err(broken()),
            }
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> Answer<'static, ()> {
        let faults = self.faults.clone();
        async move { faults.run(self.upload.finish(), |()| ()).await }.boxed()
    }

    fn abort(self: Box<Self>) -> Answer<'static, ()> {
        let faults = self.faults.clone();
        async move { faults.run(self.upload.abort(), |()| ()).await }.boxed()
    }
}
