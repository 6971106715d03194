//! Who holds which bearer: everything that is known, by digest, so that a question costs one hash.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::authenticator::{Principal, TokenSources};
use super::error::AuthError;
use super::state::{KnownClient, State};
use super::token::{Digest, TokenId, is_fit};
use crate::files::Problem;

/// Every bearer.
#[derive(Default)]
pub(super) struct Index {
    /// Of the state that this was made of.
    pub(super) generation: u64,
    holders: HashMap<Digest, Holder>,
    /// Every token and grant with when it ends, and when it was last used in this process.
    alive: HashMap<TokenId, Life>,
    /// Refresh tokens that may still say something, used or not.
    refreshes: HashSet<Digest>,
    /// Clients that the owner made.
    pub(super) clients: Vec<KnownClient>,
    /// The owner's passphrase, hashed.
    pub(super) passphrase: Option<Arc<str>>,
    /// How many static tokens there are.
    pub(super) tokens: usize,
}

/// What a bearer stands for.
pub(super) struct Holder {
    pub(super) principal: Principal,
    until_s: Option<i64>,
    /// The public URL that it is for; any for static tokens.
    pub(super) audience: Option<Arc<str>>,
    pub(super) scope_fits: bool,
    used_s: Arc<AtomicI64>,
}

struct Life {
    until_s: Option<i64>,
    used_s: Arc<AtomicI64>,
}

impl Index {
    /// `foreign`: tokens that are not of the store. Last uses are taken over from `before`.
    pub(super) fn new(state: &State, foreign: &[Foreign], before: &Self) -> Self {
        let passphrase = state.passphrase.as_deref().map(Arc::from);
        let clients = state.clients.clone();
        let generation = state.generation;
        let mut index = Self { generation, passphrase, clients, ..Self::default() };
        for record in &state.tokens {
            let life = index.live(record.id(), record.expires_s, record.used_s, before);
            let name = record.name.as_str().into();
            index.hold(record.digest, Principal::Token { id: record.id(), name }, life);
        }
        for Foreign { digest, name } in foreign {
            let life = index.live(digest.id(), None, None, before);
            index.hold(*digest, Principal::Token { id: digest.id(), name: Arc::clone(name) }, life);
        }
        index.tokens = index.holders.len();
        for grant in &state.grants {
            let life = index.live(grant.id, None, Some(grant.used_s), before);
            let audience: Arc<str> = grant.audience.as_str().into();
            let scope_fits = grant.scope.split(' ').any(|scope| scope == SCOPE);
            index.refreshes.extend(grant.refresh.iter().map(|refresh| refresh.sha256));
            for access in &grant.access {
                let holder = Holder {
                    principal: Principal::Grant(grant.id),
                    until_s: Some(access.until_s),
                    audience: Some(Arc::clone(&audience)),
                    scope_fits,
                    used_s: Arc::clone(&life.1),
                };
                index.holders.insert(access.sha256, holder);
            }
        }
        index
    }

    /// Whom a bearer belongs to, now.
    pub(super) fn find(&self, bearer: &str, now_s: i64) -> Option<&Holder> {
        let holder = self.holders.get(&Digest::of(bearer))?;
        if holder.until_s.is_some_and(|until_s| now_s >= until_s) {
            return None;
        }
        holder.used_s.store(now_s, Ordering::Relaxed);
        Some(holder)
    }

    /// Whether a token of a grant is known, of whatever kind and age.
    pub(super) fn issued(&self, token: &str) -> bool {
        let digest = Digest::of(token);
        self.refreshes.contains(&digest) || self.holders.contains_key(&digest)
    }

    /// Whether a token or grant has not ended.
    pub(super) fn is_alive(&self, id: &TokenId, now_s: i64) -> bool {
        let life = self.alive.get(id);
        life.is_some_and(|life| life.until_s.is_none_or(|until_s| now_s < until_s))
    }

    /// When it was last used, if this process knows of it.
    pub(super) fn used_s(&self, id: &TokenId) -> i64 {
        self.alive.get(id).map_or(0, |life| life.used_s.load(Ordering::Relaxed))
    }

    fn live(
        &mut self,
        id: TokenId,
        until_s: Option<i64>,
        used_s: Option<i64>,
        before: &Self,
    ) -> (Option<i64>, Arc<AtomicI64>) {
        let known = before.alive.get(&id).map(|life| Arc::clone(&life.used_s));
        let used = known.unwrap_or_default();
        used.fetch_max(used_s.unwrap_or(0), Ordering::Relaxed);
        self.alive.insert(id, Life { until_s, used_s: Arc::clone(&used) });
        (until_s, used)
    }

    fn hold(
        &mut self,
        digest: Digest,
        principal: Principal,
        (until_s, used_s): (Option<i64>, Arc<AtomicI64>),
    ) {
        let holder = Holder { principal, until_s, audience: None, scope_fits: true, used_s };
        self.holders.insert(digest, holder);
    }
}

/// A token that is not of the store.
pub(super) struct Foreign {
    digest: Digest,
    name: Arc<str>,
}

/// The tokens of the file and of the environment.
/// Errors: a source that is there and cannot be used.
pub(super) fn foreign(sources: &TokenSources) -> Result<Arc<[Foreign]>, AuthError> {
    let mut tokens = match &sources.file {
        Some(path) => read_file(path)?,
        None => Vec::new(),
    };
    if let Some(value) = &sources.value {
        tokens.push(token("MCP_TOKEN".to_owned(), value)?);
    }
    Ok(tokens.into())
}

fn read_file(path: &Path) -> Result<Vec<Foreign>, AuthError> {
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

fn token(name: String, text: &str) -> Result<Foreign, AuthError> {
    if !is_fit(text) {
        return Err(AuthError::Unfit(name));
    }
    Ok(Foreign { digest: Digest::of(text), name: name.into() })
}

/// The one thing that can be granted: to use the server.
pub const SCOPE: &str = "mcp";
