//! Why an exchange is refused, and the one place where that becomes an HTTP status and a sentence.
//!
//! Bodies never carry the words of another status ("Not Found" in a 400): clients of the HTTP+SSE
//! days choose their transport by searching error texts for them.

use std::fmt;

use crate::auth::SCOPE;

/// A refusal: what went wrong, by whose fault, with all that the reply needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head breaks RFC 9112; the sentence says where.
    BadHead(&'static str),
    /// The head is longer than `head_bytes_max`.
    HeadTooLarge(usize),
    /// The head has more fields than `FIELDS_MAX`.
    TooManyFields(usize),
    /// The request line alone is longer than `head_bytes_max`.
    TargetTooLong(usize),
    /// A head that did not arrive within `head_ms_max`.
    HeadTooSlow(u64),
    /// HTTP/2 or something older than HTTP/1.0.
    Version,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// A method that no route knows.
    MethodUnknown,
    /// A body longer than `body_bytes_max`.
    BodyTooLarge(usize),
    /// A body that did not arrive within `body_ms_max`.
    BodyTooSlow(u64),
    /// A body whose framing is broken.
    BadBody(&'static str),
    /// All bodies being read together would pass `bodies_bytes_max`.
    BodiesFull(usize),
    /// A reply longer than `reply_bytes_max`.
    ReplyTooLarge(usize),
    /// All replies being written together would pass `replies_bytes_max`.
    RepliesFull(usize),
    /// Plain HTTP sent to the HTTPS port; carries the Host it asked for, if any.
    PlainOnTls(Option<String>),
    /// A peer that is not at home, while the home rule is all there is.
    NotHome,
    /// A Host that is neither local nor configured.
    HostRefused(String),
    /// An Origin that is neither the page's own server nor configured.
    OriginRefused(String),
    /// A proxy's or tunnel's header under the home rule.
    Forwarded(String),
    /// No route has this path.
    NoRoute,
    /// No route has this path, and the caller has no valid token: the sentence asks for one, since
    /// clients that were refused try to register at paths like this and show its words.
    NoRouteNoToken,
    /// The route does not take this method; the list that it takes.
    Method(&'static str),
    /// A token is needed and none came; where to read how to get one.
    TokenMissing(Option<Box<str>>),
    /// The token that came is not valid; the same.
    TokenInvalid(Option<Box<str>>),
    /// The token that came is good for too little; the same.
    TokenScope(Option<Box<str>>),
    /// Too many wrong tokens of this address; seconds to wait.
    TooManyWrong(u64),
    /// OAuth is on, and this is neither TLS nor from the box itself or its proxy.
    Plain,
    /// The house does not answer: it is stopping, or a worker was lost.
    Unavailable,
    /// A bug: the request was taken and dropped.
    Unanswered,
}

impl Refusal {
    /// The HTTP status (RFC 9110, section 15).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadHead(_) | Self::BadBody(_) | Self::PlainOnTls(_) => 400,
            Self::TokenMissing(_) | Self::TokenInvalid(_) => 401,
            Self::TooManyWrong(_) => 429,
            Self::TokenScope(_)
            | Self::Plain
            | Self::NotHome
            | Self::OriginRefused(_)
            | Self::Forwarded(_) => 403,
            Self::NoRoute | Self::NoRouteNoToken => 404,
            Self::Method(_) => 405,
            Self::HeadTooSlow(_) | Self::BodyTooSlow(_) => 408,
            Self::BodyTooLarge(_) => 413,
            Self::TargetTooLong(_) => 414,
            Self::Expectation => 417,
            Self::HostRefused(_) => 421,
            Self::HeadTooLarge(_) | Self::TooManyFields(_) => 431,
            Self::ReplyTooLarge(_) | Self::Unanswered => 500,
            Self::TransferCoding | Self::MethodUnknown => 501,
            Self::BodiesFull(_) | Self::RepliesFull(_) | Self::Unavailable => 503,
            Self::Version => 505,
        }
    }

    /// A short stable word for programs (`error` in the body).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadHead(_) | Self::BadBody(_) => "invalid_request",
            Self::HeadTooLarge(_) => "head_too_large",
            Self::TooManyFields(_) => "too_many_fields",
            Self::TargetTooLong(_) => "target_too_long",
            Self::HeadTooSlow(_) => "head_too_slow",
            Self::Version => "version_not_supported",
            Self::TransferCoding => "transfer_coding_not_supported",
            Self::Expectation => "expectation_failed",
            Self::MethodUnknown => "method_unknown",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyTooSlow(_) => "body_too_slow",
            Self::BodiesFull(_) => "bodies_full",
            Self::ReplyTooLarge(_) => "reply_too_large",
            Self::RepliesFull(_) => "replies_full",
            Self::PlainOnTls(_) => "https_required",
            Self::NotHome => "not_at_home",
            Self::HostRefused(_) => "host_refused",
            Self::OriginRefused(_) => "origin_refused",
            Self::Forwarded(_) => "forwarded_refused",
            Self::NoRoute | Self::NoRouteNoToken => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::TokenMissing(_) => "unauthorized",
            Self::TokenInvalid(_) => "invalid_token",
            Self::TokenScope(_) => "insufficient_scope",
            Self::TooManyWrong(_) => "too_many_requests",
            Self::Plain => "https_needed",
            Self::Unavailable => "unavailable",
            Self::Unanswered => "internal_error",
        }
    }

    /// The value of `Allow`, which a 405 must carry (RFC 9110, section 15.5.6).
    #[must_use]
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            Self::Method(allow) => Some(allow),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate`, which a 401 must carry (RFC 6750, section 3; RFC 9728, section
    /// 5.1). One line, one scheme, quoted values: clients read it with simple patterns.
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        let (metadata, error) = match self {
            Self::TokenMissing(metadata) => (metadata, ""),
            Self::TokenInvalid(metadata) => (
                metadata,
                ", error=\"invalid_token\", error_description=\"unknown or revoked token\"",
            ),
            Self::TokenScope(metadata) => (metadata, ", error=\"insufficient_scope\""),
            _ => return None,
        };
        Some(match metadata {
            Some(url) => format!("Bearer resource_metadata=\"{url}\", scope=\"{SCOPE}\"{error}"),
            None => format!("Bearer realm=\"mcp\"{error}"),
        })
    }

    /// The value of `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::TooManyWrong(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// Whether the connection cannot go on: where the next request begins is unknown, or the peer
    /// has no business here.
    #[must_use]
    pub fn closes(&self) -> bool {
        !matches!(
            self,
            Self::NoRoute
                | Self::NoRouteNoToken
                | Self::Method(_)
                | Self::TokenMissing(_)
                | Self::TokenInvalid(_)
                | Self::TokenScope(_)
                | Self::TooManyWrong(_)
                | Self::RepliesFull(_)
                | Self::ReplyTooLarge(_)
                | Self::Unanswered
        )
    }

    /// Whether it comes before the Origin has passed: such a page learns nothing.
    pub(super) fn precedes_origin(&self) -> bool {
        matches!(
            self,
            Self::NotHome
                | Self::Forwarded(_)
                | Self::Plain
                | Self::HostRefused(_)
                | Self::OriginRefused(_)
        )
    }

    /// The body of the reply: one JSON object with `error` and `error_description`.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        serde_json::json!({ "error": self.code(), "error_description": self.to_string() })
            .to_string()
            .into_bytes()
    }
}

