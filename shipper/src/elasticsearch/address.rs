//! Where the nodes are, and how to introduce oneself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dify_observe_core::settings::SinkSettings;
use elasticsearch::http::transport::CloudId;
use url::Url;

/// The nodes of a sink, without credentials, and the header that says who we are.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) nodes: Vec<Url>,
    pub(crate) authorization: Option<String>,
}

impl Address {
    /// What the settings say. The error reads on after "the sink".
    pub(crate) fn of(settings: &SinkSettings) -> Result<Self, String> {
        let mut nodes = match (&settings.cloud_id, &settings.url) {
            (Some(id), _) => vec![CloudId::parse(id).map_err(|error| format!("has a cloud_id that cannot be read: {error}"))?.url],
            (None, Some(urls)) => urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(node).collect::<Result<_, _>>()?,
            (None, None) => Vec::new(),
        };
        if nodes.is_empty() {
            return Err("needs a url, such as https://es:9200".to_owned());
        }
        let in_url = nodes.iter().find_map(credentials);
        for node in &mut nodes {
            // Cannot fail for http and https.
            let (_user, _password) = (node.set_username(""), node.set_password(None));
        }
        Ok(Address { nodes, authorization: from_settings(settings).or(in_url) })
    }
}

fn node(text: &str) -> Result<Url, String> {
    let mut url: Url = text.parse().map_err(|error| format!("has a url that cannot be read ({error}): write https://host:9200"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("has a url that is neither http:// nor https://: write https://host:9200".to_owned());
    }
    // Paths of requests are put behind it.
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// User and password of a URL, in which they are percent-encoded.
fn credentials(url: &Url) -> Option<String> {
    let decoded = |text: &str| {
        let pair = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    (!url.username().is_empty()).then(|| basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default())))
}

fn from_settings(settings: &SinkSettings) -> Option<String> {
    let key = settings.api_key.as_ref().map(|key| {
        let key = key.expose();
        // As the engine shows it at its creation, or its two parts.
        if key.contains(':') { format!("ApiKey {}", BASE64_STANDARD.encode(key)) } else { format!("ApiKey {key}") }
    });
    let bearer = || settings.bearer_token.as_ref().map(|token| format!("Bearer {}", token.expose()));
    let password = || settings.password.as_ref().map_or("", |password| password.expose());
    key.or_else(bearer).or_else(|| settings.username.as_ref().map(|user| basic(user, password())))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use dify_observe_core::secret::Secret;

    use super::*;

    fn settings(change: impl FnOnce(&mut SinkSettings)) -> SinkSettings {
        let mut settings = SinkSettings::default();
        change(&mut settings);
        settings
    }

    #[test]
    fn several_nodes_and_paths_are_kept_and_credentials_leave_the_url() {
        let urls = "https://elastic:p%40ss%2Bword@a:9200, http://b:9200/search ,";
        let address = Address::of(&settings(|s| s.url = Some(urls.to_owned()))).unwrap();
        let nodes: Vec<&str> = address.nodes.iter().map(Url::as_str).collect();
        assert_eq!(nodes, ["https://a:9200/", "http://b:9200/search/"]);
        assert_eq!(address.authorization, Some(basic("elastic", "p@ss+word")));
    }

    #[test]
    fn keys_come_before_names() {
        let authorization = |change: fn(&mut SinkSettings)| {
            let mut settings = settings(change);
            settings.url = Some("http://es".to_owned());
            settings.username = Some("u".to_owned());
            Address::of(&settings).unwrap().authorization.unwrap()
        };
        assert_eq!(authorization(|s| s.api_key = Some(Secret::new("ZW5jb2RlZA=="))), "ApiKey ZW5jb2RlZA==");
        assert_eq!(authorization(|s| s.api_key = Some(Secret::new("id:key"))), "ApiKey aWQ6a2V5");
        assert_eq!(authorization(|s| s.bearer_token = Some(Secret::new("t"))), "Bearer t");
        assert_eq!(authorization(|s| s.password = Some(Secret::new("p"))), "Basic dTpw");
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_without_quoting_it() {
        for url in ["", " , ", "es:9200", "ftp://es", "https://user:secret@"] {
            let Err(problem) = Address::of(&settings(|s| s.url = Some(url.to_owned()))) else { panic!("{url} is taken") };
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn a_cloud_id_names_the_node() {
        let id = format!("mine:{}", BASE64_STANDARD.encode("europe.example.com$abc$def"));
        let address = Address::of(&settings(|s| s.cloud_id = Some(id.clone()))).unwrap();
        assert_eq!(address.nodes[0].as_str(), "https://abc.europe.example.com/");
    }
}
