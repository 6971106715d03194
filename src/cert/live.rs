//! The certificate that is served now. Changed files are taken up during a handshake; a broken
//! new pair leaves the old one serving.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::error::CertError;
use super::folder::{Files, Folder, warn_if_open};
use super::load::{Authority, Facts, Loaded, day, load};
use super::names::Names;
use super::prepare::prepare;
use crate::files::Stamp;
use crate::worker::lock;

/// The certificate of this server, always the newest that works. Give it to rustls as the
/// resolver.
pub struct Certificates {
    files: Files,
    /// Where our own CA may be; nothing for files of the owner's.
    authority: Option<PathBuf>,
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

struct Live {
    looked_at: Instant,
    stamps: Stamps,
    served: Served,
}

impl Live {
    fn new(stamps: Stamps, served: Served) -> Mutex<Self> {
        Mutex::new(Self { looked_at: Instant::now(), stamps, served })
    }
}

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
        let files = Files { cert: cert.to_owned(), key: key.to_owned() };
        // Before reading, so that a change in between is seen the next time.
        let stamps = stamps(&files);
        let live = Live::new(stamps, serve(&files, load(&files, None)?)?);
        Ok(Self { files, authority: None, live })
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
        let files = folder.leaf();
        let names = Names::new(machine, addresses, extras)?;
        let loaded = prepare(&folder, machine, &names, now_s())?;
        // Afterwards, since our own writing is no change to take up.
        let live = Live::new(stamps(&files), serve(&files, loaded)?);
        Ok(Self { files, authority: Some(folder.authority().cert), live })
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
        let loaded = load(&self.files, self.authority.as_deref());
        let served = loaded.and_then(|loaded| serve(&self.files, loaded));
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

fn serve(files: &Files, loaded: Loaded) -> Result<Served, CertError> {
    let now_s = now_s();
    loaded.check_expiry(files, now_s)?;
    warn_if_open(&files.key);
    let Facts { not_before_s, not_after_s, .. } = loaded.facts;
    let cert = files.cert.display();
    if not_before_s > now_s {
        let begin = day(not_before_s);
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
        authority: loaded.authority,
    };
    Ok(Served { certified: loaded.certified, summary: Arc::new(summary) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pair_is_looked_at_once() {
        let folder = std::env::temp_dir().join(format!("live-{}", std::process::id()));
        let certificates = Certificates::open_own(&folder, "pi", &[], &[]).unwrap();
        let served = certificates.current();
        std::fs::write(&certificates.files.key, "broken").unwrap();
        lock(&certificates.live).looked_at -= LOOK_AGAIN_AFTER;
        assert!(Arc::ptr_eq(&certificates.current(), &served));
        // The next look finds nothing new, and so says nothing again.
        assert_eq!(lock(&certificates.live).stamps, stamps(&certificates.files));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
