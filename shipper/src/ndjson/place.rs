//! Where the files of a sink are, by its settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dify_observe_core::settings::SinkSettings;
use dify_observe_core::store::{Bucket, BucketOptions, Folder, Store, StoreError};
use uuid::Uuid;

/// Where files are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder on this host: of everything, or of what is not in the bucket yet.
    pub(crate) root: PathBuf,
    /// The same, for reading.
    pub(crate) local: Arc<dyn Store>,
    /// The bucket of closed segments.
    pub(crate) bucket: Option<Arc<dyn Store>>,
}

impl Place {
    /// The place of a sink; a sentence if the settings name none. `state` is the shipper's own folder.
    pub(crate) fn of(name: &str, settings: &SinkSettings, state: &Path) -> Result<Place, String> {
        let key = format!("shipper.sinks.{name}.url");
        let own = || state.join("ndjson").join(name);
        match settings.url.as_deref() {
            None => Ok(Place::new(own(), None)),
            Some(url) => {
                if let Some(folder) = url.strip_prefix("file://").filter(|folder| folder.starts_with('/')) {
                    return Ok(Place::new(PathBuf::from(folder), None));
                }
                // Nothing of the address is quoted: a credential may stand in it.
                let address = url.strip_prefix("s3://").ok_or_else(|| format!("{key} is no address that is known: {HINT}"))?;
                let bucket = Bucket::open(&bucket_options(settings), address).map_err(|error| match error {
                    StoreError::Address => format!("{key} names no bucket: {HINT}"),
                    error => format!("shipper.sinks.{name}: {error}"),
                })?;
                Ok(Place::new(own(), Some(Arc::new(bucket))))
            }
        }
    }

    fn new(root: PathBuf, bucket: Option<Arc<dyn Store>>) -> Place {
        let local = Arc::new(Folder::new(root.clone()));
        Place { root, local, bucket }
    }

    /// Writes and removes a small object, to prove that the bucket is there and may be used. One that does not answer now is waited for later.
    pub(crate) async fn reach(&self) -> Result<(), StoreError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let path = format!("probe-{}", Uuid::new_v4());
        let probe = async {
            bucket.put(&path, Bytes::from_static(b"dify-shipper was here\n")).await?;
            bucket.delete(&path).await
        };
        match probe.await {
            Err(error) if !error.is_transient() => Err(error),
            _ => Ok(()),
        }
    }
}

const HINT: &str = "write \"file:///folder\" or \"s3://bucket/prefix\"";

fn bucket_options(settings: &SinkSettings) -> BucketOptions {
    BucketOptions {
        endpoint: settings.endpoint.clone(),
        region: settings.region.clone(),
        access_key_id: settings.access_key_id.clone(),
        secret_access_key: settings.secret_access_key.clone(),
        virtual_hosted: settings.virtual_hosted,
        // Whoever writes http:// means it.
        allow_http: settings.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")),
    }
}
