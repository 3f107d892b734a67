//! A bucket of an S3-compatible store.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt as _;
use futures_util::stream::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig, UpdateVersion,
};
use tokio::io::AsyncWriteExt as _;

use super::{Answer, Condition, Listed, Store, StoreError, Upload, Version};
use crate::dify::time::Micros;
use crate::secret::Secret;

/// S3 takes parts of 5 MiB and more; an object below this is one request.
const PART: usize = 6 << 20;

/// Parts on their way at a time: each is held in memory.
const PARTS_AT_ONCE: usize = 2;

/// How a bucket is reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BucketOptions {
    /// The address of a store that is not Amazon's.
    pub endpoint: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// The access key. Without: `AWS_ACCESS_KEY_ID` and the other ways of Amazon's tools.
    pub access_key_id: Option<Secret>,
    /// The secret that belongs to the key.
    pub secret_access_key: Option<Secret>,
    /// Whether the bucket is a part of the host name.
    pub virtual_hosted: bool,
    /// Whether the endpoint may be without encryption.
    pub allow_http: bool,
}

/// Objects below a prefix of a bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    name: String,
    prefix: Path,
}

impl Bucket {
    /// The bucket and prefix of `bucket/prefix`, which is what follows `s3://`. Nothing is looked at yet.
    pub fn open(options: &BucketOptions, address: &str) -> Result<Bucket, StoreError> {
        let (name, prefix) = address.split_once('/').unwrap_or((address, ""));
        if name.is_empty() {
            return Err(StoreError::Address);
        }
        let prefix = Path::parse(prefix.trim_matches('/')).map_err(|_| StoreError::Address)?;
        // TLS is built by whoever came first; the second is told so, which is fine.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let store = builder(options, name)?.build().map_err(|error| StoreError::Options(error.to_string()))?;
        Ok(Bucket { store: Arc::new(store), name: name.to_owned(), prefix })
    }

    fn path(&self, path: &str) -> Path {
        path.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |folder, part| folder.join(part))
    }

    /// The path below the prefix.
    fn relative(&self, path: &Path) -> Option<String> {
        let rest: Vec<_> = path.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(rest.join("/"))
    }

    fn listed(&self, meta: &ObjectMeta) -> Option<Listed> {
        Some(Listed { path: self.relative(&meta.location)?, size: meta.size, modified: Micros(meta.last_modified.timestamp_micros()) })
    }

    fn error(&self, action: &'static str, path: &str, error: &object_store::Error) -> StoreError {
        let text = chain(error);
        let code = element(&text, "Code").map(str::to_owned);
        let word = |default: &str| code.clone().unwrap_or_else(|| default.to_owned());
        match error {
            object_store::Error::NotFound { .. }
                if matches!(code.as_deref(), Some("NoSuchKey")) || reads_object(action) && code.is_none() =>
            {
                StoreError::Missing { path: path.to_owned() }
            }
            object_store::Error::NotFound { .. } => StoreError::NoBucket { bucket: self.name.clone() },
            object_store::Error::PermissionDenied { .. } if code.as_deref() == Some("QuotaExceeded") => self.full(word("full")),
            object_store::Error::PermissionDenied { .. } => self.denied(action, word("403")),
            object_store::Error::Unauthenticated { .. } => self.denied(action, word("401")),
            _ if is_full(&text, code.as_deref()) => self.full(word("507")),
            _ => StoreError::Unavailable { action: format!("to {action} {path} in bucket `{}`", self.name), reason: short(&text, code) },
        }
    }

    fn denied(&self, action: &'static str, code: String) -> StoreError {
        StoreError::Denied { bucket: self.name.clone(), action, code }
    }

    fn full(&self, reason: String) -> StoreError {
        StoreError::Full { place: format!("bucket `{}`", self.name), reason }
    }

    async fn write_if(&self, path: &str, bytes: Bytes, condition: Condition) -> Result<bool, StoreError> {
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::Version(version) => PutMode::Update(UpdateVersion { e_tag: Some(version.0), version: None }),
        };
        match self.store.put_opts(&self.path(path), bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.error("write", path, &error)),
        }
    }

    async fn read(&self, path: &str) -> Result<Option<(Bytes, Version)>, StoreError> {
        let read = async {
            let answer = self.store.get(&self.path(path)).await?;
            let version = Version(answer.meta.e_tag.clone().unwrap_or_default());
            Ok::<_, object_store::Error>((answer.bytes().await?, version))
        };
        optional(read.await.map_err(|error| self.error("read", path, &error)))
    }

    async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let wanted = range.end.saturating_sub(range.start);
        let bytes = self.store.get_range(&self.path(path), range).await.map_err(|error| match &error {
            // A range that begins past the end is refused as such.
            object_store::Error::Generic { .. } if chain(&error).contains("416") => {
                StoreError::damaged(path, "it is shorter than what was written")
            }
            error => self.error("read", path, error),
        })?;
        if bytes.len() as u64 != wanted {
            return Err(StoreError::damaged(path, "it is shorter than what was written"));
        }
        Ok(bytes)
    }
}

