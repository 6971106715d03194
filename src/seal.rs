//! What this house gave away and takes back: text that a client keeps and cannot make or change.
//!
//! So sessions and half-finished calls survive a restart without being kept here. Sealed text is
//! not secret: whoever holds it can read it.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{HMAC_SHA256, Key, sign, verify};
use ring::rand::{SecureRandom, SystemRandom};

use crate::files::{self, Problem};
use crate::worker::lock;

/// Signs and recognizes text with HMAC-SHA256 under one key of 256 bits.
pub struct Seal {
    key: Key,
    /// The keys of the few purposes that there are, since every request may need one.
    derived: Mutex<Vec<(String, Key)>>,
}

impl Seal {
    /// The longest payload that is recognized, in bytes.
    pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

    /// The seal of a state folder: its key is `session-key`, made where it is missing, once however
    /// many programs start together.
    /// Errors: the key is unreadable, open to other users or not one, or it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, SealError> {
        let path = folder.join(KEY_FILE);
        if let Some(key) = read_key(&path)? {
            return Ok(Self::new(&key));
        }
        let unwritable = |error| SealError::File(Problem::Write(path.clone(), error));
        let _lock = files::lock_folder(folder).map_err(unwritable)?;
        // Another start may have made it meanwhile.
        let key = match read_key(&path)? {
            Some(key) => key,
            None => {
                let key = random_key().ok_or(SealError::Random)?;
                files::replace(&path, &key, files::PRIVATE).map_err(unwritable)?;
                key
            }
        };
        Ok(Self::new(&key))
    }

    /// A seal that ends with the process. `None`: the system has no random bytes.
    #[cfg(test)]
    pub(crate) fn random() -> Option<Self> {
        random_key().map(|key| Self::new(&key))
    }

    /// The payload and its tag in base64url without padding: visible ASCII, fit for a header.
    /// Text sealed for one purpose is nothing to any other. More than
    /// [`Self::PAYLOAD_BYTES_MAX`] would not be recognized again.
    #[must_use]
    pub fn sign(&self, purpose: &str, payload: &[u8]) -> String {
        let tag = sign(&self.key_for(purpose), payload);
        URL_SAFE_NO_PAD.encode([payload, tag.as_ref()].concat())
    }

    /// The payload, if this very text was sealed with this key for this purpose. Takes a time that
    /// does not depend on where a tag differs.
    #[must_use]
    pub fn verify(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        // This engine takes no padding and no second spelling of the last bits.
        let mut payload = URL_SAFE_NO_PAD.decode(text).ok()?;
        let tag = payload.split_off(payload.len().checked_sub(TAG_BYTES)?);
        verify(&self.key_for(purpose), &payload, &tag).ok()?;
        Some(payload)
    }

    fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { key: Key::new(HMAC_SHA256, key), derived: Mutex::default() }
    }

    /// A key of its own for each purpose, of which this program has a handful, so that no two can be confused however they are spelled.
    fn key_for(&self, purpose: &str) -> Key {
        let mut derived = lock(&self.derived);
        if let Some((_, key)) = derived.iter().find(|(known, _)| known == purpose) {
            return key.clone();
        }
        let key = Key::new(HMAC_SHA256, sign(&self.key, purpose.as_bytes()).as_ref());
        derived.push((purpose.to_owned(), key.clone()));
        key
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

/// Why there is no seal; each says what to do.
#[derive(Debug)]
pub enum SealError {
    /// The key cannot be read or made, or is open to other users.
    File(Problem),
    /// The file does not have the length of a key.
    Length(PathBuf),
    /// The system has no random bytes.
    Random,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(problem) => problem.fmt(f),
            Self::Length(path) => {
                let path = path.display();
                write!(f, "{path} is not a key of {KEY_BYTES} bytes; delete it and start again, ")?;
                write!(f, "and clients will open new sessions: rm {path}")
            }
            Self::Random => f.write_str("the system gives no random bytes; try again"),
        }
    }
}

impl Error for SealError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(problem) => problem.source(),
            _ => None,
        }
    }
}

