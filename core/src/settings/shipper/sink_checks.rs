//! Which sinks cannot work, and why.

use std::path::Path;

use uuid::Uuid;

use super::{DOCUMENT_KINDS, SinkSettings, SinkType};

/// A key and what is wrong with it.
type Problem = (&'static str, String);

impl SinkSettings {
    /// The first key that cannot work, and why. `queue_bytes` is what all sinks together may hold in memory.
    pub(super) fn validate(&self, queue_bytes: u32) -> Result<(), Problem> {
        self.validate_type()?;
        self.validate_filter()?;
        match self.r#type {
            SinkType::Elasticsearch => {
                self.validate_engine()?;
                self.validate_credentials()?;
                self.validate_bulk(queue_bytes)?;
            }
            SinkType::Ndjson => self.validate_files()?,
            SinkType::Stdout => {}
        }
        self.validate_ages()
    }

    /// Where it writes, for sinks that cannot share a place.
    pub(super) fn place(&self) -> Option<String> {
        match self.r#type {
            SinkType::Elasticsearch => None,
            SinkType::Ndjson => self.url.as_ref().map(|url| {
                let endpoint = self.endpoint.as_deref().unwrap_or_default();
                format!("{endpoint} {}", url.trim_end_matches('/'))
            }),
            SinkType::Stdout => Some("standard output".to_owned()),
        }
    }

    /// Keys of another type are a mistake: whoever wrote them expects them to do something.
    fn validate_type(&self) -> Result<(), Problem> {
        let of_engines = [
            ("cloud_id", self.cloud_id.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("api_key", self.api_key.is_some()),
            ("bearer_token", self.bearer_token.is_some()),
            ("client_certificate_file", self.client_certificate_file.is_some()),
            ("client_key_file", self.client_key_file.is_some()),
            ("timeout", self.differs(|sink| sink.timeout)),
            ("bulk_bytes", self.differs(|sink| sink.bulk_bytes)),
            ("bulk_documents", self.differs(|sink| sink.bulk_documents)),
            ("concurrency", self.differs(|sink| sink.concurrency)),
            ("compression", self.differs(|sink| sink.compression)),
            ("shards", self.differs(|sink| sink.shards)),
            ("replicas", self.differs(|sink| sink.replicas.clone())),
            ("analyzer", self.differs(|sink| sink.analyzer.clone())),
            ("warm_after", self.differs(|sink| sink.warm_after)),
            ("cold_after", self.differs(|sink| sink.cold_after)),
            ("lifecycle", self.differs(|sink| sink.lifecycle)),
            ("dead_letter_bytes", self.differs(|sink| sink.dead_letter_bytes)),
        ];
        let of_files = [
            ("segment_bytes", self.differs(|sink| sink.segment_bytes)),
            ("segment_age", self.differs(|sink| sink.segment_age)),
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("access_key_id", self.access_key_id.is_some()),
            ("secret_access_key", self.secret_access_key.is_some()),
            ("virtual_hosted", self.differs(|sink| sink.virtual_hosted)),
        ];
        let of_servers =
            [("url", self.url.is_some()), ("ca_file", self.ca_file.is_some()), ("delete_after", self.differs(|s| s.delete_after))];
        let (own, foreign): (&str, Vec<_>) = match self.r#type {
            SinkType::Elasticsearch => ("elasticsearch", of_files.into()),
            SinkType::Ndjson => ("ndjson", of_engines.into()),
            SinkType::Stdout => ("stdout", of_engines.into_iter().chain(of_files).chain(of_servers).collect()),
        };
        match foreign.into_iter().find(|(_, set)| *set) {
            Some((key, _)) => Err((key, format!("means nothing to a sink of type {own}: remove it, or set another type"))),
            None => Ok(()),
        }
    }

    fn differs<T: PartialEq>(&self, value: impl Fn(&SinkSettings) -> T) -> bool {
        value(self) != value(&SinkSettings::default())
    }

    fn validate_filter(&self) -> Result<(), Problem> {
        if let Some(kind) = self.kinds.iter().find(|kind| !DOCUMENT_KINDS.contains(&kind.as_str())) {
            return Err(("kinds", format!("holds {kind:?}, which is no kind of documents: there are {}", DOCUMENT_KINDS.join(", "))));
        }
        if let Some(tenant) = self.tenants.iter().find(|tenant| Uuid::parse_str(tenant).is_err()) {
            return Err(("tenants", format!("holds {tenant:?}: write the tenant's id, a UUID (SELECT id, name FROM tenants)")));
        }
        let lists = [("apps", &self.apps), ("tags", &self.tags), ("statuses", &self.statuses)];
        match lists.into_iter().find(|(_, list)| list.iter().any(|entry| entry.trim().is_empty())) {
            Some((key, _)) => Err((key, "holds an empty entry, which nothing can equal: remove it".to_owned())),
            None => Ok(()),
        }
    }

    fn validate_engine(&self) -> Result<(), Problem> {
        let url = self.url.as_deref().unwrap_or_default();
        if self.cloud_id.is_some() && !url.is_empty() {
            return Err(("cloud_id", "and url name two places: keep one of the two".to_owned()));
        }
        if self.cloud_id.is_none() {
            if url.is_empty() {
                return Err(("url", "is not set: write the address of a node, such as \"https://elasticsearch:9200\"".to_owned()));
            }
            url.split(',').try_for_each(|url| validate_address(url.trim()).map_err(|problem| ("url", problem)))?;
        }
        if self.shards == 0 {
            return Err(("shards", "is 0: an index has at least one".to_owned()));
        }
        if !replicas_are_known(&self.replicas) {
            let problem =
                format!("is {:?}: write such as \"0-1\" or \"0-all\", or \"false\" for what the engine does by itself", self.replicas);
            return Err(("replicas", problem));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if self.analyzer.is_empty() || !self.analyzer.chars().all(is_name) {
            return Err(("analyzer", format!("is {:?}, no name of an analyzer: write such as \"standard\" or \"cjk\"", self.analyzer)));
        }
        Ok(())
    }

    fn validate_credentials(&self) -> Result<(), Problem> {
        if self.username.is_some() != self.password.is_some() {
            return Err(("username", "and password belong together: set both or neither".to_owned()));
        }
        let given =
            [("username", self.username.is_some()), ("api_key", self.api_key.is_some()), ("bearer_token", self.bearer_token.is_some())];
        let given: Vec<_> = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect();
        if let [first, second, ..] = given[..] {
            return Err((second, format!("and {first} are two ways to log in: keep one of the two")));
        }
        if self.client_certificate_file.is_some() != self.client_key_file.is_some() {
            return Err(("client_certificate_file", "and client_key_file belong together: set both or neither".to_owned()));
        }
        validate_readable("ca_file", self.ca_file.as_deref())?;
        validate_readable("client_certificate_file", self.client_certificate_file.as_deref())?;
        validate_readable("client_key_file", self.client_key_file.as_deref())
    }

    fn validate_bulk(&self, queue_bytes: u32) -> Result<(), Problem> {
        if self.timeout.as_millis() == 0 {
            return Err(("timeout", "is 0, so that every request would fail: write a duration such as \"60s\"".to_owned()));
        }
        if self.bulk_documents == 0 {
            return Err(("bulk_documents", "is 0, so that nothing would ever be sent: write 1 or more".to_owned()));
        }
        if self.bulk_bytes == 0 || self.bulk_bytes > queue_bytes {
            let problem = "is 0 or above shipper.queue_bytes, which a request cannot reach: write a size between, such as \"5MiB\"";
            return Err(("bulk_bytes", problem.to_owned()));
        }
        if !(1..=64).contains(&self.concurrency) {
            return Err(("concurrency", format!("is {}: write 1 to 64 requests at a time", self.concurrency)));
        }
        Ok(())
    }

    fn validate_files(&self) -> Result<(), Problem> {
        let hint = "write \"file:///folder\" or \"s3://bucket/prefix\"";
        let problem = match self.url.as_deref() {
            None => None,
            Some(url) => match (url.strip_prefix("file://"), url.strip_prefix("s3://")) {
                (Some(folder), _) => (!Path::new(folder).is_absolute()).then(|| format!("names no absolute folder: {hint}")),
                (_, Some(rest)) => {
                    let bucket = rest.split('/').next().unwrap_or_default();
                    // Nothing of the address is quoted: a credential may stand in it.
                    (bucket.is_empty() || bucket.contains(['@', ':']))
                        .then(|| format!("names no bucket alone: {hint}; credentials have own keys"))
                }
                _ => Some(format!("is no address that is known: {hint}")),
            },
        };
        if let Some(problem) = problem {
            return Err(("url", problem));
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(("access_key_id", "and secret_access_key belong together: set both or neither".to_owned()));
        }
        if let Some(endpoint) = &self.endpoint {
            validate_address(endpoint).map_err(|problem| ("endpoint", problem))?;
        }
        if self.segment_bytes == 0 || self.segment_age.is_zero() {
            let key = if self.segment_bytes == 0 { "segment_bytes" } else { "segment_age" };
            return Err((key, "is 0, so that every document would be a file of its own: write more".to_owned()));
        }
        validate_readable("ca_file", self.ca_file.as_deref())
    }

    fn validate_ages(&self) -> Result<(), Problem> {
        if self.delete_after.is_zero() {
            return Err(("delete_after", "is 0, so that nothing would ever be kept: write an age such as \"90d\"".to_owned()));
        }
        let engine = self.r#type == SinkType::Elasticsearch && self.lifecycle;
        if engine && (self.warm_after > self.cold_after || self.cold_after > self.delete_after) {
            let problem = "is out of order: warm_after, cold_after and delete_after must each be no less than the one before";
            let key = if self.warm_after > self.cold_after { "warm_after" } else { "cold_after" };
            return Err((key, problem.to_owned()));
        }
        Ok(())
    }
}

