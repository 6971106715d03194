//! Decides who is asking, from a bearer and from whether the peer is at home. Takes up changed
//! token files by itself; never logs a token.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::error::AuthError;
use super::store::Store;
use super::token::{Digest, TokenId, is_fit};
use crate::files::{Problem, Stamp};
use crate::worker::lock;

/// Who is asking. Sessions belong to a principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Everyone whom the home rule lets in.
    Home,
    /// Whoever holds a token.
    Token {
        /// Tells tokens apart, also after a restart.
        id: TokenId,
        /// What the owner called it.
        name: Arc<str>,
    },
}

impl Principal {
    /// Tells principals apart, also after a restart: without the name, which the owner may give to
    /// another token.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Home => "home".to_owned(),
            Self::Token { id, .. } => format!("token:{id}"),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("home"),
            Self::Token { name, .. } => write!(f, "token:{name}"),
        }
    }
}

/// Why nobody was recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// A token is needed, and none came.
    Missing,
    /// A token came, and it is none of ours.
    Invalid,
    /// There are no tokens, and the peer is not at home.
    NotHome,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a token is needed: send Authorization: Bearer TOKEN",
            Self::Invalid => "the token is not known here: it was revoked or mistyped",
            Self::NotHome => {
                "only the home network is served; make a token to be let in from elsewhere"
            }
        })
    }
}

/// Where tokens come from; all of them count.
#[derive(Clone, Default)]
pub struct TokenSources {
    /// The state folder with the token store.
    pub state_folder: PathBuf,
    /// A file with one token a line; empty lines and lines that begin with `#` are skipped.
    pub file: Option<PathBuf>,
    /// A token from the environment.
    pub value: Option<String>,
}

impl fmt::Debug for TokenSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSources")
            .field("state_folder", &self.state_folder)
            .field("file", &self.file)
            .field("value", &self.value.as_ref().map(|_| ".."))
            .finish()
    }
}

/// Knows every token and the home rule's switch. Cheap to ask; files are looked at again at most
/// once a second, by whoever asks.
pub struct Authenticator {
    sources: TokenSources,
    store: Store,
    home_open: bool,
    known: Mutex<Known>,
}

struct Known {
    looked_at: Instant,
    stamps: Stamps,
    tokens: Arc<[Token]>,
    required: bool,
}

type Stamps = [Option<Stamp>; 2];

struct Token {
    digest: Digest,
    name: Arc<str>,
}

impl Authenticator {
    /// Reads every source once. `home_open` keeps the home rule beside the tokens.
    /// Errors: a source that is there and cannot be used; starting without it would let people in
    /// whom the owner wanted out.
    pub fn open(sources: TokenSources, home_open: bool) -> Result<Self, AuthError> {
        let store = Store::new(&sources.state_folder);
        let stamps = stamps(&sources, &store);
        let tokens = read_all(&sources, &store)?;
        let required = !tokens.is_empty();
        let known = Mutex::new(Known { looked_at: Instant::now(), stamps, tokens, required });
        Ok(Self { sources, store, home_open, known })
    }

    /// Whether a token is needed (but for the home rule, where it was kept). Once true it stays
    /// true until a restart: revoking the last token must not open the house.
    pub fn required(&self) -> bool {
        self.current().1
    }

    /// Whether callers at home are let in without a token.
    pub fn home_rule(&self) -> bool {
        self.home_open || !self.required()
    }

    /// How many tokens are known.
    pub fn tokens(&self) -> usize {
        self.current().0.len()
    }

    /// Recognizes a caller. Where no token exists a bearer is ignored: clients configured for
    /// another server send one all the same.
    /// Errors: why not.
    pub fn authenticate(
        &self,
        bearer: Option<&str>,
        peer_is_home: bool,
    ) -> Result<Principal, Denied> {
        let (tokens, required) = self.current();
        match bearer {
            _ if !required && peer_is_home => Ok(Principal::Home),
            _ if !required => Err(Denied::NotHome),
            Some(bearer) => find(&tokens, bearer).ok_or(Denied::Invalid),
            None if self.home_open && peer_is_home => Ok(Principal::Home),
            None => Err(Denied::Missing),
        }
    }

