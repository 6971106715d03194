//! PEM in, a key pair that TLS can use and the facts about it out; or the sentence that says what
//! is wrong with the files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::{OffsetDateTime, macros::format_description};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::CertError;
use super::folder::{Files, read};

/// A leaf with its key and, where it is ours, the CA that issued it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) facts: Facts,
    pub(super) authority: Option<Authority>,
}

/// Our own CA as clients need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The CA's file.
    pub path: PathBuf,
    /// Its content, for `GET /ca.pem`.
    pub pem: String,
    /// The certificate's SHA-256, `AB:CD:…`.
    pub fingerprint: String,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// DNS names lower-case, addresses as they are written.
    pub(super) names: Vec<String>,
    /// Seconds since 1970.
    pub(super) not_before_s: i64,
    /// Seconds since 1970.
    pub(super) not_after_s: i64,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key_id: Option<Vec<u8>>,
    issuer_key_id: Option<Vec<u8>>,
}

impl Facts {
    /// Whether `authority` issued this one, as far as both say.
    pub(super) fn is_issued_by(&self, authority: &Self) -> bool {
        self.issuer == authority.subject
            && self.issuer_key_id.is_some()
            && self.issuer_key_id == authority.key_id
    }
}

/// Reads a chain and its key, each file once, and `authority`, where our CA may be. Expiry is the
/// caller's to judge. Errors: whatever else keeps them from being served.
pub(super) fn load(files: &Files, authority: Option<&Path>) -> Result<Loaded, CertError> {
    let chain = chain(&files.cert)?;
    let facts = first_facts(&chain, &files.cert)?;
    let key = private_key(&files.key)?;
    let key = any_supported_type(&key)
        .map_err(|_unhelpful: rustls::Error| CertError::KeyKind(files.key.clone()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let (cert, key) = (files.cert.clone(), files.key.clone());
            return Err(CertError::Mismatch { cert, key });
        }
        Err(_unhelpful) => return Err(CertError::Unreadable(files.cert.clone())),
    }
    let authority = authority.map(|path| load_authority(path, &facts)).transpose()?.flatten();
    Ok(Loaded { certified: Arc::new(certified), facts, authority })
}

impl Loaded {
    /// Errors: it expired before `now_s`.
    pub(super) fn check_expiry(&self, files: &Files, now_s: i64) -> Result<(), CertError> {
        if self.facts.not_after_s <= now_s {
            return Err(CertError::Expired(files.cert.clone(), day(self.facts.not_after_s)));
        }
        Ok(())
    }
}

/// The CA at `path`, if it issued a leaf with these facts. No file is no CA.
fn load_authority(path: &Path, leaf: &Facts) -> Result<Option<Authority>, CertError> {
    let content = match read(path) {
        Err(CertError::Missing(_)) => return Ok(None),
        other => other?,
    };
    let chain = parse_chain(&content, path)?;
    if !leaf.is_issued_by(&first_facts(&chain, path)?) {
        return Ok(None);
    }
    let fingerprint = chain.first().map(|der| fingerprint(der)).unwrap_or_default();
    let pem = String::from_utf8_lossy(&content).into_owned();
    Ok(Some(Authority { path: path.to_owned(), pem, fingerprint }))
}

/// Every certificate of a PEM file, in its order; at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    parse_chain(&read(path)?, path)
}

/// What the first certificate of a chain says of itself; `path` is where it was read.
pub(super) fn first_facts(chain: &[CertificateDer<'_>], path: &Path) -> Result<Facts, CertError> {
    let unreadable = || CertError::Unreadable(path.to_owned());
    let first = chain.first().ok_or_else(unreadable)?;
    let (_, parsed) = X509Certificate::from_der(first).map_err(|_unhelpful| unreadable())?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let mut facts = Facts {
        names: names.iter().filter_map(name).collect(),
        not_before_s: parsed.validity().not_before.timestamp(),
        not_after_s: parsed.validity().not_after.timestamp(),
        subject: parsed.subject().as_raw().to_vec(),
        issuer: parsed.issuer().as_raw().to_vec(),
        key_id: None,
        issuer_key_id: None,
    };
    for extension in parsed.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => facts.key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                facts.issuer_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// The SHA-256 of a certificate as browsers and openssl show it: `AB:CD:…`.
fn fingerprint(der: &[u8]) -> String {
    let hash = digest(&SHA256, der);
    let pairs: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// The day of a moment, `2028-02-21` (UTC).
#[must_use]
pub fn day(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(format_description!("[year]-[month]-[day]")).ok())
        .unwrap_or_else(|| "an unknown day".to_owned())
}

fn parse_chain(content: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let chain = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(CertError::NoCertificate(path.to_owned(), kind(content))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertError> {
    let content = read(path)?;
    PrivateKeyDer::from_pem_slice(&content)
        .map_err(|_unhelpful| CertError::NoKey(path.to_owned(), kind(&content)))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
            let v6 = <[u8; 16]>::try_from(*bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// What a file seems to hold, for people who gave the wrong one.
fn kind(content: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(content);
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if content.is_empty() {
        "nothing"
    } else if has("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        "an encrypted key"
    } else if text.contains("PRIVATE KEY-----") {
        "a private key"
    } else if has("CERTIFICATE REQUEST") {
        "a certificate request"
    } else if has("CERTIFICATE") {
        "a certificate"
    } else if content.starts_with(&[0x30]) {
        "DER"
    } else {
        "something else"
    }
}
