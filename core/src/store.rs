//! Where objects are kept: a folder, or a bucket of an S3-compatible store. What is needed of one is little: durable and atomic writes,
//! ranges, listings, and a conditional write for a lease. `object_store`'s own local folder syncs nothing and has no conditional update,
//! hence [`Folder`].
//!
//! Nothing here knows what an object means, or which setting named the store: whoever opens one says so in its own errors.

mod bucket;
mod error;
pub mod faulty;
mod folder;

use std::fmt::Debug;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use bucket::{Bucket, BucketOptions};
pub use error::StoreError;
pub use folder::Folder;

use crate::dify::time::Micros;

/// What an operation yields.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A store of objects. What is acknowledged is durable; an object is there as a whole or not at all.
pub trait Store: Debug + Send + Sync {
    /// Writes an object, in place of the one that may be there.
    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()>;

    /// Writes an object if `condition` holds; `false` if it does not.
    fn put_if<'a>(&'a self, path: &'a str, bytes: Bytes, condition: Condition) -> Answer<'a, bool>;

    /// An object and its version; `None` if it is not there.
    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, Option<(Bytes, Version)>>;

    /// A part of an object. A range that goes past its end is damage.
    fn get_range<'a>(&'a self, path: &'a str, range: Range<u64>) -> Answer<'a, Bytes>;

    /// The length of an object; `None` if it is not there.
    fn size<'a>(&'a self, path: &'a str) -> Answer<'a, Option<u64>>;

    /// Begins an object that is written in parts. It is there once it is finished.
    fn upload<'a>(&'a self, path: &'a str) -> Answer<'a, Box<dyn Upload>>;

    /// Every object below a folder.
    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>>;

    /// The names of the folders at the top.
    fn folders(&self) -> Answer<'_, Vec<String>>;

    /// Removes an object, and what an interrupted write of it left; it is no error if there is none.
    fn delete<'a>(&'a self, path: &'a str) -> Answer<'a, ()>;
}

/// An object being written.
pub trait Upload: Send {
    /// Adds bytes.
    fn put(&mut self, bytes: Bytes) -> Answer<'_, ()>;

    /// Makes the object visible and durable.
    fn finish(self: Box<Self>) -> Answer<'static, ()>;

    /// Leaves nothing behind.
    fn abort(self: Box<Self>) -> Answer<'static, ()>;
}

/// What a conditional write demands.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The object is not there.
    Absent,
    /// The object is still in this version.
    Version(Version),
}

/// The version of an object: an ETag, or a hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub String);

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: Micros,
}
