//! Decides who is asking, from a bearer and from whether the peer is at home. Takes up changed
//! token files by itself; never logs a token.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::error::AuthError;
use super::index::{Foreign, Index, foreign};
use super::state::{KnownClient, State};
use super::store::Store;
use super::token::TokenId;
use crate::files::Stamp;
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
    /// A client that the owner let in over OAuth, with whichever of its tokens.
    Grant(TokenId),
}

impl Principal {
    /// Tells principals apart, also after a restart: without the name, which the owner may give to
    /// another token.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Home => "home".to_owned(),
            Self::Token { id, .. } => format!("token:{id}"),
            Self::Grant(id) => format!("grant:{id}"),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("home"),
            Self::Token { name, .. } => write!(f, "token:{name}"),
            Self::Grant(id) => write!(f, "grant:{id}"),
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
    /// A token came that is good for too little.
    Scope,
    /// There are no tokens, and the peer is not at home.
    NotHome,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "a token is needed: send Authorization: Bearer TOKEN",
            Self::Invalid => "the token is not known here: it was revoked or mistyped",
            Self::Scope => "the token was not granted for this",
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

/// Tells the time in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's time in seconds since 1970.
#[must_use]
pub fn system_now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Who else is let in, and by which clock.
#[derive(Clone)]
pub struct Door {
    /// Whether the home rule stays beside tokens and OAuth.
    pub home_open: bool,
    /// Whether clients can be granted access over OAuth: then everyone needs a token.
    pub oauth: bool,
    /// When tokens end.
    pub clock: Clock,
}

/// Knows every token and the home rule's switch. Cheap to ask; files are looked at again at most
/// once a second, by whoever asks.
pub struct Authenticator {
    sources: TokenSources,
    store: Store,
    door: Door,
    known: Mutex<Known>,
}

struct Known {
    looked_at: Instant,
    stamps: Stamps,
    index: Arc<Index>,
    foreign: Arc<[Foreign]>,
    required: bool,
    /// When uses were last written down.
    noted: Instant,
}

type Stamps = [Option<Stamp>; 2];

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("home_open", &self.home_open)
            .field("oauth", &self.oauth)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Reads every source once. `home_open` keeps the home rule beside the tokens.
    /// Errors: a source that is there and cannot be used; starting without it would let people in
    /// whom the owner wanted out.
    pub fn open(sources: TokenSources, home_open: bool) -> Result<Self, AuthError> {
        Self::open_with(sources, Door { home_open, oauth: false, clock: Arc::new(system_now_s) })
    }

    /// The same with OAuth or another clock. Errors: as of [`Self::open`].
    pub fn open_with(sources: TokenSources, door: Door) -> Result<Self, AuthError> {
        let store = Store::new(&sources.state_folder);
        let stamps = stamps(&sources, &store);
        let state = store.read()?;
        let foreign = foreign(&sources)?;
        let index = Index::new(&state, &foreign, &Index::default());
        let required = door.oauth || index.tokens > 0;
        let (looked_at, noted) = (Instant::now(), Instant::now());
        let index = Arc::new(index);
        let known = Mutex::new(Known { looked_at, stamps, index, foreign, required, noted });
        Ok(Self { sources, store, door, known })
    }

    /// Whether a token is needed (but for the home rule, where it was kept). Once true it stays
    /// true until a restart: revoking the last token must not open the house.
    pub fn required(&self) -> bool {
        self.current().1
    }

    /// Whether callers at home are let in without a token.
    pub fn home_rule(&self) -> bool {
        self.door.home_open || !self.required()
    }

    /// Whether clients can be let in over OAuth.
    pub fn oauth(&self) -> bool {
        self.door.oauth
    }

    /// How many static tokens are known.
    pub fn tokens(&self) -> usize {
        self.current().0.tokens
    }

    /// The owner's passphrase, as its hash; none where none was made.
    pub fn passphrase(&self) -> Option<Arc<str>> {
        self.current().0.passphrase.clone()
    }

    /// A client that the owner made.
    pub fn client(&self, id: &str) -> Option<KnownClient> {
        self.current().0.clients.iter().find(|client| client.id == id).cloned()
    }

