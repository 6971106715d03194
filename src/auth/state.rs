//! What is kept of those who may come in: tokens, grants, clients, the owner's passphrase. Secrets
//! are digests only. Pure values; `store` keeps them on disk.

use serde::{Deserialize, Serialize};

use super::error::AuthError;
use super::token::{Digest, TokenId};

/// Everything in `tokens.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Of the file's form.
    pub(super) v: u32,
    /// One more with every change, so that an older state never replaces a newer one in memory.
    #[serde(default)]
    pub generation: u64,
    /// The owner's passphrase as an argon2id string (PHC); none until one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// Static tokens.
    pub tokens: Vec<Record>,
    /// What the owner granted over OAuth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Clients that the owner made beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<KnownClient>,
}

/// One static token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Unique in the store; `[A-Za-z0-9._-]{1,64}`.
    pub name: String,
    #[serde(rename = "sha256")]
    pub(super) digest: Digest,
    /// When it was made, in seconds since 1970.
    pub created_s: i64,
    /// When it ends; never where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<i64>,
    /// When it was last used, to within some minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_s: Option<i64>,
}

impl Record {
    /// Tells it apart in logs.
    #[must_use]
    pub fn id(&self) -> TokenId {
        self.digest.id()
    }
}

/// A client's access that the owner granted: one login, with the tokens that came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Tells it apart, also after a restart.
    pub id: TokenId,
    /// What the client calls itself; printable.
    pub name: String,
    /// Where its codes are sent: a host, or a scheme of its own.
    pub redirect: String,
    /// The client's id, as a digest: it may be long.
    pub(super) client: Digest,
    /// The public URL for which it was granted.
    pub audience: String,
    /// What it may do.
    pub scope: String,
    /// When it was granted, in seconds since 1970.
    pub created_s: i64,
    /// When a token of it was last used or refreshed, to within some minutes.
    pub used_s: i64,
    pub(super) access: Vec<Access>,
    pub(super) refresh: Vec<Refresh>,
}

/// An access token that works until its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Access {
    pub(super) sha256: Digest,
    pub(super) until_s: i64,
}

/// A refresh token, also after it was used once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Refresh {
    pub(super) sha256: Digest,
    pub(super) issued_s: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rotated_s: Option<i64>,
}

/// A client that the owner made with `client add`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownClient {
    /// What it sends as `client_id`.
    pub id: String,
    /// What the owner called it; unique, like a token's.
    pub name: String,
    pub(super) secret: Digest,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created_s: i64,
}

impl KnownClient {
    /// Whether this is its secret; takes a time that tells nothing of where it differs.
    #[must_use]
    pub fn has_secret(&self, secret: &str) -> bool {
        self.secret.equals(&Digest::of(secret))
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            v: VERSION,
            generation: 0,
            passphrase: None,
            tokens: Vec::new(),
            grants: Vec::new(),
            clients: Vec::new(),
        }
    }
}

impl State {
    /// Keeps a new client and its secret's digest. Errors: the name is unfit or taken.
    pub(super) fn add_client(&mut self, client: KnownClient) -> Result<(), AuthError> {
        if self.clients.iter().any(|known| known.name == client.name) {
            return Err(AuthError::Taken("client", client.name));
        }
        if self.clients.len() >= CLIENTS_MAX {
            return Err(AuthError::Full("clients", CLIENTS_MAX));
        }
        self.clients.push(client);
        Ok(())
    }

    /// Takes a client away, with everything that was granted to it. Errors: there is none.
    pub fn remove_client(&mut self, name: &str) -> Result<(), AuthError> {
        let Some(place) = self.clients.iter().position(|client| client.name == name) else {
            let known = self.clients.iter().map(|client| client.name.clone()).collect();
            return Err(AuthError::Unknown("client", name.to_owned(), known));
        };
        let client = Digest::of(&self.clients.remove(place).id);
        self.grants.retain(|grant| !grant.client.equals(&client));
        Ok(())
    }

    /// Takes away the grant with this id, or with the beginning of one if it is the only one.
    /// Errors: there is none, or more than one.
    pub fn revoke_grant(&mut self, id: &str) -> Result<Grant, AuthError> {
        let fits = |grant: &Grant| !id.is_empty() && grant.id.to_string().starts_with(id);
        let mut places = self.grants.iter().enumerate().filter(|(_, grant)| fits(grant));
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Ok(self.grants.remove(place)),
            _ => {
                let known = self.grants.iter().map(|grant| grant.id.to_string()).collect();
                Err(AuthError::Unknown("grant", id.to_owned(), known))
            }
        }
    }
}

/// Of the file's form. 1 had tokens alone, and is read still.
pub(super) const VERSION: u32 = 2;
/// More than anybody types.
const CLIENTS_MAX: usize = 64;
