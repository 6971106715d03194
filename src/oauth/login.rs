//! A login under way: what a client asked for, checked, on its way through the owner's browser and
//! back. It is signed and not kept, so that a flood of beginnings costs nothing, pushes none out, and
//! none is lost in a restart.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::Oauth;
use super::form::encoded;
use super::uri::Uri;
use crate::worker::lock;

/// A login under way. The names are short since it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Login {
    /// Tells it apart; not to be guessed.
    #[serde(rename = "k")]
    pub(super) nonce: String,
    #[serde(rename = "i")]
    pub(super) client_id: String,
    #[serde(rename = "n")]
    pub(super) name: String,
    #[serde(rename = "r")]
    pub(super) redirect_uri: String,
    /// As it was sent, still encoded.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    #[serde(rename = "c")]
    pub(super) challenge: String,
    #[serde(rename = "u")]
    pub(super) resource: String,
    #[serde(rename = "a")]
    pub(super) audience: String,
    #[serde(rename = "x")]
    pub(super) until_s: i64,
    #[serde(rename = "d", default)]
    pub(super) stage: Stage,
}

/// How far a login is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The client is known; the owner has to prove himself.
    #[default]
    Known,
    /// Of the client nothing is known but an address, and nothing may be sent there yet.
    Unread,
    /// The owner has proved himself, and what the client's document says is shown to him.
    Proved,
}

impl Login {
    /// By which its steps are found in the log.
    pub(super) fn short(&self) -> &str {
        self.nonce.get(..8).unwrap_or_default()
    }

    /// What a person is shown of where the answer goes.
    pub(super) fn redirect_shown(&self) -> String {
        Uri::parse(&self.redirect_uri).map_or_else(|| "?".to_owned(), |uri| uri.shown())
    }

    pub(super) fn is_loopback(&self) -> bool {
        Uri::parse(&self.redirect_uri).is_some_and(|uri| uri.is_loopback())
    }

    /// Where the browser goes with an answer: `code` or `error` first, `state` as it came, and who
    /// answers (RFC 9207).
    pub(super) fn answer(&self, name: &str, value: &str, issuer: &str) -> String {
        let joint = if self.redirect_uri.contains('?') { '&' } else { '?' };
        let mut url = format!("{}{joint}{name}={}", self.redirect_uri, encoded(value));
        if let Some(state) = &self.state {
            url.push_str("&state=");
            url.push_str(state);
        }
        url.push_str("&iss=");
        url.push_str(&encoded(issuer));
        url
    }
}

impl Oauth {
    pub(super) fn sealed_login(&self, login: &Login) -> String {
        let payload = serde_json::to_vec(login).unwrap_or_default();
        self.ground.seal.sign(LOGIN, &payload)
    }

    /// A login that we sealed, that is not over and was not answered.
    pub(super) fn opened_login(&self, sealed: &str) -> Option<Login> {
        let payload = self.ground.seal.verify(LOGIN, sealed)?;
        let login: Login = serde_json::from_slice(&payload).ok()?;
        let now_s = self.now_s();
        (login.until_s > now_s && self.spent.may_answer(&login)).then_some(login)
    }
}

/// Which logins may be answered still. Whatever is forgotten here has to be proved again.
#[derive(Debug, Default)]
pub(super) struct Spent(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    /// Answered ones: whether allowed, and when they end.
    answered: HashMap<String, (bool, i64)>,
    /// Those that the owner has proved himself for and that wait for his second answer, with when
    /// they end.
    proved: Vec<(String, i64)>,
}

impl Pages {
    fn has_proved(&self, login: &Login) -> bool {
        self.proved.iter().any(|(nonce, _)| *nonce == login.nonce)
    }
}

impl Spent {
    fn may_answer(&self, login: &Login) -> bool {
        let pages = lock(&self.0);
        !pages.answered.contains_key(&login.nonce)
            && (login.stage != Stage::Proved || pages.has_proved(login))
    }

    /// Notes that the owner has proved himself; `false` when it was answered meanwhile.
    pub(super) fn prove(&self, login: &Login, now_s: i64) -> bool {
        let mut pages = lock(&self.0);
        pages.proved.retain(|(nonce, until_s)| *until_s > now_s && *nonce != login.nonce);
        if pages.proved.len() >= PROVED_MAX {
            pages.proved.remove(0);
        }
        let fresh = !pages.answered.contains_key(&login.nonce);
        if fresh {
            pages.proved.push((login.nonce.clone(), login.until_s));
        }
        fresh
    }

    /// Notes an answer; `false` when it was answered before.
    pub(super) fn spend(&self, login: &Login, allowed: bool, now_s: i64) -> bool {
        let mut pages = lock(&self.0);
        pages.answered.retain(|_, (_, until_s)| *until_s > now_s);
        if pages.answered.len() >= ANSWERED_MAX {
            // Refusing needs no proof, so strangers may fill this; theirs go first.
            let oldest = pages.answered.iter().min_by_key(|(_, answer)| **answer);
            let oldest = oldest.map(|(nonce, _)| nonce.clone());
            oldest.and_then(|nonce| pages.answered.remove(&nonce));
        }
        let proved = pages.has_proved(login);
        pages.proved.retain(|(nonce, _)| *nonce != login.nonce);
        let fresh = pages.answered.insert(login.nonce.clone(), (allowed, login.until_s)).is_none();
        fresh && (proved || login.stage != Stage::Proved)
    }
}

const LOGIN: &str = "oauth-login";
/// From the page to its answer: the owner may have to look for the passphrase.
pub(super) const LOGIN_S_MAX: i64 = 600;
const ANSWERED_MAX: usize = 1024;
/// Only the owner makes them.
const PROVED_MAX: usize = 64;
