//! The authorization server for one owner (OAuth 2.1): who a client is, the page on which the owner
//! allows it in, and the tokens that come of it. Clients, logins and codes are values that are signed
//! or forgotten; what is granted is kept by `auth`.
//!
//! It exists under the names of the public URLs alone; under any other Host there is none.

mod authorize;
mod client;
mod codes;
mod document;
mod fetch;
mod form;
mod login;
mod metadata;
mod page;
mod proof;
mod register;
mod token;
mod uri;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use crate::auth::{Authenticator, Clock, Deed, Interfaces, Lifetimes, Throttle};
use crate::edge::{Access, Exchange, Handler, Head, HeaderText, Method, Reply, Route, Site};
use crate::seal::Seal;

use codes::Codes;
use document::Documents;
use login::Spent;
use proof::Guard;

pub use client::CLAUDE_REDIRECTS;
pub use fetch::{Channel, Net, WideNet};
pub use uri::is_redirect;

/// How the owner proves himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// With his passphrase.
    Passphrase,
    /// With a code that is said where the server runs.
    Console,
}

/// What this room needs to know.
#[derive(Clone, Copy, Debug)]
pub struct OauthSettings {
    /// How the owner proves himself.
    pub proof: Proof,
    /// How long tokens live.
    pub lifetimes: Lifetimes,
    /// The number of [`oauth_routes`]' first in the gate's list.
    pub first_route: usize,
}

/// What it is built over.
#[derive(Clone)]
pub struct OauthGround {
    /// Keeps what is granted.
    pub authenticator: Arc<Authenticator>,
    /// Signs what clients keep for us.
    pub seal: Arc<Seal>,
    /// The public URLs.
    pub sites: Vec<Arc<Site>>,
    /// How documents of clients are reached.
    pub net: Arc<dyn Net>,
    /// Where no document is fetched from besides.
    pub interfaces: Arc<Interfaces>,
    /// Says something to the owner where the server runs.
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
    /// The time.
    pub clock: Clock,
}

/// The authorization server.
pub struct Oauth {
    settings: OauthSettings,
    ground: OauthGround,
    throttle: Throttle,
    guard: Guard,
    codes: Codes,
    spent: Spent,
    documents: Documents,
}

/// A request to it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method, path, query and fields.
    pub head: &'a Head,
    /// The whole body.
    pub body: &'a [u8],
    /// The public URL by whose name it came.
    pub site: &'a Site,
    /// The client's address.
    pub client: IpAddr,
    /// Whether it came from a program on this machine.
    pub here: bool,
    /// Whether the client is at home.
    pub house: bool,
}

/// What answers a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    WellKnown,
    Authorize,
    Token,
    Register,
    Revoke,
}

const WELL_KNOWN: &str = "/.well-known/";
const ENDPOINTS: [(Endpoint, Route); 5] = [
    (Endpoint::WellKnown, Route { path: WELL_KNOWN, allow: "GET, HEAD, OPTIONS", ..OPEN }),
    (
        Endpoint::Authorize,
        Route {
            path: "/authorize",
            allow: "GET, HEAD, POST, OPTIONS",
            // A form of another page must not reach it.
            access: Access::Public { any_origin: false },
            ..OPEN
        },
    ),
    (Endpoint::Token, Route { path: "/token", ..OPEN }),
    (Endpoint::Register, Route { path: "/register", ..OPEN }),
    (Endpoint::Revoke, Route { path: "/revoke", ..OPEN }),
];

/// A call from anywhere, answered on its client's own thread: it may hash a passphrase or write to
/// the disk.
const OPEN: Route = Route {
    path: "",
    allow: "POST, OPTIONS",
    access: Access::Public { any_origin: true },
    streams: false,
    alone: true,
    resource: "",
};

/// The routes, for the gate; they follow all others.
pub fn oauth_routes() -> impl Iterator<Item = Route> {
    ENDPOINTS.iter().map(|(_, route)| *route)
}

impl Oauth {
    /// An authorization server over what `server` built.
    #[must_use]
    pub fn new(settings: OauthSettings, ground: OauthGround) -> Self {
        Self {
            settings,
            ground,
            throttle: Throttle::new(),
            guard: Guard::default(),
            codes: Codes::default(),
            spent: Spent::default(),
            documents: Documents::default(),
        }
    }

    /// Answers a request to one of the routes, by its number among them.
    #[must_use]
    pub fn answer(&self, route: usize, asked: &Asked<'_>) -> Reply {
        let endpoint = ENDPOINTS.get(route).map(|(endpoint, _)| *endpoint);
        let reply = match (endpoint, asked.head.method) {
            (Some(Endpoint::WellKnown), _) => {
                return metadata::answer(&asked.head.path, asked.site);
            }
            (Some(Endpoint::Authorize), Method::Post) => self.decide(asked),
            (Some(Endpoint::Authorize), _) => self.ask_owner(asked),
            (Some(Endpoint::Token), _) => self.token(asked),
            (Some(Endpoint::Register), _) => self.register(asked),
            (Some(Endpoint::Revoke), _) => self.revoke(asked),
            (None, _) => problem(404, "not_found", "there is nothing here"),
        };
        reply.with("Cache-Control", "no-store")
    }

    fn now_s(&self) -> i64 {
        (self.ground.clock)()
    }

    /// Errors: this address did so too often.
    fn take(&self, asked: &Asked<'_>, deed: Deed) -> Result<(), u64> {
        self.throttle.take(asked.client, deed, self.now_s())
    }
}

impl Handler for Oauth {
    fn handle(&self, exchange: Exchange) {
        let admitted = Arc::clone(&exchange.admitted);
        let reply = match (&admitted.site, admitted.route.checked_sub(self.settings.first_route)) {
            (Some(site), Some(route)) => self.answer(
                route,
                &Asked {
                    head: &admitted.head,
                    body: &exchange.body,
                    site,
                    client: admitted.client,
                    here: admitted.here,
                    house: admitted.house,
                },
            ),
            // The gate lets nobody pass to these routes without a site.
            _ => problem(404, "not_found", "there is nothing here"),
        };
        exchange.respond(reply);
    }
}

impl fmt::Debug for OauthGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthGround").field("sites", &self.sites).finish_non_exhaustive()
    }
}

impl fmt::Debug for Oauth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oauth").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An error in the words of OAuth (RFC 6749, section 5.2).
fn problem(status: u16, code: &str, what: &str) -> Reply {
    let body = json!({ "error": code, "error_description": what });
    Reply::json(status, body.to_string().into_bytes())
}

/// Too often; the seconds to wait.
fn too_often(wait_s: u64) -> Reply {
    let reply = problem(429, "too_many_requests", "too often; try again later");
    with_field(reply, "Retry-After", &wait_s.to_string())
}

fn with_field(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    reply.fields.extend(HeaderText::new(value).map(|value| (name, value)));
    reply
}

/// Whether the body is of this media type, whatever its parameters.
fn has_media_type(head: &Head, wanted: &str) -> bool {
    let media_type = head.field("content-type").and_then(|value| value.split(';').next());
    media_type.is_some_and(|media| media.trim().eq_ignore_ascii_case(wanted))
}

const FORM: &str = "application/x-www-form-urlencoded";