    fn current(&self) -> (Arc<[Token]>, bool) {
        let seen = {
            let mut known = lock(&self.known);
            if known.looked_at.elapsed() < LOOK_AGAIN_AFTER {
                return (Arc::clone(&known.tokens), known.required);
            }
            // Claimed before looking, so that one caller looks while the others go on.
            known.looked_at = Instant::now();
            known.stamps
        };
        let stamps = stamps(&self.sources, &self.store);
        if stamps != seen {
            self.take_up(stamps);
        }
        let known = lock(&self.known);
        (Arc::clone(&known.tokens), known.required)
    }

    fn take_up(&self, stamps: Stamps) {
        let read = read_all(&self.sources, &self.store);
        let mut known = lock(&self.known);
        known.stamps = stamps;
        let was_required = known.required;
        let outcome = read.map(|tokens| {
            known.required |= !tokens.is_empty();
            known.tokens = tokens;
            known.tokens.len()
        });
        drop(known);
        match outcome {
            Err(error) => log::warn!("the tokens known before stay: {error}"),
            Ok(0) if was_required => {
                log::warn!("the last token is gone: everyone is refused until a restart");
            }
            Ok(count) => log::info!("tokens were read again: {count}"),
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("sources", &self.sources)
            .field("home_open", &self.home_open)
            .finish_non_exhaustive()
    }
}

/// Looks at every token, so that the time tells nothing of the one that fits.
fn find(tokens: &[Token], bearer: &str) -> Option<Principal> {
    let digest = Digest::of(bearer);
    let mut found = None;
    for token in tokens {
        if token.digest.equals(&digest) {
            found = Some(token);
        }
    }
    found.map(|token| Principal::Token { id: digest.id(), name: Arc::clone(&token.name) })
}

fn stamps(sources: &TokenSources, store: &Store) -> Stamps {
    [Stamp::of(store.path()), sources.file.as_deref().and_then(Stamp::of)]
}

fn read_all(sources: &TokenSources, store: &Store) -> Result<Arc<[Token]>, AuthError> {
    let mut tokens: Vec<Token> = store
        .read()?
        .into_iter()
        .map(|record| Token { digest: record.digest, name: record.name.into() })
        .collect();
    if let Some(path) = &sources.file {
        tokens.extend(read_file(path)?);
    }
    if let Some(value) = &sources.value {
        tokens.push(token("MCP_TOKEN".to_owned(), value)?);
    }
    Ok(tokens.into())
}

fn read_file(path: &Path) -> Result<Vec<Token>, AuthError> {
    let unreadable = |error| AuthError::File(Problem::Read(path.to_owned(), error));
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o004 != 0 {
        // Not refused: container secrets are mounted like this.
        let path = path.display();
        log::warn!("{path} can be read by every user (mode {mode:04o}); type: chmod 600 {path}");
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let tokens = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| token(format!("{file}:{number}"), line))
        .collect::<Result<Vec<_>, _>>()?;
    if tokens.is_empty() {
        return Err(AuthError::Empty(path.to_owned()));
    }
    Ok(tokens)
}

fn token(name: String, text: &str) -> Result<Token, AuthError> {
    if !is_fit(text) {
        return Err(AuthError::Unfit(name));
    }
    Ok(Token { digest: Digest::of(text), name: name.into() })
}

/// A revoked token works this much longer at most; a look costs two system calls.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("auth-{name}-{}", std::process::id()));
            crate::files::make_private_folder(&path).unwrap();
            Self(path)
        }

        fn sources(&self) -> TokenSources {
            TokenSources { state_folder: self.0.clone(), file: None, value: None }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    /// As if a second had passed.
    fn later(authenticator: &Authenticator) {
        lock(&authenticator.known).looked_at -= LOOK_AGAIN_AFTER;
    }

    fn name(principal: Result<Principal, Denied>) -> Result<String, Denied> {
        principal.map(|principal| principal.to_string())
    }

    #[test]
    fn without_tokens_home_is_let_in_and_a_bearer_ignored() {
        let folder = Folder::new("home");
        let authenticator = Authenticator::open(folder.sources(), false).unwrap();
        assert!(!authenticator.required() && authenticator.home_rule());
        for bearer in [None, Some("anything")] {
            assert_eq!(authenticator.authenticate(bearer, true), Ok(Principal::Home));
            assert_eq!(authenticator.authenticate(bearer, false), Err(Denied::NotHome));
        }
    }

    #[test]
    fn with_tokens_everyone_needs_one_unless_home_is_open() {
        let folder = Folder::new("open");
        let laptop = Store::new(&folder.0).add("laptop", 0).unwrap();
        for (home_open, at_home) in [(false, Err(Denied::Missing)), (true, Ok("home".to_owned()))] {
            let authenticator = Authenticator::open(folder.sources(), home_open).unwrap();
            let ask = |bearer, home| name(authenticator.authenticate(bearer, home));
            assert!(authenticator.required() && authenticator.home_rule() == home_open);
            assert_eq!(ask(None, true), at_home);
            assert_eq!(ask(None, false), Err(Denied::Missing));
            for home in [false, true] {
                assert_eq!(ask(Some(&laptop), home), Ok("token:laptop".to_owned()));
                assert_eq!(ask(Some("mcps_wrong"), home), Err(Denied::Invalid));
                assert_eq!(ask(Some(""), home), Err(Denied::Invalid));
            }
        }
    }

    #[test]
    fn tokens_of_every_source_are_told_apart_and_keep_their_id() {
        let folder = Folder::new("sources");
        let laptop = Store::new(&folder.0).add("laptop", 0).unwrap();
        let file = folder.0.join("tokens.txt");
        fs::write(&file, "# phones\n\n  phone-0123456789  \ntablet-0123456789\n").unwrap();
        let sources = TokenSources {
            file: Some(file),
            value: Some("variable-0123456789".to_owned()),
            ..folder.sources()
        };
        let ids = || {
            let authenticator = Authenticator::open(sources.clone(), false).unwrap();
            assert_eq!(authenticator.tokens(), 4);
            [&laptop, "phone-0123456789", "tablet-0123456789", "variable-0123456789"]
                .map(|token| authenticator.authenticate(Some(token), false).unwrap())
        };
        let before = ids();
        let names = before.clone().map(|principal| principal.to_string());
        assert_eq!(
            names,
            ["token:laptop", "token:tokens.txt:3", "token:tokens.txt:4", "token:MCP_TOKEN"]
        );
        assert_eq!(ids(), before);
        assert!(!format!("{sources:?}").contains("0123456789"));
    }

    #[test]
    fn changes_are_taken_up_and_the_last_token_does_not_open_the_house() {
        let folder = Folder::new("changes");
        let store = Store::new(&folder.0);
        let authenticator = Authenticator::open(folder.sources(), false).unwrap();
        let laptop = store.add("laptop", 0).unwrap();
        // Not looked at yet.
        assert_eq!(authenticator.authenticate(None, true), Ok(Principal::Home));
        later(&authenticator);
        assert_eq!(authenticator.authenticate(None, true), Err(Denied::Missing));
        assert!(authenticator.authenticate(Some(&laptop), false).is_ok());
        store.revoke("laptop").unwrap();
        later(&authenticator);
        assert_eq!(authenticator.authenticate(Some(&laptop), true), Err(Denied::Invalid));
        assert_eq!(authenticator.authenticate(None, true), Err(Denied::Missing));
        fs::remove_file(store.path()).unwrap();
        later(&authenticator);
        assert_eq!(authenticator.authenticate(None, true), Err(Denied::Missing));
    }

    #[test]
    fn a_broken_store_keeps_the_tokens_known_before() {
        let folder = Folder::new("broken");
        let store = Store::new(&folder.0);
        let laptop = store.add("laptop", 0).unwrap();
        let good = fs::read(store.path()).unwrap();
        let authenticator = Authenticator::open(folder.sources(), false).unwrap();
        // Keeps its mode.
        fs::write(store.path(), "").unwrap();
        later(&authenticator);
        assert!(authenticator.authenticate(Some(&laptop), false).is_ok());
        assert!(Authenticator::open(folder.sources(), false).is_err());
        crate::files::replace(store.path(), &good, crate::files::PRIVATE).unwrap();
        let phone = store.add("phone", 0).unwrap();
        later(&authenticator);
        assert!(authenticator.authenticate(Some(&phone), false).is_ok());
    }
}