impl fmt::Display for Refusal {
    #[expect(clippy::too_many_lines, reason = "one sentence a refusal: a table in all but form")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadHead(what) | Self::BadBody(what) => write!(f, "{what}"),
            Self::HeadTooLarge(max) => {
                write!(f, "the request head passes the limit head_bytes_max ({max} bytes)")
            }
            Self::TooManyFields(max) => {
                write!(f, "the request head has more fields than the limit fields_max ({max})")
            }
            Self::TargetTooLong(max) => {
                write!(f, "the request line passes the limit head_bytes_max ({max} bytes)")
            }
            Self::HeadTooSlow(max) => {
                write!(f, "the request head took longer than the limit head_ms_max ({max} ms)")
            }
            Self::Version => f.write_str("this server speaks HTTP/1.1 and HTTP/1.0"),
            Self::TransferCoding => f.write_str("the only transfer coding taken here is chunked"),
            Self::Expectation => f.write_str("the only expectation met here is 100-continue"),
            Self::MethodUnknown => f.write_str("no route here knows this method"),
            Self::BodyTooLarge(max) => {
                write!(f, "the body passes the limit body_bytes_max ({max} bytes)")
            }
            Self::BodyTooSlow(max) => {
                write!(f, "the body took longer than the limit body_ms_max ({max} ms)")
            }
            Self::BodiesFull(max) => write!(
                f,
                "too many large bodies at once: the limit bodies_bytes_max ({max} bytes) is \
                 reached; try again shortly"
            ),
            Self::ReplyTooLarge(max) => {
                write!(f, "the reply passes the limit reply_bytes_max ({max} bytes)")
            }
            Self::RepliesFull(max) => write!(
                f,
                "too many large replies at once: the limit replies_bytes_max ({max} bytes) is \
                 reached; try again shortly"
            ),
            Self::PlainOnTls(Some(host)) => {
                write!(f, "this port speaks HTTPS: use https://{host}/ instead of http://")
            }
            Self::PlainOnTls(None) => {
                f.write_str("this port speaks HTTPS: use https:// instead of http://")
            }
            Self::NotHome => f.write_str(
                "only devices of the home network are served without a token; \
                 make one on the box with: local-llm-mcp token add NAME",
            ),
            Self::HostRefused(host) => write!(
                f,
                "the Host {host:?} is not a name of this server; start it with --allow-host NAME \
                 if it should be"
            ),
            Self::OriginRefused(origin) => write!(
                f,
                "web pages from {origin:?} may not use this server; start it with \
                 --allow-origin ORIGIN if they should"
            ),
            Self::Forwarded(header) => write!(
                f,
                "the request came through a proxy or tunnel (header {header}), which the home \
                 rule does not serve; make a token on the box with: local-llm-mcp token add NAME"
            ),
            Self::NoRoute => f.write_str("there is nothing at this path; MCP is served at /sse"),
            Self::Method(allow) => write!(f, "this path takes {allow}"),
            Self::NoRouteNoToken => f.write_str(
                "there is nothing at this path; this server takes static tokens: send the header \
                 Authorization: Bearer TOKEN (mcp-remote: --header \"Authorization:${AUTH_HEADER}\" \
                 with AUTH_HEADER=\"Bearer TOKEN\" in its env), make one on the box with: local-llm-mcp token add NAME",
            ),
            Self::TokenMissing(Some(_)) => f.write_str(
                "this server needs a login: add it as a connector or OAuth server of your client, \
                 or send the header Authorization: Bearer TOKEN",
            ),
            Self::TokenMissing(None) => f.write_str(
                "this server needs a token: send the header Authorization: Bearer TOKEN \
                 (mcp-remote: --header \"Authorization:${AUTH_HEADER}\" with \
                 AUTH_HEADER=\"Bearer TOKEN\" in its env)",
            ),
            Self::TokenScope(_) => f.write_str("this token was not granted for the use of the server"),
            Self::TooManyWrong(seconds) => {
                write!(f, "too many wrong tokens; try again in {seconds} s")
            }
            Self::Plain => f.write_str("this server is used over https only: use https://"),
            Self::TokenInvalid(_) => f.write_str(
                "this token is unknown or revoked; list the valid ones on the box with: \
                 local-llm-mcp token list",
            ),
            Self::Unanswered => f.write_str("a bug of this server; its log says more"),
            Self::Unavailable => {
                f.write_str("the server is stopping or cannot take the request; try again shortly")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The reason phrase of a status that this server sends.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_body_carries_the_words_of_another_status() {
        let all = [
            Refusal::BadHead("x"),
            Refusal::HeadTooLarge(1),
            Refusal::TooManyFields(1),
            Refusal::BodyTooLarge(1),
            Refusal::PlainOnTls(None),
            Refusal::NotHome,
            Refusal::HostRefused("a".into()),
            Refusal::OriginRefused("a".into()),
            Refusal::Forwarded("via".into()),
            Refusal::TokenMissing(None),
            Refusal::TokenMissing(Some("https://a/b".into())),
            Refusal::TokenInvalid(None),
            Refusal::TokenScope(None),
            Refusal::TooManyWrong(60),
            Refusal::Plain,
            Refusal::Unavailable,
        ];
        for refusal in all {
            let body = String::from_utf8(refusal.body()).unwrap();
            for words in ["404", "405", "Not Found", "Method Not Allowed"] {
                assert!(!body.contains(words), "{body}");
            }
        }
    }

    #[test]
    fn a_refusal_stays_small() {
        assert!(size_of::<Refusal>() <= 64);
    }
}
