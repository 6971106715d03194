//! Who may go on: a pure decision over (peer, machine, head), taken before a byte of the body is
//! read or a 100 is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::{Authenticator, Denied, HostNames, Interface, Principal, is_home_peer};

use super::cors::Cors;
use super::error::Refusal;
use super::head::{Head, Method};

/// One path of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The whole path, below the public prefix where there is one.
    pub path: &'static str,
    /// The methods it takes, as `Allow` lists them.
    pub allow: &'static str,
    /// Who may use it.
    pub access: Access,
    /// Whether a request may be answered by an event stream that stays open. Such a route has no
    /// HEAD, and only its connections can be hung up from another thread.
    pub streams: bool,
    /// Whether a request of moderate size is answered on its client's own thread, without the way
    /// through tiny_http and its workers.
    pub alone: bool,
}

impl Route {
    fn takes(&self, method: Method) -> bool {
        // HEAD is answered wherever GET is, by the same handler; but a stream has no HEAD, since
        // the handler would open one for it.
        if method == Method::Head && self.streams {
            return false;
        }
        let name = if method == Method::Head { Method::Get } else { method }.as_str();
        self.allow.split(", ").any(|allowed| allowed == name)
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever passes the Host and Origin checks and, where no token exists, the home rule.
    /// The exchange carries a principal only when the caller has one.
    Open,
    /// Principals only.
    Principals,
}

/// What the gate compares with; one for the life of the server, the interfaces as of now.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Every path that exists.
    pub routes: Arc<[Route]>,
    /// Who is asking.
    pub authenticator: Arc<Authenticator>,
    /// The names that a Host may have.
    pub hosts: HostNames,
    /// Origins of web pages that may use the server besides its own, as `scheme://host[:port]`.
    pub origins: Vec<String>,
    /// What pages of those origins may send and read.
    pub cors: Cors,
    /// The path of the public URL, below which every route is served too: a proxy may strip it or
    /// not. Empty, or begins with a slash and does not end with one.
    pub prefix: String,
    /// The public URL's host, without a port and in lower case.
    pub public_host: Option<String>,
}

impl Policy {
    pub(super) fn has_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// The number of the route with this path, and whether the path carried the prefix. A path that
    /// is a route as it stands is that route, also when the prefix has a route's name.
    fn route(&self, path: &str) -> Option<(usize, bool)> {
        let number = |path: &str| self.routes.iter().position(|route| route.path == path);
        let below = || match path.strip_prefix(self.prefix.as_str())? {
            _ if self.prefix.is_empty() => None,
            "" => number("/"),
            rest => number(rest),
        };
        let plain = number(path).map(|number| (number, false));
        plain.or_else(|| below().map(|number| (number, true)))
    }

    /// Whether a Host is the public URL's, on whatever port.
    fn is_public(&self, host: &str) -> bool {
        let Some(public) = &self.public_host else { return false };
        host.split_at_checked(public.len()).is_some_and(|(name, rest)| {
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            name.eq_ignore_ascii_case(public) && (rest.is_empty() || rest.starts_with(':'))
        })
    }
}

/// A head that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The route's number in [`Policy::routes`].
    pub route: usize,
    /// Who asks; `None` only on open routes.
    pub principal: Option<Principal>,
    /// Whether paths that are announced must begin with [`Policy::prefix`]: the request's own did,
    /// or it came by the public name, where a proxy may have stripped it.
    pub below_prefix: bool,
}

/// Decides in this order: peer and forwarding (home rule), Host, Origin, route, method, bearer.
/// OPTIONS passes without a bearer, since browsers send none with it.
///
/// Errors: the refusal to answer with.
pub fn admit_head(
    head: &Head,
    peer: SocketAddr,
    tls: bool,
    interfaces: &[Interface],
    policy: &Policy,
) -> Result<Admission, Refusal> {
    let bearer = bearer(head);
    let at_home = is_home_peer(peer.ip(), interfaces);
    let forwarded = forwarded_by(head);
    let home = at_home && forwarded.is_none();
    let who = policy.authenticator.authenticate(bearer, home);
    if !policy.authenticator.required() {
        if !at_home {
            return Err(Refusal::NotHome);
        }
        if let Some(header) = forwarded {
            return Err(Refusal::Forwarded(header.to_owned()));
        }
    }
    if !policy.hosts.contains(&head.host) {
        return Err(Refusal::HostRefused(clip(&head.host)));
    }
    origin(head, tls, policy)?;
    if head.path == "*" {
        return Ok(Admission { route: usize::MAX, principal: None, below_prefix: false });
    }
    let (number, carried) = policy.route(&head.path).unwrap_or((usize::MAX, false));
    let route = policy.routes.get(number).ok_or(if who.is_ok() {
        Refusal::NoRoute
    } else {
        Refusal::NoRouteNoToken
    })?;
    let below_prefix = carried || (!policy.prefix.is_empty() && policy.is_public(&head.host));
    if head.method == Method::Options {
        return Ok(Admission { route: number, principal: None, below_prefix });
    }
    if !route.takes(head.method) {
        return Err(Refusal::Method(route.allow));
    }
    let principal = match (who, route.access) {
        (Ok(principal), _) => Some(principal),
        (Err(Denied::Missing | Denied::NotHome), Access::Open) => None,
        (Err(Denied::Missing), Access::Principals) => return Err(Refusal::TokenMissing),
        // A wrong token is said so on every route: whoever sends one wants to know.
        (Err(Denied::Invalid), _) => return Err(Refusal::TokenInvalid),
        (Err(Denied::NotHome), Access::Principals) => return Err(Refusal::NotHome),
    };
    Ok(Admission { route: number, principal, below_prefix })
}

/// RFC 6750, section 2.1; the scheme's case does not matter. A token in the query is never taken.
fn bearer(head: &Head) -> Option<&str> {
    match head.field("authorization")?.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        // Another scheme is no credential of ours; with tokens the caller hears that one is missing.
        _ => None,
    }
}

/// The header by which a proxy or tunnel gives itself away.
fn forwarded_by(head: &Head) -> Option<&str> {
    head.fields.iter().map(|(name, _)| name.as_str()).find(|name| {
        matches!(*name, "forwarded" | "x-real-ip" | "via")
            || name.starts_with("x-forwarded-")
            || name.starts_with("cf-")
    })
}

/// An Origin passes when it is absent, is the server's own, or is configured (2025-11-25,
/// transports, "Security Warning": it must be validated, and refused with 403).
fn origin(head: &Head, tls: bool, policy: &Policy) -> Result<(), Refusal> {
    let Some(origin) = head.field("origin") else { return Ok(()) };
    let own = origin.split_once("://").is_some_and(|(scheme, authority)| {
        scheme.eq_ignore_ascii_case(if tls { "https" } else { "http" })
            && authority.eq_ignore_ascii_case(&head.host)
    });
    if own || policy.has_origin(origin) {
        Ok(())
    } else {
        Err(Refusal::OriginRefused(clip(origin)))
    }
}

/// Client text in a refusal stays short.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
