//! Who may go on: a pure decision over (peer, machine, head), taken before a byte of the body is
//! read or a 100 is answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::auth::{Authenticator, Denied, HostNames, Interface, Principal, is_home_peer};

use super::cors::Cors;
use super::error::Refusal;
use super::head::{Head, Method};
use super::site::Site;

/// One path of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The whole path, below the public prefix where there is one; with a slash at its end also
    /// every path below it.
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
    /// Below the public URL, the path of the protected resource (RFC 9728) that it belongs to.
    pub resource: &'static str,
}

impl Route {
    fn is(&self, path: &str) -> bool {
        self.path == path
            || (self.path.len() > 1 && self.path.ends_with('/') && path.starts_with(self.path))
    }

    /// Whether pages of every origin may use it (Fetch: `*`, without credentials).
    pub(super) fn any_origin(&self) -> bool {
        matches!(self.access, Access::Public { any_origin: true })
    }

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
    /// Whoever comes by the name of a public URL. No bearer is looked at, and what `Authorization`
    /// says goes on to the handler. With `any_origin` web pages of every origin may use it.
    Public {
        /// Whether the Origin does not matter.
        any_origin: bool,
    },
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
    /// The public URLs. Below the path of each every route is served too: a proxy may strip it or
    /// not.
    pub sites: Vec<Arc<Site>>,
    /// Proxies whose word counts about who the client is.
    pub proxies: Vec<IpAddr>,
}

impl Policy {
    pub(super) fn has_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// The number of the route with this path, and whose prefix the path carried. A path that is a
    /// route as it stands is that route, also when the prefix has a route's name.
    fn route(&self, path: &str) -> Option<(usize, Option<&Arc<Site>>)> {
        let number = |path: &str| self.routes.iter().position(|route| route.is(path));
        let below = |site: &Site| match path.strip_prefix(site.prefix())? {
            _ if site.prefix().is_empty() => None,
            "" => number("/"),
            rest => number(rest),
        };
        let plain = number(path).map(|number| (number, None));
        plain.or_else(|| self.sites.iter().find_map(|site| Some((below(site)?, Some(site)))))
    }

    /// Whether a request came from a program on this machine, through no proxy or tunnel.
    pub(super) fn is_here(&self, head: &Head, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        peer.is_loopback() && forwarded_by(head).is_none() && !self.is_proxy(peer)
    }

    /// Whether a client's address is at home. Behind a proxy that does not tell it, the address is
    /// the proxy's, which stands for everybody.
    pub(super) fn is_house(&self, client: IpAddr, interfaces: &[Interface]) -> bool {
        is_home_peer(client, interfaces) && !self.is_proxy(client)
    }

    /// Whether this is the address of a proxy that the owner named.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|proxy| proxy.to_canonical() == address)
    }

    /// The client's address: the peer's, or behind a trusted proxy what that says, read from the end
    /// of `X-Forwarded-For`, since everything before what our own proxies wrote is the client's.
    #[must_use]
    pub fn client(&self, head: &Head, peer: IpAddr) -> IpAddr {
        if !self.is_proxy(peer) {
            return peer.to_canonical();
        }
        let named = head.fields.iter().rev().filter(|(name, _)| name == "x-forwarded-for");
        let named = named.flat_map(|(_, value)| value.rsplit(','));
        let mut last = peer;
        for address in named.map_while(|text| text.trim().parse::<IpAddr>().ok()) {
            last = address;
            if !self.is_proxy(address) {
                break;
            }
        }
        last.to_canonical()
    }
}

/// A head that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The route's number in [`Policy::routes`].
    pub route: usize,
    /// Who asks; `None` only on open routes.
    pub principal: Option<Principal>,
    /// What paths that are announced must begin with: the prefix of a public URL where the request's
    /// own did, or where it came by its name, since a proxy may have stripped it.
    pub base: String,
    /// The public URL by whose very name it came.
    pub site: Option<Arc<Site>>,
}

/// Decides in this order: peer and forwarding (home rule), Host, Origin, route, bearer, method.
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
    // Whoever comes through a proxy is not at home for it, whatever headers the proxy leaves out.
    let home = at_home && forwarded.is_none() && !policy.is_proxy(peer.ip());
    let site = policy.sites.iter().find(|site| site.is_at(&head.host));
    let authenticator = &policy.authenticator;
    let who = authenticator.authenticate(bearer, home, site.map(|site| site.base()));
    if !authenticator.required() {
        if !at_home {
            return Err(Refusal::NotHome);
        }
        if let Some(header) = forwarded {
            return Err(Refusal::Forwarded(header.to_owned()));
        }
    }
    // What was granted over OAuth must not be read on the way.
    let on_box = peer.ip().to_canonical().is_loopback() || policy.is_proxy(peer.ip());
    if authenticator.oauth() && !tls && !on_box {
        return Err(Refusal::Plain);
    }
    if !policy.hosts.contains(&head.host) {
        return Err(Refusal::HostRefused(clip(&head.host)));
    }
    let found = policy.route(&head.path);
    let route = found.and_then(|(number, _)| policy.routes.get(number));
    if !route.is_some_and(Route::any_origin) {
        origin(head, tls, policy)?;
    }
    let mut admission = Admission {
        route: usize::MAX,
        principal: None,
        base: String::new(),
        site: site.map(Arc::clone),
    };
    if head.path == "*" {
        return Ok(admission);
    }
    let there = |route: &&Route| site.is_some() || !matches!(route.access, Access::Public { .. });
    let (Some((number, carried)), Some(route)) = (found, route.filter(there)) else {
        return Err(if who.is_ok() { Refusal::NoRoute } else { Refusal::NoRouteNoToken });
    };
    admission.route = number;
    let named = || policy.sites.iter().find(|site| site.is_named(&head.host));
    admission.base = carried.or_else(named).map(|it| it.prefix().to_owned()).unwrap_or_default();
    if head.method == Method::Options {
        return Ok(admission);
    }
    let metadata = || {
        let site = site.filter(|_| authenticator.oauth())?;
        Some(site.resource_metadata(route.resource).into_boxed_str())
    };
    admission.principal = match (who, route.access) {
        (_, Access::Public { .. }) => None,
        // RFC 6750, section 2: one way at a time, and the query is none of ours.
        (_, Access::Principals) if bearer.is_some() && has_token_in_query(head) => {
            return Err(Refusal::BadHead("a token may not stand in the URL"));
        }
        (Ok(principal), _) => Some(principal),
        (Err(Denied::Missing | Denied::NotHome), Access::Open) => None,
        (Err(Denied::Missing), Access::Principals) => {
            return Err(Refusal::TokenMissing(metadata()));
        }
        // A wrong token is said so on every other route: whoever sends one wants to know.
        (Err(Denied::Invalid), _) => return Err(Refusal::TokenInvalid(metadata())),
        (Err(Denied::Scope), _) => return Err(Refusal::TokenScope(metadata())),
        (Err(Denied::NotHome), Access::Principals) => return Err(Refusal::NotHome),
    };
    if !route.takes(head.method) {
        return Err(Refusal::Method(route.allow));
    }
    Ok(admission)
}

fn has_token_in_query(head: &Head) -> bool {
    let query = head.query.as_deref().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("access_token=") || pair.starts_with("token="))
}

/// RFC 6750, section 2.1; the scheme's case does not matter. A token in the query is never taken.
pub(super) fn bearer(head: &Head) -> Option<&str> {
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