fn builder(options: &BucketOptions, bucket: &str) -> Result<AmazonS3Builder, StoreError> {
    // Where no key is given, what Amazon's own tools look at: variables, and the roles of instances and pods.
    let mut builder = if options.access_key_id.is_some() { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    if let (Some(key), Some(secret)) = (&options.access_key_id, &options.secret_access_key) {
        builder = builder.with_access_key_id(key.expose()).with_secret_access_key(secret.expose());
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(if options.virtual_hosted { with_bucket(endpoint, bucket)? } else { endpoint.clone() });
    }
    let client = ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_connect_timeout(Duration::from_secs(10))
        .with_timeout(Duration::from_secs(120));
    let backoff = BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(10), base: 2. };
    let retry = RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_secs(90) };
    Ok(builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(options.virtual_hosted)
        .with_client_options(client)
        .with_retry(retry))
}

/// The bucket as a part of the host name.
fn with_bucket(endpoint: &str, bucket: &str) -> Result<String, StoreError> {
    let wrong = || StoreError::Options("the endpoint is no address of a host by name".to_owned());
    let mut url = url::Url::parse(endpoint).map_err(|_| wrong())?;
    let host = url.domain().ok_or_else(wrong)?;
    if !host.starts_with(&format!("{bucket}.")) {
        let host = format!("{bucket}.{host}");
        url.set_host(Some(&host)).map_err(|_| wrong())?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn reads_object(action: &str) -> bool {
    matches!(action, "read" | "look at")
}

/// An error and its causes in one line. Its text may hold the store's whole answer: never shown as it is.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The content of an element of the store's XML answer.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    (content.len() < 100 && content.chars().all(|character| character.is_ascii_graphic())).then_some(content)
}

fn is_full(text: &str, code: Option<&str>) -> bool {
    text.contains("507 Insufficient Storage")
        || matches!(code, Some("XMinioStorageFull" | "QuotaExceeded" | "InsufficientStorage" | "EntityTooLarge" | "XAmzQuotaExceeded"))
}

/// What went wrong without the store's whole answer.
fn short(text: &str, code: Option<String>) -> String {
    if let Some(code) = code {
        return code;
    }
    let without_answer = text.split(['<', '\n']).next().unwrap_or_default().trim();
    without_answer.chars().take(300).collect()
}

fn optional<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Store for Bucket {
    fn put<'a>(&'a self, path: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        async move {
            let written = self.store.put(&self.path(path), bytes.into()).await;
            written.map(drop).map_err(|error| self.error("write", path, &error))
        }
        .boxed()
    }

    fn put_if<'a>(&'a self, path: &'a str, bytes: Bytes, condition: Condition) -> Answer<'a, bool> {
        self.write_if(path, bytes, condition).boxed()
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, Option<(Bytes, Version)>> {
        self.read(path).boxed()
    }

    fn get_range<'a>(&'a self, path: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.read_range(path, range).boxed()
    }

    fn size<'a>(&'a self, path: &'a str) -> Answer<'a, Option<u64>> {
        async move {
            let meta = self.store.head(&self.path(path)).await;
            optional(meta.map(|meta| meta.size).map_err(|error| self.error("look at", path, &error)))
        }
        .boxed()
    }

    fn upload<'a>(&'a self, path: &'a str) -> Answer<'a, Box<dyn Upload>> {
        let store: Arc<dyn ObjectStore> = self.store.clone();
        let writer = BufWriter::with_capacity(store, self.path(path), PART).with_max_concurrency(PARTS_AT_ONCE);
        let upload = BucketUpload { bucket: self.clone(), path: path.to_owned(), writer };
        std::future::ready(Ok(Box::new(upload) as Box<dyn Upload>)).boxed()
    }

    fn list<'a>(&'a self, folder: &'a str) -> Answer<'a, Vec<Listed>> {
        async move {
            let listing = self.store.list(Some(&self.path(folder)));
            let found = listing.try_filter_map(|meta| std::future::ready(Ok(self.listed(&meta)))).try_collect().await;
            found.map_err(|error| self.error("list", folder, &error))
        }
        .boxed()
    }

    fn folders(&self) -> Answer<'_, Vec<String>> {
        async move {
            let listing = self.store.list_with_delimiter(Some(&self.prefix)).await.map_err(|error| self.error("list", "", &error))?;
            Ok(listing.common_prefixes.iter().filter_map(|path| self.relative(path)).collect())
        }
        .boxed()
    }

    fn delete<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        async move {
            let deleted = self.store.delete(&self.path(path)).await;
            optional(deleted.map_err(|error| self.error("delete", path, &error))).map(drop)
        }
        .boxed()
    }
}

