//! Grants over OAuth: issue, refresh, revoke, as pure changes of the state at a time. The wire
//! around them is `oauth`'s.

use super::error::AuthError;
use super::state::{Access, Grant, Refresh, State};
use super::token::{Digest, TokenId, new_secret};

/// How long tokens of grants live; seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An access token.
    pub access_s: i64,
    /// How long a refresh token that was used once works again: several processes of one client
    /// share it and refresh at the same time.
    pub grace_s: i64,
}

/// What a new grant is for.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// What the client calls itself.
    pub name: String,
    /// Its id.
    pub client_id: String,
    /// Where its codes are sent.
    pub redirect: String,
    /// The public URL.
    pub audience: String,
    /// What it may do.
    pub scope: String,
}

/// Tokens that were just made; nowhere kept in clear.
#[derive(Clone)]
pub struct Issued {
    /// Whose they are.
    pub grant: TokenId,
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// Seconds until the access token ends.
    pub expires_in: i64,
    /// What they are good for.
    pub scope: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// What became of a refresh token.
#[derive(Debug)]
pub enum Refreshed {
    /// It was exchanged for these.
    Issued(Issued),
    /// It was used long ago and is in other hands now: its grant is gone.
    Reused(TokenId),
}

/// Why a refresh token gives nothing.
#[derive(Debug)]
pub enum NoRefresh {
    /// It is unknown, too old, another client's or another audience's.
    Dead,
    /// The public URL asked for is not the one it was granted for.
    Target,
    /// The state cannot be kept.
    State(AuthError),
}

impl From<AuthError> for NoRefresh {
    fn from(error: AuthError) -> Self {
        Self::State(error)
    }
}

impl State {
    /// Makes a grant with its first tokens. At [`GRANTS_MAX`] the one idle longest goes.
    /// Errors: the system has no random bytes.
    pub fn grant(
        &mut self,
        new: NewGrant,
        times: Lifetimes,
        now_s: i64,
    ) -> Result<Issued, AuthError> {
        self.grants.retain(|grant| !grant.has_ended(now_s));
        while self.grants.len() >= GRANTS_MAX {
            let idle = self.grants.iter().enumerate().min_by_key(|(_, grant)| grant.used_s);
            let Some((place, _)) = idle else { break };
            self.grants.remove(place);
        }
        let mut grant = Grant {
            id: TokenId::random()?,
            name: new.name,
            redirect: new.redirect,
            client: Digest::of(&new.client_id),
            audience: new.audience,
            scope: new.scope,
            created_s: now_s,
            used_s: now_s,
            access: Vec::new(),
            refresh: Vec::new(),
        };
        let issued = grant.issue(times, now_s)?;
        self.grants.push(grant);
        Ok(issued)
    }

    /// Exchanges a refresh token. `audience`: what the client named, if it did.
    /// Errors: [`NoRefresh`]; the state is as it was then.
    pub fn refresh(
        &mut self,
        token: &str,
        client_id: &str,
        audience: Option<&str>,
        times: Lifetimes,
        now_s: i64,
    ) -> Result<Refreshed, NoRefresh> {
        let digest = Digest::of(token);
        let holds = |grant: &Grant| grant.refresh.iter().any(|it| it.sha256 == digest);
        let place = self.grants.iter().position(holds).ok_or(NoRefresh::Dead)?;
        let grant = self.grants.get_mut(place).ok_or(NoRefresh::Dead)?;
        if !grant.client.equals(&Digest::of(client_id)) || grant.has_ended(now_s) {
            return Err(NoRefresh::Dead);
        }
        if audience.is_some_and(|audience| audience != grant.audience) {
            return Err(NoRefresh::Target);
        }
        let held = grant.refresh.iter_mut().find(|it| it.sha256 == digest);
        let held = held.ok_or(NoRefresh::Dead)?;
        match held.rotated_s {
            Some(rotated_s) if now_s.saturating_sub(rotated_s) >= times.grace_s => {
                let id = grant.id;
                self.grants.remove(place);
                return Ok(Refreshed::Reused(id));
            }
            Some(_) => {}
            None if now_s.saturating_sub(held.issued_s) > REFRESH_IDLE_S_MAX => {
                return Err(NoRefresh::Dead);
            }
            None => held.rotated_s = Some(now_s),
        }
        grant.used_s = now_s;
        Ok(Refreshed::Issued(grant.issue(times, now_s)?))
    }

