//! The files of the state folder, and how a file of certificates or keys is read and written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::error::CertError;
use crate::files::{self, Problem};

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// The leaf first, then what leads to its CA.
    pub(super) cert: PathBuf,
    /// The leaf's key.
    pub(super) key: PathBuf,
}

/// The state folder with our own CA and leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A folder that may not exist yet.
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The leaf that is served from here: `cert.pem` and `key.pem`.
    pub(super) fn leaf(&self) -> Files {
        Files { cert: self.0.join("cert.pem"), key: self.0.join("key.pem") }
    }

    /// Our CA: `ca.pem` and `ca.key`.
    pub(super) fn authority(&self) -> Files {
        Files { cert: self.0.join("ca.pem"), key: self.0.join("ca.key") }
    }

    /// Makes the folder where it is missing, and holds it until the handle is dropped: two starts
    /// at once must not make half a CA each.
    pub(super) fn lock(&self) -> Result<File, CertError> {
        files::lock_folder(&self.0)
            .map_err(|error| CertError::File(Problem::Write(self.0.clone(), error)))
    }
}

/// Reads a file whole. Errors: missing, not allowed (with who may), or the system's.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CertError::Missing(path.to_owned()),
        io::ErrorKind::PermissionDenied => not_allowed(path),
        _ => CertError::File(Problem::Read(path.to_owned(), error)),
    })
}

pub(super) fn write(path: &Path, content: &str, mode: u32) -> Result<(), CertError> {
    // Unchanged content keeps its file, so that nobody's backup or watcher wakes for nothing.
    if fs::read(path).is_ok_and(|present| present == content.as_bytes()) {
        return Ok(());
    }
    files::replace(path, content.as_bytes(), mode)
        .map_err(|error| CertError::File(Problem::Write(path.to_owned(), error)))
}

/// Warns of a key that every user of the machine can read; said once a load.
pub(super) fn warn_if_open(key: &Path) {
    if let Ok(found) = fs::metadata(key) {
        let mode = found.mode() & 0o777;
        if mode & 0o004 != 0 {
            let key = key.display();
            log::warn!("the key {key} can be read by every user; type: chmod o= {key}");
        }
    }
}

/// Names the outermost thing that keeps the file from us: certbot's folders are root's, and then
/// the file itself cannot even be looked at.
fn not_allowed(path: &Path) -> CertError {
    let target = link_target(path).unwrap_or_else(|| path.to_owned());
    let closed = |folder: &&Path| {
        let refused = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        !folder.as_os_str().is_empty()
            && folder.is_dir()
            && fs::metadata(folder.join(".")).is_err_and(refused)
    };
    let outer: Vec<&Path> = target.ancestors().skip(1).collect();
    let blocked = outer.into_iter().rev().find(closed).map_or(target.clone(), Path::to_owned);
    let owner = fs::metadata(&blocked).map_or_else(
        |_unseen| String::new(),
        |found| {
            let (owner, mode) = (user_name(found.uid()), found.mode() & 0o7777);
            format!(", which belongs to {owner} (mode {mode:04o})")
        },
    );
    let user = user_name(rustix::process::geteuid().as_raw());
    CertError::NotAllowed { path: blocked, owner, user }
}

/// Where a symbolic link leads, without a look at what is there: certbot's links lead from one
/// folder of root's to another.
fn link_target(path: &Path) -> Option<PathBuf> {
    let target = path.parent()?.join(fs::read_link(path).ok()?);
    let mut plain = PathBuf::new();
    for part in target.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// The name that /etc/passwd has for a user; else the number, which commands take as well.
fn user_name(id: u32) -> String {
    let id = id.to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    named.unwrap_or(id)
}
