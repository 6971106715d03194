//! Bytes in, request head or refusal out (RFC 9112, sections 2 to 6, read strictly).
//!
//! Pure: knows no socket and no clock. Whatever two readers could understand differently is
//! refused, since what tiny_http parses is written again from what this file returned.

use super::error::Refusal;

/// The methods that a route can name; any other is [`Refusal::MethodUnknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: a GET whose reply has no body.
    Head,
    /// POST.
    Post,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// PUT, known so that a route can say that it does not take it.
    Put,
    /// PATCH, likewise.
    Patch,
}

impl Method {
    /// As it stands in a request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Get, Self::Head, Self::Post, Self::Delete, Self::Options, Self::Put, Self::Patch]
            .into_iter()
            .find(|method| method.as_str() == text)
    }
}

/// How the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Exactly this many bytes; 0 when nothing was announced.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// One request head, canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path, always beginning with `/` (or `*` for `OPTIONS *`).
    pub path: String,
    /// What stands behind `?`.
    pub query: Option<String>,
    /// HTTP/1.0: no chunked replies, no connection that is kept.
    pub http_1_0: bool,
    /// Host, as it was sent.
    pub host: String,
    /// Where the body ends.
    pub framing: Framing,
    /// `Expect: 100-continue` (HTTP/1.1 only, with a body).
    pub expects_continue: bool,
    /// Whether the client would send another request on this connection.
    pub keep_alive: bool,
    /// Every field: name in lower case, value without surrounding white space.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field that may appear once; the name in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether a field came more than once; the name in lower case.
    #[must_use]
    pub fn has_twice(&self, name: &str) -> bool {
        self.fields.iter().filter(|(n, _)| n == name).count() > 1
    }
}

/// The most fields a head may have; real clients send about 15.
pub const FIELDS_MAX: usize = 64;

/// Reads a head from the beginning of `bytes`. `Ok(None)`: more bytes are needed.
/// `Ok(Some((head, length)))`: the head and how many bytes it took.
///
/// Errors: every refusal of this file; afterwards the connection cannot be read on.
pub fn parse(bytes: &[u8], head_bytes_max: usize) -> Result<Option<(Head, usize)>, Refusal> {
    let end = end_of_head(bytes);
    if end.unwrap_or(bytes.len() + 1) > head_bytes_max {
        let allowed = bytes.get(..head_bytes_max).unwrap_or_default();
        return Err(if allowed.contains(&b'\n') {
            Refusal::HeadTooLarge(head_bytes_max)
        } else {
            Refusal::TargetTooLong(head_bytes_max)
        });
    }
    // A peer that speaks something else is told so at once, not after a timeout.
    if !plausible(bytes) {
        return Err(NOT_HTTP);
    }
    let Some(length) = end else { return Ok(None) };
    let text = bytes.get(..length).unwrap_or_default();
    if let Some(refusal) = line_ends(text) {
        return Err(refusal);
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(text) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(NOT_HTTP),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyFields(FIELDS_MAX)),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        Err(httparse::Error::HeaderName) => {
            return Err(Refusal::BadHead("a header name has a character that it may not have"));
        }
        Err(httparse::Error::HeaderValue) => {
            return Err(Refusal::BadHead("a header value has a character that it may not have"));
        }
        Err(_) => return Err(NOT_HTTP),
    }
    canonical(&request).map(|head| Some((head, length)))
}

const NOT_HTTP: Refusal = Refusal::BadHead("this is not an HTTP/1.1 request");

/// The length of the head with its empty line, once that has come.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    // A bare LF pair ends the search too, so that it is refused now and not at the timeout.
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    let body = bytes.get(start..)?;
    let mut line_start = 0;
    for (at, byte) in body.iter().enumerate() {
        if *byte == b'\n' {
            let line = body.get(line_start..at).unwrap_or_default();
            if line.is_empty() || line == b"\r" {
                return Some(start + at + 1);
            }
            line_start = at + 1;
        }
    }
    None
}

/// Whether this can still become a request line: a method's letters, or the empty line that some
/// old clients send after a body (RFC 9112, section 2.2).
fn plausible(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
    start <= 2
        && bytes
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| **b != b' ')
            .take(16)
            .all(u8::is_ascii_graphic)
}

