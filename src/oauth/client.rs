//! Who a client is. Registered ones carry what they registered in their id, signed, so that nothing
//! is kept of them and none is ever forgotten; others are known by a document of theirs or were made
//! by the owner.

use serde::{Deserialize, Serialize};

use super::Oauth;
use super::document;
use super::uri::is_same_redirect;
use crate::auth::KnownClient;

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Printable and short; what it calls itself.
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) secret: Secret,
}

/// What a client has to show at /token.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    /// Nothing.
    None,
    /// This.
    Derived(String),
    /// That of a client made by the owner.
    Known(KnownClient),
}

/// What an id says.
#[derive(Clone, Debug)]
pub(super) enum Identified {
    /// This client.
    Client(Client),
    /// A document that only its address tells of, not read yet.
    Document(String),
}

/// What was registered, as it stands in the id.
#[derive(Serialize, Deserialize)]
pub(super) struct Registered {
    #[serde(rename = "n")]
    pub(super) name: String,
    #[serde(rename = "r")]
    pub(super) redirect_uris: Vec<String>,
    /// Whether it has a secret.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) secret: bool,
    #[serde(rename = "t")]
    pub(super) issued_s: i64,
}

impl Client {
    pub(super) fn redirects_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| is_same_redirect(uri, registered))
    }
}

impl Oauth {
    /// Who an id names. `None`: nobody.
    pub(super) fn identify(&self, id: &str) -> Option<Identified> {
        if let Some(sealed) = id.strip_prefix(REGISTERED) {
            let payload = self.ground.seal.verify(CLIENT, sealed)?;
            let registered: Registered = serde_json::from_slice(&payload).ok()?;
            return Some(Identified::Client(Client {
                name: registered.name,
                redirect_uris: registered.redirect_uris,
                secret: match registered.secret {
                    true => Secret::Derived(self.derived_secret(id)),
                    false => Secret::None,
                },
            }));
        }
        if id.starts_with("https://") {
            return document::pinned(id)
                .map(Identified::Client)
                .or_else(|| document::is_address(id).then(|| Identified::Document(id.to_owned())));
        }
        let known = self.ground.authenticator.client(id)?;
        Some(Identified::Client(Client {
            name: known.name.clone(),
            redirect_uris: known.redirect_uris.clone(),
            secret: Secret::Known(known),
        }))
    }

    pub(super) fn sealed_id(&self, registered: &Registered) -> Option<String> {
        let payload = serde_json::to_vec(registered).ok()?;
        Some(format!("{REGISTERED}{}", self.ground.seal.sign(CLIENT, &payload)))
    }

    /// Follows from the id, so that it is kept nowhere.
    pub(super) fn derived_secret(&self, id: &str) -> String {
        self.ground.seal.tag("oauth-client-secret", id.as_bytes())
    }
}

/// A name that is safe to show: short, in one line, nothing that turns text around.
pub(super) fn printable(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}');
    let name: String =
        name.chars().filter(|c| !c.is_control() && !turns(*c)).take(NAME_CHARS_MAX).collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() { "a client without a name".to_owned() } else { name }
}

/// Where codes for Claude's connectors are sent.
pub const CLAUDE_REDIRECTS: [&str; 2] =
    ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"];

const REGISTERED: &str = "dc1.";
const CLIENT: &str = "oauth-client";
const NAME_CHARS_MAX: usize = 64;
