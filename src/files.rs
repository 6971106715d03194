//! Writes a file whole or not at all, with its mode from the first byte on, and tells when one has
//! changed. Knows nothing of what is in it.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The mode of a file with a secret in it.
pub const PRIVATE: u32 = 0o600;
/// The mode of a file that everyone on the machine may read.
pub const PUBLIC: u32 = 0o644;

/// Replaces `path` by `content` in one step: a file of the given mode beside it, synced, then
/// renamed over it, then the folder synced. Whoever reads sees the old content or the new.
/// Errors: the system's; the old file is untouched then.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_by(&std::process::id().to_string(), path, content, mode)
}

/// The same for a file that one process at a time writes, under [`lock_folder`]: what a killed writer
/// left is used up by the next. Errors: as of [`replace`].
pub fn replace_locked(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_by("new", path, content, mode)
}

fn replace_by(writer: &str, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path, writer)?;
    let written = write_new(&temporary, content, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a leftover is harmless and unreadable to others.
        drop(fs::remove_file(&temporary));
        return written;
    }
    // Not every file system can sync a folder; the rename itself has happened.
    drop(path.parent().map(|folder| File::open(folder).and_then(|folder| folder.sync_all())));
    Ok(())
}

/// Makes a folder and those above it; what is missing gets mode 0700, what exists stays as it is.
/// Errors: the system's.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder like [`make_private_folder`] and holds it against other processes that do the
/// same, until the returned handle is dropped. Errors: the system's.
pub fn lock_folder(path: &Path) -> io::Result<File> {
    make_private_folder(path)?;
    let folder = File::open(path)?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(folder)
}

/// What tells one state of a file from another without reading it. Follows symbolic links, as
/// certbot's `live` folder consists of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    // A corrected mode or owner shows only here.
    changed: (i64, i64),
}

impl Stamp {
    /// The state of a file now; nothing where it cannot be asked for.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            inode: (found.dev(), found.ino()),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Why a file of the state folder cannot be used; says what to type.
#[derive(Debug)]
pub enum Problem {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It cannot be written; the old one is untouched.
    Write(PathBuf, io::Error),
    /// It holds a secret and is open to other users of the machine (its mode).
    Loose(PathBuf, u32),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                let path = path.display();
                write!(f, "cannot read {path} ({error}); type: ls -l {path}")
            }
            Self::Write(path, error) => {
                let path = path.display();
                write!(f, "cannot write {path} ({error}); choose a folder with --state-dir FOLDER")
            }
            Self::Loose(path, mode) => {
                let path = path.display();
                write!(f, "{path} is open to other users (mode {mode:04o}); ")?;
                write!(f, "type: chmod 600 {path}")
            }
        }
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(_, error) | Self::Write(_, error) => Some(error),
            Self::Loose(..) => None,
        }
    }
}

/// Errors: a file with these permissions is open to users other than its owner.
pub fn check_private(path: &Path, permissions: &Permissions) -> Result<(), Problem> {
    let mode = permissions.mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Problem::Loose(path.to_owned(), mode)) }
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // `create_new` also refuses a symbolic link that somebody put there.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn temporary_beside(path: &Path, writer: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{writer}"));
    // Left by a process of the same number, or under the lock, that was killed while it wrote.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(temporary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_its_mode_and_leaves_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("files-{}", std::process::id()));
        make_private_folder(&folder.join("deep")).unwrap();
        let path = folder.join("deep/secret");
        replace(&path, b"one", PRIVATE).unwrap();
        replace(&path, b"two", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder.join("deep")).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
