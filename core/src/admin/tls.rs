//! `tls_server_config` as rustls understands it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::web_config::WebConfigError;

/// Certificate, key, and what is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_auth: ClientAuth,
    pub(super) min_version: Version,
    pub(super) max_version: Version,
}

/// What is asked of clients. Go's other two words take certificates that nobody checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    None,
    VerifyIfGiven,
    RequireAndVerify,
}

/// The versions that rustls has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

impl Tls {
    /// The files it is made of.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        [Some(self.cert_file.clone()), Some(self.key_file.clone()), self.client_ca_file.clone()].into_iter().flatten()
    }

    /// Reads the files. `path` is the web configuration, for the error.
    pub(super) fn server_config(&self, path: &Path) -> Result<Arc<ServerConfig>, WebConfigError> {
        let wrong = |problem: String| WebConfigError::Invalid { path: path.to_owned(), problem };
        let chain = certificates(&self.cert_file).map_err(wrong)?;
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| wrong(format!("key_file {} holds no usable private key ({error})", self.key_file.display())))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions())
            .map_err(|error| wrong(format!("the TLS versions do not go together ({error})")))?;
        let builder = match self.client_verifier().map_err(wrong)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| wrong(format!("cert_file and key_file do not go together ({error})")))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(Version::Tls12, &rustls::version::TLS12), (Version::Tls13, &rustls::version::TLS13)];
        all.into_iter().filter(|(version, _)| (self.min_version..=self.max_version).contains(version)).map(|(_, known)| known).collect()
    }

    fn client_verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let Some(file) = self.client_ca_file.as_ref().filter(|_| self.client_auth != ClientAuth::None) else { return Ok(None) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| format!("client_ca_file {} holds a bad certificate ({error})", file.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if self.client_auth == ClientAuth::VerifyIfGiven { builder.allow_unauthenticated() } else { builder };
        builder.build().map(Some).map_err(|error| format!("client_ca_file {} cannot be used ({error})", file.display()))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(format!("{} holds no certificate", file.display())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("{} cannot be read as certificates ({error})", file.display())),
    }
}
