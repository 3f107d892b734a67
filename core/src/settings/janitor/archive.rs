//! `[janitor.archive]`: where rows are kept before they are deleted.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::settings::{SettingsError, secret_from_file};

/// Where rows are kept before they are deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveSettings {
    /// `file:///folder`, `s3://bucket/prefix`, or `none`: rows are deleted without being kept, and only the lists of what was deleted
    /// stand in `state_dir`.
    pub url: String,
    /// The address of an S3-compatible store that is not Amazon's, such as `https://minio:9000`.
    pub endpoint: Option<String>,
    /// The region of the bucket. Stores that know no regions take any.
    pub region: Option<String>,
    /// The access key. When not set: `AWS_ACCESS_KEY_ID` and the other ways of Amazon's tools (instance and pod roles).
    pub access_key_id: Option<Secret>,
    /// A file that holds `janitor.archive.access_key_id`.
    pub access_key_id_file: Option<PathBuf>,
    /// The secret that belongs to `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// A file that holds `janitor.archive.secret_access_key`.
    pub secret_access_key_file: Option<PathBuf>,
    /// Whether the bucket is a part of the host name (`https://bucket.host/`), which Alibaba Cloud OSS and others want, instead of the path.
    pub virtual_hosted: bool,
    /// Whether `endpoint` may be `http://`, without encryption.
    pub allow_http: bool,
    /// The level of zstd, 1 to 22. Above 3 it costs much time for few bytes.
    pub compression_level: i32,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        ArchiveSettings {
            url: "file:///var/lib/dify-observe/archive".to_owned(),
            endpoint: None,
            region: None,
            access_key_id: None,
            access_key_id_file: None,
            secret_access_key: None,
            secret_access_key_file: None,
            virtual_hosted: false,
            allow_http: false,
            compression_level: 3,
        }
    }
}

impl ArchiveSettings {
    pub(super) fn read_secret_files(&mut self) -> Result<(), SettingsError> {
        secret_from_file("janitor.archive.access_key_id", &mut self.access_key_id, self.access_key_id_file.as_deref())?;
        secret_from_file("janitor.archive.secret_access_key", &mut self.secret_access_key, self.secret_access_key_file.as_deref())
    }

    pub(super) fn validate(&self) -> Result<(), (&'static str, String)> {
        self.validate_url()?;
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            let problem = "and janitor.archive.secret_access_key belong together: set both or neither".to_owned();
            return Err(("access_key_id", problem));
        }
        if let Some(endpoint) = &self.endpoint {
            super::validate_url(endpoint).map_err(|problem| ("endpoint", problem))?;
            if endpoint.starts_with("http://") && !self.allow_http {
                let problem = "begins with http://, without encryption: write https://, or set janitor.archive.allow_http".to_owned();
                return Err(("endpoint", problem));
            }
        }
        if !(1..=22).contains(&self.compression_level) {
            return Err(("compression_level", format!("is {}: zstd knows 1 to 22", self.compression_level)));
        }
        Ok(())
    }

    fn validate_url(&self) -> Result<(), (&'static str, String)> {
        let hint = "write \"file:///folder\", \"s3://bucket/prefix\" or \"none\"";
        let problem = if let Some(folder) = self.url.strip_prefix("file://") {
            (!Path::new(folder).is_absolute()).then(|| format!("names no absolute folder: {hint}"))
        } else if let Some(rest) = self.url.strip_prefix("s3://") {
            let bucket = rest.split('/').next().unwrap_or_default();
            // Nothing of the address is quoted: a credential may stand in it.
            (bucket.is_empty() || bucket.contains(['@', ':'])).then(|| format!("names no bucket alone: {hint}; credentials have own keys"))
        } else {
            (self.url != "none").then(|| format!("is no address that is known: {hint}"))
        };
        problem.map_or(Ok(()), |problem| Err(("url", problem)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: &ArchiveSettings) -> (&'static str, String) {
        settings.validate().unwrap_err()
    }

    #[test]
    fn addresses_are_folders_buckets_or_none() {
        for url in ["file:///a/b", "s3://bucket", "s3://bucket/a/b", "none"] {
            assert_eq!(ArchiveSettings { url: url.to_owned(), ..Default::default() }.validate(), Ok(()), "{url}");
        }
        for url in ["", "/a/b", "file://a/b", "s3://", "s3://key:hunter2@bucket", "gs://bucket", "hunter2"] {
            let (key, problem) = refused(&ArchiveSettings { url: url.to_owned(), ..Default::default() });
            assert_eq!(key, "url", "{url}");
            assert!(problem.contains("s3://bucket/prefix") && !problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn half_a_credential_and_silent_http_are_refused() {
        let key = Some(Secret::new("hunter2"));
        assert_eq!(refused(&ArchiveSettings { access_key_id: key, ..Default::default() }).0, "access_key_id");
        let http = ArchiveSettings { endpoint: Some("http://minio:9000".to_owned()), ..Default::default() };
        assert_eq!(refused(&http).0, "endpoint");
        assert_eq!(ArchiveSettings { allow_http: true, ..http }.validate(), Ok(()));
        assert_eq!(refused(&ArchiveSettings { compression_level: 0, ..Default::default() }).0, "compression_level");
    }
}