    /// Whether a token is one that could be exchanged or revoked: what strangers make up is told
    /// without a look at the disk.
    pub fn issued(&self, token: &str) -> bool {
        self.current().0.issued(token)
    }

    /// Recognizes a caller. Where no token exists a bearer is ignored: clients configured for
    /// another server send one all the same. `site`: the public URL by whose name it came; what was
    /// granted for another is nothing here.
    /// Errors: why not.
    pub fn authenticate(
        &self,
        bearer: Option<&str>,
        peer_is_home: bool,
        site: Option<&str>,
    ) -> Result<Principal, Denied> {
        let (index, required) = self.current();
        let Some(bearer) = bearer.filter(|_| required) else {
            return match peer_is_home && (!required || self.door.home_open) {
                true => Ok(Principal::Home),
                false if required => Err(Denied::Missing),
                false => Err(Denied::NotHome),
            };
        };
        let holder = index.find(bearer, (self.door.clock)()).ok_or(Denied::Invalid)?;
        if holder.audience.as_ref().is_some_and(|audience| site != Some(audience)) {
            return Err(Denied::Invalid);
        }
        if !holder.scope_fits {
            return Err(Denied::Scope);
        }
        Ok(holder.principal.clone())
    }

    /// Whether a caller that was let in would still be: what it holds was not revoked meanwhile.
    pub fn stands(&self, principal: &Principal) -> bool {
        let (index, required) = self.current();
        match principal {
            Principal::Home => self.door.home_open || !required,
            Principal::Token { id, .. } | Principal::Grant(id) => {
                index.is_alive(id, (self.door.clock)())
            }
        }
    }

