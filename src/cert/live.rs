//! The certificate that is served now. Changed files are taken up during a handshake; a broken
//! new pair leaves the old one serving.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};

use super::error::CertError;
use super::folder::{Files, Folder, read, warn_if_open};
use super::load::{chain, day, fingerprint, load};
use super::names::Names;
use super::prepare::{is_ours, prepare};
use crate::files::Stamp;
use crate::worker::lock;

/// The certificate of this server, always the newest that works. Give it to rustls as the
/// resolver.
pub struct Certificates {
    files: Files,
    /// Where our own CA may be; nothing for files of the owner's.
    folder: Option<Folder>,
    live: Mutex<Live>,
}

/// What is served, for banners and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The certificate's file.
    pub path: PathBuf,
    /// Its key's file.
    pub key_path: PathBuf,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub not_after_s: i64,
    /// The same as a day in UTC, `2028-02-21`.
    pub not_after: String,
    /// Our own CA, where it issued this certificate.
    pub authority: Option<Authority>,
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

impl Summary {
    /// For `/health`.
    #[must_use]
    pub fn json(&self) -> Value {
        let fingerprint = self.authority.as_ref().map(|authority| &authority.fingerprint);
        json!({ "names": self.names, "not_after": self.not_after, "ca_sha256": fingerprint })
    }
}

struct Live {
    looked_at: Instant,
    stamps: Stamps,
    served: Served,
}

#[derive(Clone)]
struct Served {
    certified: Arc<CertifiedKey>,
    summary: Arc<Summary>,
}

type Stamps = [Option<Stamp>; 2];

impl Certificates {
    /// Serves the owner's PEM files, which are only ever read: a chain with the leaf first, and
    /// the leaf's key (PKCS#8, PKCS#1 or SEC1).
    /// Errors: they cannot be served, expired ones included.
    pub fn open_foreign(cert: &Path, key: &Path) -> Result<Self, CertError> {
        Self::open(Files { cert: cert.to_owned(), key: key.to_owned() }, None)
    }

    /// Serves what is in a state folder: an empty one gets a CA and a leaf for the machine's name,
    /// its addresses and `extras`; a leaf of our own CA is issued again when one of these is
    /// missing or it expires within 30 days; anything else is only read.
    /// Errors: what is there cannot be served and is not ours, or nothing can be made.
    pub fn open_own(
        folder: &Path,
        machine: &str,
        addresses: &[IpAddr],
        extras: &[String],
    ) -> Result<Self, CertError> {
        let folder = Folder::new(folder);
        prepare(&folder, machine, &Names::new(machine, addresses, extras)?, now_s())?;
        Self::open(folder.leaf(), Some(folder))
    }

    /// The pair to serve now.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.look_again();
        Arc::clone(&lock(&self.live).served.certified)
    }

    /// What is served now.
    #[must_use]
    pub fn summary(&self) -> Arc<Summary> {
        self.look_again();
        Arc::clone(&lock(&self.live).served.summary)
    }

    /// Our own CA in PEM, where it issued what is served now.
    #[must_use]
    pub fn ca_pem(&self) -> Option<Vec<u8>> {
        let summary = self.summary();
        summary.authority.as_ref().map(|authority| authority.pem.clone().into_bytes())
    }

    fn open(files: Files, folder: Option<Folder>) -> Result<Self, CertError> {
        // Before reading, so that a change in between is seen the next time.
        let stamps = stamps(&files);
        let served = serve(&files, folder.as_ref())?;
        let live = Mutex::new(Live { looked_at: Instant::now(), stamps, served });
        Ok(Self { files, folder, live })
    }

    fn look_again(&self) {
        let seen = {
            let mut live = lock(&self.live);
            if live.looked_at.elapsed() < LOOK_AGAIN_AFTER {
                return;
            }
            // Claimed before looking, so that one handshake looks while the others go on.
            live.looked_at = Instant::now();
            live.stamps
        };
        let stamps = stamps(&self.files);
        if stamps == seen {
            return;
        }
        let served = serve(&self.files, self.folder.as_ref());
        let outcome = {
            let mut live = lock(&self.live);
            live.stamps = stamps;
            served.map(|served| live.served = served)
        };
        let path = self.files.cert.display();
        match outcome {
            Ok(()) => log::info!("the certificate {path} has changed; the new one is served"),
            Err(error) => log::warn!(
                "the certificate {path} has changed; the old one stays, since the new one cannot \
                 be served: {error}"
            ),
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

fn serve(files: &Files, folder: Option<&Folder>) -> Result<Served, CertError> {
    let now_s = now_s();
    let loaded = load(files, now_s)?;
    warn_if_open(&files.key);
    let (cert, not_after_s) = (files.cert.display(), loaded.facts.not_after_s);
    if loaded.facts.not_before_s > now_s {
        let begin = day(loaded.facts.not_before_s);
        log::warn!("the certificate {cert} is valid from {begin} only; look at the clock: date");
    }
    if not_after_s - now_s < EXPIRY_NEAR_S {
        log::warn!("the certificate {cert} expires on {}; renew it", day(not_after_s));
    }
    let summary = Summary {
        path: files.cert.clone(),
        key_path: files.key.clone(),
        names: loaded.facts.names,
        not_after_s,
        not_after: day(not_after_s),
        authority: folder.map(authority).transpose()?.flatten(),
    };
    Ok(Served { certified: loaded.certified, summary: Arc::new(summary) })
}

fn authority(folder: &Folder) -> Result<Option<Authority>, CertError> {
    if !is_ours(folder)? {
        return Ok(None);
    }
    let path = folder.authority().cert;
    let pem = String::from_utf8_lossy(&read(&path)?).into_owned();
    let fingerprint = chain(&path)?.first().map(|der| fingerprint(der)).unwrap_or_default();
    Ok(Some(Authority { path, pem, fingerprint }))
}

fn stamps(files: &Files) -> Stamps {
    [Stamp::of(&files.cert), Stamp::of(&files.key)]
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Renewal happens weeks before expiry, so seconds do not matter; a look costs two system calls.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Our own are renewed at 30 days; others that come this close were forgotten.
const EXPIRY_NEAR_S: i64 = 14 * 24 * 60 * 60;
