//! The token store on disk: `tokens.json`, digests only, replaced in one step. A file that is open
//! to others or not understood is refused and never written over.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::AuthError;
use super::token::{Digest, TokenId, generate};
use crate::files::{self, Problem};

/// The token store of a state folder.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// One token as the store keeps it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Unique in the store; `[A-Za-z0-9._-]{1,64}`.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created_s: i64,
    pub(super) digest: Digest,
}

impl Record {
    /// Tells it apart in logs.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.digest.id()
    }
}

impl Store {
    /// The store of a state folder; nothing is read or made.
    #[must_use]
    pub fn new(state_folder: &Path) -> Self {
        Self { path: state_folder.join("tokens.json") }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every token; none where there is no file.
    /// Errors: the file is unreadable, open to other users, broken or of a newer version.
    pub fn read(&self) -> Result<Vec<Record>, AuthError> {
        let unreadable = |error| AuthError::File(Problem::Read(self.path.clone(), error));
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        files::check_private(&self.path, &found.permissions()).map_err(AuthError::File)?;
        let text = fs::read_to_string(&self.path).map_err(unreadable)?;
        let content: Content = serde_json::from_str(&text)
            .map_err(|error| AuthError::Broken(self.path.clone(), error))?;
        if content.v != VERSION {
            return Err(AuthError::Newer(self.path.clone(), content.v));
        }
        let records = content.tokens.into_iter().map(Record::try_from).collect::<Result<_, _>>();
        records.map_err(|error| AuthError::Broken(self.path.clone(), error))
    }

    /// Makes a token and keeps its digest; the token itself is returned once and nowhere kept.
    /// `now_s` is in seconds since 1970.
    /// Errors: the name is unfit or taken, the store unusable.
    pub fn add(&self, name: &str, now_s: i64) -> Result<String, AuthError> {
        if !is_name(name) {
            return Err(AuthError::Name(name.to_owned()));
        }
        let _lock = self.lock()?;
        let mut records = self.read()?;
        if records.iter().any(|record| record.name == name) {
            return Err(AuthError::NameTaken(name.to_owned()));
        }
        let token = generate()?;
        let digest = Digest::of(&token);
        records.push(Record { name: name.to_owned(), created_s: now_s, digest });
        self.write(&records)?;
        Ok(token)
    }

    /// Removes a token; a running server refuses it within about a second.
    /// Errors: no token has the name, the store is unusable.
    pub fn revoke(&self, name: &str) -> Result<(), AuthError> {
        let unknown = |records: Vec<Record>| {
            let names = records.into_iter().map(|record| record.name).collect();
            AuthError::NameUnknown(name.to_owned(), names)
        };
        if !self.path.exists() {
            return Err(unknown(Vec::new()));
        }
        let _lock = self.lock()?;
        let mut records = self.read()?;
        let Some(place) = records.iter().position(|record| record.name == name) else {
            return Err(unknown(records));
        };
        records.remove(place);
        self.write(&records)
    }

    fn write(&self, records: &[Record]) -> Result<(), AuthError> {
        let content = Content { v: VERSION, tokens: records.iter().map(Entry::from).collect() };
        serde_json::to_vec_pretty(&content)
            .map_err(io::Error::from)
            .and_then(|text| files::replace(&self.path, &text, files::PRIVATE))
            .map_err(|error| AuthError::File(Problem::Write(self.path.clone(), error)))
    }

    /// Two commands at once must not lose a token.
    fn lock(&self) -> Result<File, AuthError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        files::lock_folder(folder)
            .map_err(|error| AuthError::File(Problem::Write(self.path.clone(), error)))
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    v: u32,
    tokens: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    sha256: String,
    created_s: i64,
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Self {
        let name = record.name.clone();
        Self { name, sha256: record.digest.to_hex(), created_s: record.created_s }
    }
}

impl TryFrom<Entry> for Record {
    type Error = serde_json::Error;

    fn try_from(entry: Entry) -> Result<Self, Self::Error> {
        let wrong = |what| <serde_json::Error as serde::de::Error>::custom(what);
        let digest =
            Digest::from_hex(&entry.sha256).ok_or_else(|| wrong("a sha256 is not 64 digits"))?;
        if !is_name(&entry.name) {
            return Err(wrong("a name is not 1 to 64 of A-Z a-z 0-9 . _ -"));
        }
        Ok(Self { name: entry.name, created_s: entry.created_s, digest })
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Fits a line of `token list` and of the log.
const NAME_BYTES_MAX: usize = 64;
/// Of the file's form.
const VERSION: u32 = 1;
