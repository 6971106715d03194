//! Sockets and HTTP: from the listener to an admitted exchange, and its reply back.
//!
//! Knows no JSON-RPC and no MCP. The real sockets belong to `front`; tiny_http stands behind it
//! on a Unix socket and parses only what the front wrote.

mod bind;
mod body;
mod budget;
mod chunked;
mod connections;
mod cors;
mod error;
mod exchange;
mod front;
mod gate;
mod head;
mod http;
mod inner;
mod listen;
mod minder;
mod pending;
mod relay;
mod reply;
mod site;
mod slot;
mod stream;
mod streaming;
mod tls;
mod wire;

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::auth::{Authenticator, Principal};
use crate::cancel::{Cancel, Reason};

use cors::Grant;
use slot::Slot;
use wire::Outside;

pub use bind::{ListenError, bind};
pub use chunked::Decoder;
pub use cors::Cors;
pub use error::{Refusal, reason_phrase};
pub use exchange::Exchange;
pub use gate::{Access, Admission, Policy, Route, admit_head};
pub use head::{FIELDS_MAX, Framing, Head, Method, parse};
pub use http::WORKERS;
pub use listen::{Edge, EdgeCounts, Listening};
pub use site::{RESOURCE_METADATA, Site};
pub use stream::{Bell, EventSource, Pull, Work};
pub use tls::server_config;

/// The limits and waits of this room; each is explained where they are all listed, in `config`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "documented once, on config::Limits")]
pub struct EdgeLimits {
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub connections_per_loopback_max: usize,
    pub handshake_ms_max: u64,
    pub head_bytes_max: usize,
    pub head_ms_max: u64,
    pub body_bytes_max: usize,
    pub body_ms_max: u64,
    pub bodies_bytes_max: usize,
    pub reply_bytes_max: usize,
    pub replies_bytes_max: usize,
    pub write_ms_max: u64,
    pub keep_alive_ms_max: u64,
}

/// What answers an admitted exchange.
pub trait Handler: Send + Sync + 'static {
    /// Answers it, now or from another thread; an exchange that is dropped unanswered gets a 500.
    /// Must not block for long where the route is not [`Route::alone`]: then it runs on one of a few
    /// threads that serve every such request. Where it is, it blocks its own client alone, whom
    /// [`Admitted::look`] watches meanwhile.
    fn handle(&self, exchange: Exchange);
}

/// What the front knows of an exchange that it let pass.
#[derive(Debug)]
pub struct Admitted {
    /// The route's number in [`Policy::routes`].
    pub route: usize,
    /// Who asks; `None` only on open routes.
    pub principal: Option<Principal>,
    /// The address at the other end of the connection.
    pub peer: SocketAddr,
    /// The client's address, as a trusted proxy tells it.
    pub client: IpAddr,
    /// Whether it came from a program on this machine, through no proxy or tunnel.
    pub here: bool,
    /// Whether the client is at home, and no proxy of the owner's.
    pub house: bool,
    /// The public URL by whose very name it came.
    pub site: Option<Arc<Site>>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The request, canonical; without `Authorization`, which ended its work at the gate, but on
    /// routes with [`Access::Public`].
    pub head: Head,
    /// Fires with `ClientLeft` when the client's connection is gone before the reply is out, with
    /// `SessionEnded` when what let the client in was revoked.
    pub gone: Cancel,
    /// Fire it to end the client's connection at once.
    pub hang_up: Cancel,
    /// What paths that are announced to this client must begin with.
    base: String,
    /// What every reply must tell the page that asks, if one does.
    grant: Option<Grant>,
    /// [`HALF_CLOSED`] and [`COUNTS`].
    half_close: AtomicU8,
    /// The client's end, to be looked at and nothing else.
    socket: Arc<TcpStream>,
    /// Where the answer is left.
    slot: Slot,
    /// Who knows whether the principal still stands.
    authenticator: Arc<Authenticator>,
}

/// The client has closed its sending side.
const HALF_CLOSED: u8 = 1;
/// A client that does so has left.
const COUNTS: u8 = 2;

impl Admitted {
    /// What a path that is announced to this client must begin with: the public URL's path where the
    /// request came by it, else nothing.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// From now on a client that closes its sending side has left, also when it has done so before
    /// (2026-07-28, where a closed connection cancels its request): `gone` fires, and an event stream
    /// ends. Only plain clients can be told from those that wait on; under TLS an end is a leave
    /// anyway.
    pub fn half_close_is_leaving(&self) {
        if self.half_close.fetch_or(COUNTS, Ordering::AcqRel) & HALF_CLOSED != 0 {
            self.gone.fire(Reason::ClientLeft);
            // Wakes the front, which has nothing more to hear from this client.
            self.hang_up.fire(Reason::ClientLeft);
        }
    }

    /// Whether whoever was let in still would be: tokens and grants can be revoked meanwhile.
    fn stands(&self) -> bool {
        self.principal.as_ref().is_none_or(|principal| self.authenticator.stands(principal))
    }

    /// Notes that the client closed its sending side; says whether it has left by that.
    fn half_closed(&self) -> bool {
        self.half_close.fetch_or(HALF_CLOSED, Ordering::AcqRel) & COUNTS != 0
    }

    fn tell_page(&self, reply: &mut Reply) {
        if let Some(grant) = &self.grant {
            grant.tell(reply);
        }
    }

    /// Looks whether the client has left, and fires `gone` then. For a handler that keeps the
    /// client's own thread waiting, which would see it otherwise.
    pub fn look(&self) {
        let left = match wire::seen_from_outside(&self.socket) {
            Outside::There => false,
            Outside::SaysNoMore => self.tls || self.half_closed(),
            Outside::Gone => true,
        };
        if left {
            self.gone.fire(Reason::ClientLeft);
        }
    }
}

/// Text that may stand in a header value: printable ASCII, so nothing can end the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderText(String);

impl HeaderText {
    /// `None` when a character may not stand in a header value.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A whole reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`; empty when there is no body.
    pub content_type: &'static str,
    /// Further fields.
    pub fields: Vec<(&'static str, HeaderText)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", fields: Vec::new(), body }
    }

    /// A reply with a plain-text body.
    #[must_use]
    pub fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            fields: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    /// A reply without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self { status, content_type: "", fields: Vec::new(), body: Vec::new() }
    }

    /// Adds a field with a value that was written in this program.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        if let Some(value) = HeaderText::new(value) {
            self.fields.push((name, value));
        }
        self
    }
}

impl From<&Refusal> for Reply {
    fn from(refusal: &Refusal) -> Self {
        let mut reply = Self::json(refusal.status(), refusal.body());
        if let Some(allow) = refusal.allow() {
            reply = reply.with("Allow", allow);
        }
        let challenge = refusal.challenge().and_then(|text| HeaderText::new(&text));
        reply.fields.extend(challenge.map(|text| ("WWW-Authenticate", text)));
        let wait = refusal.retry_after_s().and_then(|it| HeaderText::new(&it.to_string()));
        reply.fields.extend(wait.map(|text| ("Retry-After", text)));
        reply
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
