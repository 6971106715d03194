//! One certificate for all servers of a run, and the client's side that trusts it alone.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::Outcome;

/// The files that servers are given, and the settings of a client that knows them.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

impl Identity {
    /// Makes a self-signed certificate for `localhost` in `folder`.
    pub(crate) fn make(folder: &Path) -> Outcome<Self> {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        // Servers rightly complain of a key that everybody may read.
        std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        Ok(Self {
            certificate,
            key,
            client: Arc::new(trusting(made.cert.der().clone())?),
            name: ServerName::try_from(HOST)?,
        })
    }
}

fn trusting(certificate: CertificateDer<'static>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Every handshake is a full one, so that each session costs the server the same.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

const HOST: &str = "localhost";