    /// Changes what is kept, on disk first and then here. Errors: as of [`Store::update`].
    pub fn change<T, E: From<AuthError>>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let (done, state) = self.store.update(change)?;
        let mut known = lock(&self.known);
        // Another change may have been faster to come here.
        if state.generation > known.index.generation {
            known.index = Arc::new(Index::new(&state, &known.foreign, &known.index));
        }
        Ok(done)
    }

    /// What is kept, as it stands on disk now. Errors: as of [`Store::read`].
    pub fn state(&self) -> Result<State, AuthError> {
        self.store.read()
    }

    /// Writes down when tokens and grants were last used, now and then. To be called every few
    /// seconds, by a thread that nobody waits for.
    pub fn note_uses(&self) {
        let index = {
            let mut known = lock(&self.known);
            if known.noted.elapsed() < NOTE_AFTER {
                return;
            }
            known.noted = Instant::now();
            Arc::clone(&known.index)
        };
        let newer = |id: &TokenId, before: i64| Some(index.used_s(id)).filter(|it| *it > before);
        let note = |state: &mut State| {
            let mut noted = 0;
            for token in &mut state.tokens {
                if let Some(used_s) = newer(&token.id(), token.used_s.unwrap_or(0)) {
                    token.used_s = Some(used_s);
                    noted += 1;
                }
            }
            for grant in &mut state.grants {
                if let Some(used_s) = newer(&grant.id, grant.used_s) {
                    grant.used_s = used_s;
                    noted += 1;
                }
            }
            // Nothing is written for nothing.
            if noted > 0 { Ok(()) } else { Err(None) }
        };
        if let Err(Some(error)) = self.change(note).map_err(|nothing: Option<AuthError>| nothing) {
            log::warn!("last uses are not kept: {error}");
        }
    }

    fn current(&self) -> (Arc<Index>, bool) {
        let seen = {
            let mut known = lock(&self.known);
            if known.looked_at.elapsed() < LOOK_AGAIN_AFTER {
                return (Arc::clone(&known.index), known.required);
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
        (Arc::clone(&known.index), known.required)
    }

    fn take_up(&self, seen: Stamps) {
        let read = self.store.read();
        // A file of the owner's that cannot be read must not keep the store's revocations out.
        let fresh = foreign(&self.sources);
        let trouble = fresh.as_ref().err().map(ToString::to_string);
        // What was read is older than what is known, and there is something newer to read.
        let outdated = |state: &State, known: &Known| {
            state.generation < known.index.generation && stamps(&self.sources, &self.store) != seen
        };
        let mut known = lock(&self.known);
        let was_required = known.required;
        let outcome = match read {
            Ok(state) if outdated(&state, &known) => return,
            Ok(state) => {
                let foreign = fresh.unwrap_or_else(|_known_before| known.foreign.clone());
                let index = Index::new(&state, &foreign, &known.index);
                known.required |= index.tokens > 0;
                let changed = (known.index.tokens, known.index.generation)
                    != (index.tokens, index.generation);
                known.foreign = foreign;
                known.index = Arc::new(index);
                Ok((known.index.tokens, changed))
            }
            Err(error) => Err(error),
        };
        known.stamps = seen;
        drop(known);
        if let Some(trouble) = trouble {
            log::warn!("the tokens of the file or variable known before stay: {trouble}");
        }
        match outcome {
            Err(error) => log::warn!("the tokens known before stay: {error}"),
            Ok((0, true)) if was_required && !self.door.oauth => {
                log::warn!("the last token is gone: everyone is refused until a restart");
            }
            Ok((count, true)) => log::info!("tokens were read again: {count}"),
            Ok((_, false)) => {}
        }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("sources", &self.sources)
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

fn stamps(sources: &TokenSources, store: &Store) -> Stamps {
    [Stamp::of(store.path()), sources.file.as_deref().and_then(Stamp::of)]
}

/// A use more or less in a list for people is worth no write.
const NOTE_AFTER: Duration = Duration::from_secs(300);
/// A revoked token works this much longer at most; a look costs two system calls.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;

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
            assert_eq!(authenticator.authenticate(bearer, true, None), Ok(Principal::Home));
            assert_eq!(authenticator.authenticate(bearer, false, None), Err(Denied::NotHome));
        }
    }

    #[test]
    fn with_tokens_everyone_needs_one_unless_home_is_open() {
        let folder = Folder::new("open");
        let laptop = Store::new(&folder.0).add("laptop", 0).unwrap();
        for (home_open, at_home) in [(false, Err(Denied::Missing)), (true, Ok("home".to_owned()))] {
            let authenticator = Authenticator::open(folder.sources(), home_open).unwrap();
            let ask = |bearer, home| name(authenticator.authenticate(bearer, home, None));
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
                .map(|token| authenticator.authenticate(Some(token), false, None).unwrap())
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
        assert_eq!(authenticator.authenticate(None, true, None), Ok(Principal::Home));
        later(&authenticator);
        assert_eq!(authenticator.authenticate(None, true, None), Err(Denied::Missing));
        assert!(authenticator.authenticate(Some(&laptop), false, None).is_ok());
        store.revoke("laptop").unwrap();
        later(&authenticator);
        assert_eq!(authenticator.authenticate(Some(&laptop), true, None), Err(Denied::Invalid));
        assert_eq!(authenticator.authenticate(None, true, None), Err(Denied::Missing));
        fs::remove_file(store.path()).unwrap();
        later(&authenticator);
        assert_eq!(authenticator.authenticate(None, true, None), Err(Denied::Missing));
    }

    #[test]
    fn a_token_file_that_is_gone_keeps_no_revocation_out() {
        let folder = Folder::new("gone");
        let store = Store::new(&folder.0);
        let laptop = store.add("laptop", 0).unwrap();
        let file = folder.0.join("tokens.txt");
        fs::write(&file, "phone-0123456789\n").unwrap();
        let sources = TokenSources { file: Some(file.clone()), ..folder.sources() };
        let authenticator = Authenticator::open(sources, false).unwrap();
        fs::remove_file(&file).unwrap();
        store.revoke("laptop").unwrap();
        later(&authenticator);
        assert_eq!(authenticator.authenticate(Some(&laptop), true, None), Err(Denied::Invalid));
        // Its own tokens stay until it can be read again.
        assert!(authenticator.authenticate(Some("phone-0123456789"), true, None).is_ok());
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
        assert!(authenticator.authenticate(Some(&laptop), false, None).is_ok());
        assert!(Authenticator::open(folder.sources(), false).is_err());
        crate::files::replace(store.path(), &good, crate::files::PRIVATE).unwrap();
        let phone = store.add("phone", 0).unwrap();
        later(&authenticator);
        assert!(authenticator.authenticate(Some(&phone), false, None).is_ok());
    }
}