/// Bare CR, bare LF and folded lines are read differently by different readers.
fn line_ends(head: &[u8]) -> Option<Refusal> {
    let mut before = b'\n';
    for (at, byte) in head.iter().enumerate() {
        let refused = match byte {
            b'\n' if before != b'\r' => Some("a line of the head ends with LF alone"),
            b'\r' if head.get(at + 1) != Some(&b'\n') => Some("a CR stands alone in the head"),
            b' ' | b'\t' if before == b'\n' => Some("a line of the head begins with white space"),
            0x80.. => Some("the head has bytes that are not ASCII"),
            _ => None,
        };
        if let Some(what) = refused {
            return Some(Refusal::BadHead(what));
        }
        before = *byte;
    }
    None
}

fn canonical(request: &httparse::Request<'_, '_>) -> Result<Head, Refusal> {
    let method = Method::parse(request.method.unwrap_or_default());
    let http_1_0 = request.version == Some(0);
    let mut fields = Vec::with_capacity(request.headers.len());
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value)
            .map_err(|_not_ascii| Refusal::BadHead("the head has bytes that are not ASCII"))?;
        let value = value.trim_matches([' ', '\t']);
        fields.push((header.name.to_ascii_lowercase(), value.to_owned()));
    }
    for (name, twice) in SINGLE_FIELDS {
        if fields.iter().filter(|(n, _)| n == name).count() > 1 {
            return Err(Refusal::BadHead(twice));
        }
    }
    let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let host = field("host").ok_or(Refusal::BadHead("the Host header is missing"))?.to_owned();
    let framing = framing(field("content-length"), field("transfer-encoding"), http_1_0)?;
    let expects_continue = match field("expect") {
        None => false,
        Some(value) if value.eq_ignore_ascii_case("100-continue") => {
            !http_1_0 && framing != Framing::Length(0)
        }
        Some(_) => return Err(Refusal::Expectation),
    };
    let says = |token: &str| {
        fields
            .iter()
            .filter(|(n, _)| n == "connection")
            .flat_map(|(_, value)| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    let keep_alive = if http_1_0 { false } else { !says("close") };
    let method = method.ok_or(Refusal::MethodUnknown)?;
    let (path, query) = target(request.path.unwrap_or_default(), method, &host)?;
    Ok(Head { method, path, query, http_1_0, host, framing, expects_continue, keep_alive, fields })
}

/// Fields by which something is decided here; a second one would be decided on by somebody else.
const SINGLE_FIELDS: [(&str, &str); 7] = [
    ("host", "the Host header came twice"),
    ("content-length", "the Content-Length header came twice"),
    ("transfer-encoding", "the Transfer-Encoding header came twice"),
    ("authorization", "the Authorization header came twice"),
    ("content-type", "the Content-Type header came twice"),
    ("expect", "the Expect header came twice"),
    ("origin", "the Origin header came twice"),
];

/// RFC 9112, section 6: both framings together, or two lengths, are an attack or a mistake.
fn framing(length: Option<&str>, coding: Option<&str>, http_1_0: bool) -> Result<Framing, Refusal> {
    match (length, coding) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => {
            Err(Refusal::BadHead("Content-Length and Transfer-Encoding exclude each other"))
        }
        (None, Some(_)) if http_1_0 => Err(Refusal::BadHead("HTTP/1.0 has no Transfer-Encoding")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Refusal::TransferCoding),
        (Some(digits), None) => {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let length = if plain { digits.parse().ok() } else { None };
            length
                .map(Framing::Length)
                .ok_or(Refusal::BadHead("the Content-Length is not a number"))
        }
    }
}

/// RFC 9112, section 3.2. The absolute form is served when its authority is the Host, since a
/// server must take it; for anything else this server would have to be a proxy.
fn target(raw: &str, method: Method, host: &str) -> Result<(String, Option<String>), Refusal> {
    if raw.contains('#') || !raw.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal::BadHead("the request target has a character that it may not have"));
    }
    if raw == "*" && method == Method::Options {
        return Ok(("*".to_owned(), None));
    }
    let origin_form = match raw.split_once("://") {
        Some((scheme, rest)) if !raw.starts_with('/') => {
            let known = ["http", "https"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(at).unwrap_or((rest, ""));
            if !known || !authority.eq_ignore_ascii_case(host) {
                return Err(Refusal::BadHead(
                    "the request target names another server than the Host; this is no proxy",
                ));
            }
            path
        }
        _ => raw,
    };
    let (path, query) = match origin_form.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (origin_form, None),
    };
    match path {
        "" if raw.contains("://") => Ok(("/".to_owned(), query)),
        path if path.starts_with('/') => Ok((path.to_owned(), query)),
        _ => Err(Refusal::BadHead("the request target is not a path")),
    }
}
