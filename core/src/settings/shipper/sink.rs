//! `[shipper.sinks.<name>]`: one place where documents go.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SettingsError;
use crate::secret::Secret;

/// One place where documents go. Every sink has a position of its own and sees only what its filter lets pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SinkSettings {
    /// `elasticsearch` (OpenSearch too; which one is asked of the server), `ndjson` (compressed files that `dify-shipper search` reads) or `stdout`.
    #[serde(deserialize_with = "crate::settings::word")]
    pub r#type: SinkType,
    /// elasticsearch: addresses of nodes, such as `https://es:9200`, with commas between. ndjson: `file:///folder` or `s3://bucket/prefix` [without:
    /// a folder below `state_dir`].
    pub url: Option<String>,
    /// Only these kinds of documents. Empty: all.
    #[serde(deserialize_with = "crate::settings::list_or_text")]
    pub kinds: Vec<String>,
    /// Only these apps, by id or name. Empty: all.
    #[serde(deserialize_with = "crate::settings::list_or_text")]
    pub apps: Vec<String>,
    /// Only apps with one of these tags. Empty: all.
    #[serde(deserialize_with = "crate::settings::list_or_text")]
    pub tags: Vec<String>,
    /// Only these tenants, by id. Empty: all.
    #[serde(deserialize_with = "crate::settings::list_or_text")]
    pub tenants: Vec<String>,
    /// Only records with one of these final statuses (`dify.status`). Empty: all.
    #[serde(deserialize_with = "crate::settings::list_or_text")]
    pub statuses: Vec<String>,
    /// elasticsearch: Elastic Cloud's id of a deployment, in place of `url`.
    pub cloud_id: Option<String>,
    /// elasticsearch: user name for basic authentication.
    pub username: Option<String>,
    /// elasticsearch: the password that belongs to `username`.
    pub password: Option<Secret>,
    /// A file that holds `password`.
    pub password_file: Option<PathBuf>,
    /// elasticsearch: an API key in its encoded form.
    pub api_key: Option<Secret>,
    /// A file that holds `api_key`.
    pub api_key_file: Option<PathBuf>,
    /// elasticsearch: a bearer token.
    pub bearer_token: Option<Secret>,
    /// A file that holds `bearer_token`.
    pub bearer_token_file: Option<PathBuf>,
    /// A file with the certificate authority that signed the server's certificate (PEM). Without: the system's.
    pub ca_file: Option<PathBuf>,
    /// A file with the client's certificate (PEM).
    pub client_certificate_file: Option<PathBuf>,
    /// A file with the key of the client's certificate (PEM).
    pub client_key_file: Option<PathBuf>,
    /// elasticsearch: how long one request may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// elasticsearch: most bytes of one bulk request, before compression.
    #[serde(with = "crate::settings::size")]
    pub bulk_bytes: u32,
    /// elasticsearch: most documents of one bulk request.
    pub bulk_documents: u32,
    /// elasticsearch: most bulk requests at a time. What the engine can take is found out below this.
    pub concurrency: u32,
    /// elasticsearch: whether requests are compressed (gzip).
    pub compression: bool,
    /// elasticsearch: primary shards of each index.
    pub shards: u32,
    /// elasticsearch: replicas, as `index.auto_expand_replicas` takes them, or `false`.
    pub replicas: String,
    /// elasticsearch: the analyzer of texts: one that is built in (`standard`, `cjk`) or comes with a plugin (`smartcn`, `ik_max_word`).
    pub analyzer: String,
    /// elasticsearch: age at which an index becomes warm, counted from the end of the time that it covers.
    #[serde(with = "humantime_serde")]
    pub warm_after: Duration,
    /// elasticsearch: age at which an index becomes cold.
    #[serde(with = "humantime_serde")]
    pub cold_after: Duration,
    /// Age at which documents are deleted, counted from the end of the time that their index or segment covers. Older records are not sent.
    #[serde(with = "humantime_serde")]
    pub delete_after: Duration,
    /// elasticsearch: whether `setup` installs a lifecycle policy (ILM, ISM) for the phases. Old indices are deleted by the shipper itself in either case.
    pub lifecycle: bool,
    /// Most bytes of documents that were rejected for good and wait for `replay`. When they are used up, the sink stops.
    #[serde(with = "crate::settings::size")]
    pub dead_letter_bytes: u64,
    /// ndjson: bytes of documents, before compression, after which a segment is closed.
    #[serde(with = "crate::settings::size")]
    pub segment_bytes: u32,
    /// ndjson: age at which a segment is closed.
    #[serde(with = "humantime_serde")]
    pub segment_age: Duration,
    /// ndjson on S3: the service's address, for all but Amazon's.
    pub endpoint: Option<String>,
    /// ndjson on S3: the region.
    pub region: Option<String>,
    /// ndjson on S3: the id of the key. Without: `AWS_*` variables, the role of the instance or the pod.
    pub access_key_id: Option<Secret>,
    /// A file that holds `access_key_id`.
    pub access_key_id_file: Option<PathBuf>,
    /// ndjson on S3: the key.
    pub secret_access_key: Option<Secret>,
    /// A file that holds `secret_access_key`.
    pub secret_access_key_file: Option<PathBuf>,
    /// ndjson on S3: whether the bucket stands in the host name.
    pub virtual_hosted: bool,
}

impl Default for SinkSettings {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        SinkSettings {
            r#type: SinkType::Ndjson,
            url: None,
            kinds: Vec::new(),
            apps: Vec::new(),
            tags: Vec::new(),
            tenants: Vec::new(),
            statuses: Vec::new(),
            cloud_id: None,
            username: None,
            password: None,
            password_file: None,
            api_key: None,
            api_key_file: None,
            bearer_token: None,
            bearer_token_file: None,
            ca_file: None,
            client_certificate_file: None,
            client_key_file: None,
            timeout: Duration::from_secs(60),
            bulk_bytes: 5 * 1024 * 1024,
            bulk_documents: 1000,
            concurrency: 4,
            compression: true,
            shards: 1,
            replicas: "0-1".to_owned(),
            analyzer: "standard".to_owned(),
            warm_after: days(7),
            cold_after: days(30),
            delete_after: days(90),
            lifecycle: true,
            dead_letter_bytes: 256 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            segment_age: Duration::from_secs(3600),
            endpoint: None,
            region: None,
            access_key_id: None,
            access_key_id_file: None,
            secret_access_key: None,
            secret_access_key_file: None,
            virtual_hosted: false,
        }
    }
}

/// What stands at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkType {
    /// Elasticsearch 8 and 9, OpenSearch 2 and 3.
    Elasticsearch,
    /// Compressed files.
    Ndjson,
    /// Lines on standard output.
    Stdout,
}

impl SinkSettings {
    pub(super) fn read_secret_files(&mut self) -> Result<(), SettingsError> {
        super::super::secret_from_file("shipper.sinks.password", &mut self.password, self.password_file.as_deref())?;
        super::super::secret_from_file("shipper.sinks.api_key", &mut self.api_key, self.api_key_file.as_deref())?;
        super::super::secret_from_file("shipper.sinks.bearer_token", &mut self.bearer_token, self.bearer_token_file.as_deref())?;
        super::super::secret_from_file("shipper.sinks.access_key_id", &mut self.access_key_id, self.access_key_id_file.as_deref())?;
        super::super::secret_from_file(
            "shipper.sinks.secret_access_key",
            &mut self.secret_access_key,
            self.secret_access_key_file.as_deref(),
        )
    }
}
