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
        (login.until_s > now_s && !self.spent.has(&login.nonce, now_s)).then_some(login)
    }
}

/// Logins that were answered.
#[derive(Debug, Default)]
pub(super) struct Spent(Mutex<HashMap<String, i64>>);

impl Spent {
    fn has(&self, nonce: &str, now_s: i64) -> bool {
        lock(&self.0).get(nonce).is_some_and(|until_s| *until_s > now_s)
    }

    /// Notes an answer; `false` when it was answered before.
    pub(super) fn spend(&self, login: &Login, now_s: i64) -> bool {
        let mut spent = lock(&self.0);
        spent.retain(|_, until_s| *until_s > now_s);
        if spent.len() >= SPENT_MAX {
            // Refusing needs no proof, so strangers may fill this; an allowed login needs the proof
            // again.
            let oldest = spent.iter().min_by_key(|(_, until_s)| **until_s);
            let oldest = oldest.map(|(nonce, _)| nonce.clone());
            oldest.and_then(|nonce| spent.remove(&nonce));
        }
        spent.insert(login.nonce.clone(), login.until_s).is_none()
    }
}

const LOGIN: &str = "oauth-login";
/// From the page to its answer: the owner may have to look for the passphrase.
pub(super) const LOGIN_S_MAX: i64 = 600;
const SPENT_MAX: usize = 1024;