/// The key of a file; nothing where there is none.
fn read_key(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, SealError> {
    let unreadable = |error| SealError::File(Problem::Read(path.to_owned(), error));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // Asked of the open file, which nobody can exchange.
    let found = file.metadata().map_err(unreadable)?;
    files::check_private(path, &found.permissions()).map_err(SealError::File)?;
    let mut key = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key).map_err(unreadable)?;
    let key = key.try_into().map_err(|_other: Vec<u8>| SealError::Length(path.to_owned()))?;
    Ok(Some(key))
}

fn random_key() -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).ok()?;
    Some(key)
}

const KEY_FILE: &str = "session-key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
/// Longer text is not even decoded.
const TEXT_BYTES_MAX: usize = (Seal::PAYLOAD_BYTES_MAX + TAG_BYTES).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("seal-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&path));
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn what_was_sealed_is_recognized_and_nothing_else() {
        let seal = Seal::random().unwrap();
        for payload in [&b""[..], b"a", b"ab", b"abc", &[0xff; 1000]] {
            let text = seal.sign("one", payload);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'='));
            assert_eq!(seal.verify("one", &text).unwrap(), payload);
            for other in ["", "on", "one ", "two"] {
                assert_eq!(seal.verify(other, &text), None, "{other}");
            }
            assert_eq!(Seal::random().unwrap().verify("one", &text), None);
        }
    }

    #[test]
    fn no_bit_of_a_sealed_text_can_be_changed_and_none_of_it_left_out() {
        let seal = Seal::random().unwrap();
        let text = seal.sign("one", b"payload");
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.verify("one", &URL_SAFE_NO_PAD.encode(changed)), None, "{bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(seal.verify("one", &URL_SAFE_NO_PAD.encode(&bytes[..length])), None);
            assert_eq!(
                seal.verify("one", &URL_SAFE_NO_PAD.encode(&bytes[bytes.len() - length..])),
                None
            );
        }
    }

    #[test]
    fn a_sealed_text_has_one_spelling() {
        let seal = Seal::random().unwrap();
        // 37 bytes: the last character has four bits that mean nothing.
        let text = seal.sign("one", b"12345");
        let mut body = text.clone();
        body.pop();
        let spellings = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            .chars()
            .filter(|last| seal.verify("one", &format!("{body}{last}")).is_some());
        assert_eq!(spellings.count(), 1);
        for wrong in
            [format!("{text}="), format!("{text}=="), format!(" {text}"), format!("{text}\n")]
        {
            assert_eq!(seal.verify("one", &wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_longest_payload_passes_and_a_longer_text_is_not_looked_at() {
        let seal = Seal::random().unwrap();
        let longest = vec![7; Seal::PAYLOAD_BYTES_MAX];
        assert_eq!(seal.verify("one", &seal.sign("one", &longest)).unwrap(), longest);
        assert_eq!(seal.verify("one", &seal.sign("one", &[7; Seal::PAYLOAD_BYTES_MAX + 3])), None);
    }

    #[test]
    fn a_state_folder_keeps_its_key_over_a_restart_and_for_its_owner_alone() {
        let folder = Folder::new("kept");
        let text = Seal::open(&folder.0).unwrap().sign("one", b"payload");
        assert!(Seal::open(&folder.0).unwrap().verify("one", &text).is_some());
        let key = folder.0.join(KEY_FILE);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&key).unwrap().len(), KEY_BYTES);
        fs::remove_file(&key).unwrap();
        assert!(Seal::open(&folder.0).unwrap().verify("one", &text).is_none());
    }

    #[test]
    fn starts_at_once_end_with_one_key() {
        let folder = Folder::new("race");
        let texts: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Seal::open(&folder.0).unwrap().sign("one", b"payload")))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(texts.iter().all(|text| *text == texts[0]));
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused_with_what_to_do() {
        let folder = Folder::new("refused");
        Seal::open(&folder.0).unwrap();
        let path = folder.0.join(KEY_FILE);
        for mode in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = Seal::open(&folder.0).unwrap_err().to_string();
            assert!(said.contains(&format!("chmod 600 {}", path.display())), "{said}");
        }
        for length in [0, 31, 33, 1000] {
            files::replace(&path, &vec![1; length], files::PRIVATE).unwrap();
            let said = Seal::open(&folder.0).unwrap_err().to_string();
            assert!(said.contains(&format!("rm {}", path.display())), "{said}");
            assert_eq!(fs::read(&path).unwrap().len(), length);
        }
    }
}