    /// Revokes the grant that a client's refresh token belongs to, or the one access token alone
    /// (RFC 7009, section 2.1). Says whether anything was there to revoke.
    pub fn revoke_token(&mut self, token: &str, client_id: &str) -> bool {
        let (digest, client) = (Digest::of(token), Digest::of(client_id));
        let before = self.grants.len();
        let holds = |grant: &Grant| grant.refresh.iter().any(|it| it.sha256 == digest);
        self.grants.retain(|grant| !(grant.client.equals(&client) && holds(grant)));
        let mut gone = self.grants.len() < before;
        for grant in self.grants.iter_mut().filter(|grant| grant.client.equals(&client)) {
            let held = grant.access.len();
            grant.access.retain(|it| it.sha256 != digest);
            gone |= grant.access.len() < held;
        }
        gone
    }
}

impl Grant {
    /// How many refresh tokens of it have not been used.
    #[must_use]
    pub fn leaves(&self) -> usize {
        self.refresh.iter().filter(|it| it.rotated_s.is_none()).count()
    }

    fn has_ended(&self, now_s: i64) -> bool {
        now_s.saturating_sub(self.created_s) > GRANT_S_MAX
            || now_s.saturating_sub(self.used_s) > REFRESH_IDLE_S_MAX
    }

    fn issue(&mut self, times: Lifetimes, now_s: i64) -> Result<Issued, AuthError> {
        let (access, refresh) = (new_secret("mcpa_")?, new_secret("mcpr_")?);
        self.access.retain(|it| it.until_s > now_s);
        keep_newest(&mut self.access, ACCESS_MAX - 1, |_| true);
        let until_s = now_s + times.access_s + LEEWAY_S;
        self.access.push(Access { sha256: Digest::of(&access), until_s });
        keep_newest(&mut self.refresh, LEAVES_MAX - 1, |it| it.rotated_s.is_none());
        keep_newest(&mut self.refresh, ROTATED_MAX, |it| it.rotated_s.is_some());
        self.refresh.push(Refresh {
            sha256: Digest::of(&refresh),
            issued_s: now_s,
            rotated_s: None,
        });
        let expires_in = times.access_s;
        Ok(Issued { grant: self.id, access, refresh, expires_in, scope: self.scope.clone() })
    }
}

/// Drops the oldest of those that `count`, until `max` of them are left.
fn keep_newest<T>(list: &mut Vec<T>, max: usize, counts: impl Fn(&T) -> bool) {
    let mut surplus = list.iter().filter(|it| counts(it)).count().saturating_sub(max);
    list.retain(|it| {
        let drops = surplus > 0 && counts(it);
        surplus -= usize::from(drops);
        !drops
    });
}

/// A household has a handful of clients, each with a few logins.
pub const GRANTS_MAX: usize = 256;
/// An access token works this much longer than its client is told: one that refreshes when its own
/// clock says so is not refused just before, which some clients answer with a whole new login.
const LEEWAY_S: i64 = 10;
/// Access tokens of one grant that work at the same time: one a process.
const ACCESS_MAX: usize = 16;
/// Refresh tokens of one grant that were not used: one a process that refreshed on its own.
const LEAVES_MAX: usize = 8;
/// Used refresh tokens of one grant that are still recognized: ten days at three a day.
const ROTATED_MAX: usize = 32;
/// A refresh token, and a grant, that nobody uses: 60 days.
const REFRESH_IDLE_S_MAX: i64 = 60 * 86_400;
/// A grant as a whole: a year, then the owner is asked again.
const GRANT_S_MAX: i64 = 365 * 86_400;
