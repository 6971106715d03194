//! The little of URLs that settings need, read strictly. No user, query or fragment.

use std::fmt;
use std::net::IpAddr;

use super::Scheme;

/// An http or https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    /// Lower-case; an IPv6 literal in brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Empty, or begins with a slash and does not end with one.
    pub(super) path: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = [Scheme::Https, Scheme::Http]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{}", path.trim_end_matches('/'))),
            None => (rest, String::new()),
        };
        let (host, port) = split_port(authority)?;
        let path_is_plain =
            path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte));
        let path = if path == "/" { String::new() } else { path };
        (is_host(host) && path_is_plain).then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path,
        })
    }

    /// `scheme://host[:port]`, the port left out where it is the scheme's own (RFC 6454).
    pub(super) fn origin(&self) -> String {
        let own = match self.scheme {
            Scheme::Https => 443,
            Scheme::Http => 80,
        };
        let port = self.port.filter(|port| *port != own);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.scheme.as_str(), self.host)
    }

    /// The host as an address, if it is one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Where clients outside reach the server: `scheme://host[:port][/path]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    host: String,
    path: String,
}

impl PublicUrl {
    /// `None`: the path has something that a proxy or a client may write in another way, such as
    /// `..`, `//` or `%2F`.
    pub(super) fn new(url: &Url) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_segment = |segment: &str| !["", ".", ".."].contains(&segment);
        let all_plain = url
            .path
            .split('/')
            .skip(1)
            .all(|segment| is_segment(segment) && segment.bytes().all(plain));
        all_plain.then(|| Self {
            origin: url.origin(),
            host: url.host.clone(),
            path: url.path.clone(),
        })
    }

    /// `scheme://host[:port]`, as browsers send it.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host in lower case, an IPv6 literal in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path below which the server is: empty, or begins with a slash and does not end with one.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Without a slash at its end, so that a route can be put behind it.
impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Whether a text is an IP literal as URLs have it, or a DNS name (RFC 1123, underscores allowed,
/// since home networks have them).
pub(super) fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(literal) => literal
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => is_dns_name(text),
    }
}

pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = authority.get(end..)?.find(':').map(|place| end + place);
    match colon.and_then(|colon| authority.split_at_checked(colon)) {
        Some((host, port)) => Some((host, Some(port.strip_prefix(':')?.parse().ok()?))),
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_strictly() {
        for (text, origin, path) in [
            ("http://localhost:1234", "http://localhost:1234", ""),
            ("HTTPS://Desk.Local/", "https://desk.local", ""),
            ("https://example.org:443/a/b/", "https://example.org", "/a/b"),
            ("http://[::1]:80", "http://[::1]", ""),
            ("http://192.168.1.5", "http://192.168.1.5", ""),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.origin().as_str(), url.path.as_str()), (origin, path), "{text}");
        }
        for text in [
            "",
            "localhost:1234",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:b",
            "http://a:99999",
            "http://a b",
            "http://user@host",
            "http://a/?q",
            "http://a#f",
            "http://[::1",
            "http://::1",
            "http://-a",
            "http://a..b",
            "http://a:1:2",
            "http://a\n",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_public_url_has_a_path_that_is_written_in_one_way() {
        for (text, shown, path) in [
            ("https://Home.example/", "https://home.example", ""),
            ("https://home.example:443/llm/", "https://home.example/llm", "/llm"),
            (
                "https://home.example:8443/a/b-._~C",
                "https://home.example:8443/a/b-._~C",
                "/a/b-._~C",
            ),
        ] {
            let url = PublicUrl::new(&Url::parse(text).unwrap()).unwrap();
            assert_eq!((url.to_string().as_str(), url.path()), (shown, path), "{text}");
        }
        for path in ["/a//b", "//a", "/.", "/..", "/a/../b", "/a%2Fb", "/a;b", "/a+b", "/a@b"] {
            let url = Url::parse(&format!("https://home.example{path}")).unwrap();
            assert_eq!(PublicUrl::new(&url), None, "{path}");
        }
    }
}
