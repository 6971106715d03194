//! What a browser must be told before it lets a web page of another origin use this server (Fetch,
//! section 3.3). Only configured origins are told anything; all others are refused by the gate.

use super::gate::{Policy, Route};
use super::head::Head;
use super::{HeaderText, Reply};

/// What pages of configured origins may send and read. Lists are as they stand in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cors {
    /// The request headers that they may set.
    pub allow_headers: &'static str,
    /// With this beginning, in lower case, they may set any further ones.
    pub allow_header_prefix: &'static str,
    /// The reply headers that they may read besides those that every page may.
    pub expose_headers: &'static str,
}

/// That a page's origin is a configured one: every reply to it has to say so, refusals too, or the
/// page never learns what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    origin: HeaderText,
    expose_headers: &'static str,
}

impl Grant {
    /// `None`: no page asks, or one of the server's own.
    pub(super) fn of(head: &Head, policy: &Policy, route: Option<&Route>) -> Option<Self> {
        let open = route.is_some_and(Route::any_origin);
        let origin = head.field("origin").filter(|origin| open || policy.has_origin(origin))?;
        let origin = if open { "*" } else { origin };
        let expose_headers = policy.cors.expose_headers;
        Some(Self { origin: HeaderText::new(origin)?, expose_headers })
    }

    /// Tells the browser. With `*` only where nobody is asked who he is, and never that it may send
    /// cookies: there are none.
    pub(super) fn tell(&self, reply: &mut Reply) {
        reply.fields.push(("Access-Control-Allow-Origin", self.origin.clone()));
        let exposed = HeaderText::new(self.expose_headers);
        reply.fields.extend(exposed.map(|names| ("Access-Control-Expose-Headers", names)));
        // Another page's browser must not take this reply from a cache.
        reply.fields.extend(HeaderText::new("Origin").map(|name| ("Vary", name)));
    }

    /// Answers an OPTIONS, by which a browser asks before it sends a request.
    pub(super) fn preflight(
        head: &Head,
        policy: &Policy,
        route: Option<&Route>,
        reply: &mut Reply,
    ) {
        let Some(grant) = Self::of(head, policy, route) else { return };
        let allow = route.map_or("GET, POST, OPTIONS", |route| route.allow);
        grant.tell(reply);
        if head.field("access-control-request-method").is_none() {
            return;
        }
        let headers = HeaderText::new(&allowed_headers(head, &policy.cors));
        let fields = [
            ("Access-Control-Allow-Methods", HeaderText::new(allow)),
            ("Access-Control-Allow-Headers", headers),
            ("Access-Control-Max-Age", HeaderText::new(MAX_AGE_S)),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        reply.fields.extend(fields);
    }
}

/// The list, and those of the asked ones that have the prefix: a list cannot name them, and `*`
/// would leave out Authorization.
fn allowed_headers(head: &Head, cors: &Cors) -> String {
    let asked = head
        .fields
        .iter()
        .filter(|(name, _)| name == "access-control-request-headers")
        .flat_map(|(_, names)| names.split(','))
        .map(|name| name.trim_matches([' ', '\t']));
    let mut allowed = cors.allow_headers.to_owned();
    for name in asked {
        let beginning = name.get(..cors.allow_header_prefix.len());
        let prefixed =
            beginning.is_some_and(|it| it.eq_ignore_ascii_case(cors.allow_header_prefix));
        if prefixed && is_token(name) {
            allowed.push_str(", ");
            allowed.push_str(name);
        }
    }
    allowed
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// How long a browser may remember the answer, in seconds; browsers have lower limits of their own.
const MAX_AGE_S: &str = "86400";

#[cfg(test)]
mod tests {
    use super::super::head::parse;
    use super::*;

    const CORS: Cors = Cors {
        allow_headers: "Content-Type, Authorization",
        allow_header_prefix: "mcp-param-",
        expose_headers: "Mcp-Session-Id",
    };

    fn allowed(fields: &str) -> String {
        let head = format!("OPTIONS / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = parse(head.as_bytes(), 4096).unwrap().unwrap();
        allowed_headers(&head, &CORS)
    }

    #[test]
    fn asked_headers_with_the_prefix_are_allowed_by_name_and_no_others() {
        assert_eq!(allowed(""), CORS.allow_headers);
        let asked = "Access-Control-Request-Headers: mcp-param-a,x-other, Mcp-Param-B ,*,mcp-\r\n";
        assert_eq!(allowed(asked), "Content-Type, Authorization, mcp-param-a, Mcp-Param-B");
        let wrong =
            "Access-Control-Request-Headers: mcp-param-a b,mcp-param-\"c\",,mcp-param-(\r\n";
        assert_eq!(allowed(wrong), CORS.allow_headers);
    }
}