/// One request for a small object, several for a large one.
struct BucketUpload {
    bucket: Bucket,
    path: String,
    writer: BufWriter,
}

impl BucketUpload {
    fn error(&self, error: &std::io::Error) -> StoreError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<object_store::Error>()) {
            Some(inner) => self.bucket.error("write", &self.path, inner),
            None => StoreError::Unavailable { action: format!("writing {}", self.path), reason: error.kind().to_string() },
        }
    }
}

impl Upload for BucketUpload {
    fn put(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        async move { self.writer.put(bytes).await.map_err(|error| self.bucket.error("write", &self.path, &error)) }.boxed()
    }

    fn finish(mut self: Box<Self>) -> Answer<'static, ()> {
        async move { self.writer.shutdown().await.map_err(|error| self.error(&error)) }.boxed()
    }

    fn abort(mut self: Box<Self>) -> Answer<'static, ()> {
        async move { self.writer.abort().await.map_err(|error| self.bucket.error("write", &self.path, &error)) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use object_store::aws::AmazonS3ConfigKey;

    use super::*;

    #[test]
    fn the_bucket_is_a_part_of_the_host_where_that_is_asked_for() {
        let endpoint = |endpoint: &str, virtual_hosted| {
            let endpoint = Some(endpoint.to_owned());
            let options = BucketOptions { endpoint, virtual_hosted, ..BucketOptions::default() };
            builder(&options, "dify").map(|builder| builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap())
        };
        let host = "https://oss-cn-hangzhou.aliyuncs.com";
        assert_eq!(endpoint(host, false).unwrap(), host);
        assert_eq!(endpoint(host, true).unwrap(), "https://dify.oss-cn-hangzhou.aliyuncs.com");
        assert_eq!(endpoint("http://dify.minio:9000/", true).unwrap(), "http://dify.minio:9000");
        assert!(endpoint("http://127.0.0.1:9000", true).is_err());
    }

    #[test]
    fn of_the_stores_answer_only_its_own_word_is_shown() {
        let text = "Client error: 403: <Error><Code>SignatureDoesNotMatch</Code><StringToSign>secret</StringToSign></Error>";
        assert_eq!(element(text, "Code"), Some("SignatureDoesNotMatch"));
        assert_eq!(short(text, None), "Client error: 403:");
        assert_eq!(element("<Code>two words</Code>", "Code"), None);
    }
}
