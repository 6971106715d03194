//! The store on disk: `tokens.json`, digests only, replaced in one step and synced before anybody
//! hears of the change. A file that is open to others or not understood is refused and never
//! written over.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::error::AuthError;
use super::state::{KnownClient, Record, State, VERSION};
use super::token::{Digest, new_secret};
use crate::files::{self, Problem};

/// The store of a state folder.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
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

    /// Everything that is kept; an empty state where there is no file.
    /// Errors: the file is unreadable, open to other users, broken or of a newer version.
    pub fn read(&self) -> Result<State, AuthError> {
        let unreadable = |error| AuthError::File(Problem::Read(self.path.clone(), error));
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(error) => return Err(unreadable(error)),
        };
        files::check_private(&self.path, &found.permissions()).map_err(AuthError::File)?;
        let text = fs::read(&self.path).map_err(unreadable)?;
        let broken = |error| AuthError::Broken(self.path.clone(), error);
        let state: State = serde_json::from_slice(&text).map_err(broken)?;
        if state.v > VERSION {
            return Err(AuthError::Newer(self.path.clone(), state.v));
        }
        if state.tokens.iter().any(|record| !is_name(&record.name)) {
            let wrong = "a name is not 1 to 64 of A-Z a-z 0-9 . _ -";
            return Err(broken(<serde_json::Error as serde::de::Error>::custom(wrong)));
        }
        Ok(state)
    }

    /// Changes what is kept: reads it, has it changed, and writes it, against all others that do the
    /// same; the lock is held for that alone. When this returns, the change is on the disk. Returns
    /// what `change` did, with the state as it is now.
    /// Errors: `change` does not want it, or the store is unusable; the file is as it was then.
    pub fn update<T, E: From<AuthError>>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<(T, State), E> {
        let _lock = self.lock()?;
        let mut state = self.read()?;
        let done = change(&mut state)?;
        state.v = VERSION;
        state.generation += 1;
        self.write(&state)?;
        Ok((done, state))
    }

    /// Makes a token and keeps its digest; the token itself is returned once and nowhere kept.
    /// Times are in seconds since 1970.
    /// Errors: the name is unfit or taken, the store unusable.
    pub fn add(&self, name: &str, now_s: i64) -> Result<String, AuthError> {
        self.add_until(name, now_s, None)
    }

    /// The same, for a token that ends. Errors: as of [`Self::add`].
    pub fn add_until(
        &self,
        name: &str,
        now_s: i64,
        expires_s: Option<i64>,
    ) -> Result<String, AuthError> {
        check_name(name)?;
        let (token, _) = self.update(|state| {
            if state.tokens.iter().any(|record| record.name == name) {
                return Err(AuthError::Taken("token", name.to_owned()));
            }
            if state.tokens.len() >= TOKENS_MAX {
                return Err(AuthError::Full("tokens", TOKENS_MAX));
            }
            let token = new_secret("mcps_")?;
            let digest = Digest::of(&token);
            let name = name.to_owned();
            state.tokens.push(Record { name, digest, created_s: now_s, expires_s, used_s: None });
            Ok(token)
        })?;
        Ok(token)
    }

    /// Removes a token; a running server refuses it within about a second.
    /// Errors: no token has the name, the store is unusable.
    pub fn revoke(&self, name: &str) -> Result<State, AuthError> {
        let remove = |state: &mut State| {
            let known = || state.tokens.iter().map(|record| record.name.clone()).collect();
            let place = state.tokens.iter().position(|record| record.name == name);
            let place =
                place.ok_or_else(|| AuthError::Unknown("token", name.to_owned(), known()))?;
            state.tokens.remove(place);
            Ok::<_, AuthError>(())
        };
        if !self.path.exists() {
            return Err(AuthError::Unknown("token", name.to_owned(), Vec::new()));
        }
        self.update(remove).map(|((), state)| state)
    }

    /// Makes a client that codes may be sent to `redirect_uris` for; returns its id and secret, the
    /// latter once. Errors: the name is unfit or taken, the store unusable.
    pub fn add_client(
        &self,
        name: &str,
        redirect_uris: Vec<String>,
        now_s: i64,
    ) -> Result<(String, String), AuthError> {
        check_name(name)?;
        let (id, secret) = (new_secret("pc1.")?, new_secret("mcpk_")?);
        let client = KnownClient {
            id: id.clone(),
            name: name.to_owned(),
            secret: Digest::of(&secret),
            redirect_uris,
            created_s: now_s,
        };
        self.update(|state| state.add_client(client))?;
        Ok((id, secret))
    }

    fn write(&self, state: &State) -> Result<(), AuthError> {
        serde_json::to_vec(state)
            .map_err(io::Error::from)
            .and_then(|text| files::replace_locked(&self.path, &text, files::PRIVATE))
            .map_err(|error| AuthError::File(Problem::Write(self.path.clone(), error)))
    }

    /// Two writers at once must not lose a change.
    fn lock(&self) -> Result<File, AuthError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        files::lock_folder(folder)
            .map_err(|error| AuthError::File(Problem::Write(self.path.clone(), error)))
    }
}

fn check_name(name: &str) -> Result<(), AuthError> {
    if is_name(name) { Ok(()) } else { Err(AuthError::Name(name.to_owned())) }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Fits a line of `token list` and of the log.
const NAME_BYTES_MAX: usize = 64;
/// Read and written whole with every change.
const TOKENS_MAX: usize = 4096;