/// An address of a server, without credentials: addresses are logged.
fn validate_address(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err(
            "holds an address that begins with neither http:// nor https://: write such as \"https://elasticsearch:9200\"".to_owned()
        );
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user name or password in an address: addresses are logged, use the keys for credentials".to_owned());
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if host.is_empty() || url.chars().any(char::is_whitespace) {
        return Err("holds an address that names no host: write such as \"https://elasticsearch:9200\"".to_owned());
    }
    Ok(())
}

/// `index.auto_expand_replicas`: from and to, or off.
fn replicas_are_known(replicas: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok();
    replicas == "false"
        || replicas
            .split_once('-')
            .is_some_and(|(from, to)| number(from).is_some_and(|from| to == "all" || number(to).is_some_and(|to| from <= to)))
}

fn validate_readable(key: &'static str, path: Option<&Path>) -> Result<(), Problem> {
    match path.map(|path| (path, std::fs::File::open(path))) {
        Some((path, Err(error))) => Err((key, format!("names the file {}, which cannot be read ({error})", path.display()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;

    const QUEUE: u32 = 32 << 20;

    fn of(r#type: SinkType, url: Option<&str>) -> SinkSettings {
        SinkSettings { r#type, url: url.map(str::to_owned), ..SinkSettings::default() }
    }

    fn engine() -> SinkSettings {
        of(SinkType::Elasticsearch, Some("https://a:9200,https://b:9200"))
    }

    fn files() -> SinkSettings {
        of(SinkType::Ndjson, None)
    }

    fn refused(mut sink: SinkSettings, change: impl FnOnce(&mut SinkSettings)) -> &'static str {
        assert_eq!(sink.validate(QUEUE), Ok(()), "it must work before the change");
        change(&mut sink);
        let (key, problem) = sink.validate(QUEUE).expect_err("refused");
        assert!(!problem.contains("hunter2"), "{problem}");
        key
    }

    #[test]
    fn an_engine_needs_an_address_and_one_way_to_log_in() {
        assert_eq!(refused(engine(), |s| s.url = None), "url");
        assert_eq!(refused(engine(), |s| s.url = Some("elasticsearch:9200".to_owned())), "url");
        assert_eq!(refused(engine(), |s| s.url = Some("https://u:hunter2@a:9200".to_owned())), "url");
        assert_eq!(refused(engine(), |s| s.url = Some("https://a:9200,".to_owned())), "url");
        assert_eq!(refused(engine(), |s| s.cloud_id = Some("x:y".to_owned())), "cloud_id");
        assert_eq!(refused(engine(), |s| s.username = Some("u".to_owned())), "username");
        assert_eq!(refused(engine(), |s| s.password = Some(Secret::new("hunter2"))), "username");
        let key = Some(Secret::new("hunter2"));
        assert_eq!(refused(engine(), |s| (s.api_key, s.bearer_token) = (key.clone(), key.clone())), "bearer_token");
        assert_eq!(refused(engine(), |s| s.client_key_file = Some("/x".into())), "client_certificate_file");
        assert_eq!(refused(engine(), |s| s.ca_file = Some("/nowhere/ca.pem".into())), "ca_file");
        let cloud = SinkSettings { url: None, cloud_id: Some("x:y".to_owned()), ..engine() };
        assert_eq!(cloud.validate(QUEUE), Ok(()));
    }

    #[test]
    fn amounts_of_an_engine_can_work() {
        assert_eq!(refused(engine(), |s| s.bulk_documents = 0), "bulk_documents");
        assert_eq!(refused(engine(), |s| s.bulk_bytes = QUEUE + 1), "bulk_bytes");
        assert_eq!(refused(engine(), |s| s.concurrency = 0), "concurrency");
        assert_eq!(refused(engine(), |s| s.timeout = Duration::ZERO), "timeout");
        assert_eq!(refused(engine(), |s| s.shards = 0), "shards");
        for replicas in ["", "1", "2-1", "all", "0-many"] {
            assert_eq!(refused(engine(), |s| s.replicas = replicas.to_owned()), "replicas", "{replicas}");
        }
        for replicas in ["0-1", "0-all", "false", "1-1"] {
            assert_eq!(SinkSettings { replicas: replicas.to_owned(), ..engine() }.validate(QUEUE), Ok(()), "{replicas}");
        }
        assert_eq!(refused(engine(), |s| s.analyzer = "a b".to_owned()), "analyzer");
        assert_eq!(refused(engine(), |s| s.warm_after = Duration::from_secs(90 * 86_400)), "warm_after");
        assert_eq!(refused(engine(), |s| s.cold_after = Duration::from_secs(91 * 86_400)), "cold_after");
        assert_eq!(refused(engine(), |s| s.delete_after = Duration::ZERO), "delete_after");
    }

    #[test]
    fn files_go_to_a_folder_or_a_bucket() {
        for url in ["", "/a/b", "file://a/b", "s3://", "s3://key:hunter2@bucket", "gs://bucket", "hunter2"] {
            assert_eq!(refused(files(), |s| s.url = Some(url.to_owned())), "url", "{url}");
        }
        for url in ["file:///a/b", "s3://bucket", "s3://bucket/a/b"] {
            assert_eq!(of(SinkType::Ndjson, Some(url)).validate(QUEUE), Ok(()), "{url}");
        }
        assert_eq!(refused(files(), |s| s.access_key_id = Some(Secret::new("hunter2"))), "access_key_id");
        assert_eq!(refused(files(), |s| s.endpoint = Some("minio:9000".to_owned())), "endpoint");
        assert_eq!(refused(files(), |s| s.segment_bytes = 0), "segment_bytes");
        assert_eq!(refused(files(), |s| s.segment_age = Duration::ZERO), "segment_age");
    }

    #[test]
    fn keys_of_another_type_are_a_mistake() {
        assert_eq!(refused(files(), |s| s.shards = 3), "shards");
        assert_eq!(refused(files(), |s| s.api_key = Some(Secret::new("hunter2"))), "api_key");
        assert_eq!(refused(engine(), |s| s.region = Some("x".to_owned())), "region");
        assert_eq!(refused(of(SinkType::Stdout, None), |s| s.url = Some("file:///x".to_owned())), "url");
        assert_eq!(refused(of(SinkType::Stdout, None), |s| s.segment_bytes = 1), "segment_bytes");
    }

    #[test]
    fn filters_can_match_something() {
        assert_eq!(refused(files(), |s| s.kinds = vec!["dance".to_owned()]), "kinds");
        assert_eq!(refused(files(), |s| s.tenants = vec!["acme".to_owned()]), "tenants");
        assert_eq!(refused(files(), |s| s.apps = vec![" ".to_owned()]), "apps");
    }
}
