//! URLs as OAuth compares them: redirect URIs by every character, resources in a canonical form.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An absolute URI with an authority, taken apart and nothing decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uri<'a> {
    pub(super) scheme: &'a str,
    /// An IPv6 literal in brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<&'a str>,
    /// Path and query.
    pub(super) rest: &'a str,
}

impl<'a> Uri<'a> {
    /// `None`: it has a user, a fragment, or a character that two readers could take differently.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#<>\"`{}|^".contains(&byte);
        if text.len() > URI_BYTES_MAX || !text.bytes().all(plain) {
            return None;
        }
        let (scheme, behind) = text.split_once("://")?;
        let end = behind.find(['/', '?']).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at_checked(end)?;
        let literal = authority.find(']').map_or(0, |end| end + 1);
        let colon = authority.get(literal..)?.find(':').map(|colon| literal + colon);
        let (host, port) = match colon.and_then(|colon| authority.split_at_checked(colon)) {
            Some((host, port)) => (host, Some(port.get(1..)?)),
            None => (authority, None),
        };
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_name = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        };
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host =
            literal.map_or_else(|| is_name(host), |text| text.parse::<Ipv6Addr>().is_ok());
        let is_port = port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        });
        (is_scheme && is_host && is_port).then_some(Self { scheme, host, port, rest })
    }

    /// A program on the user's own machine (RFC 8252, section 7.3).
    pub(super) fn is_loopback(&self) -> bool {
        self.scheme == "http" && ["localhost", "127.0.0.1", "[::1]"].contains(&self.host)
    }

    /// Whether codes may be sent there: https anywhere, http on the user's machine, or a private
    /// scheme that names its owner (RFC 8252, section 7.1).
    pub(super) fn may_redirect(&self) -> bool {
        match self.scheme {
            "https" => true,
            "http" => self.is_loopback(),
            scheme => scheme.contains('.') || OWN_SCHEMES.contains(&scheme),
        }
    }

    /// What a person is shown of where codes go.
    pub(super) fn shown(&self) -> String {
        match (self.scheme, self.port) {
            ("https", None) => self.host.to_owned(),
            ("http", _) => format!("{} (this computer)", self.host),
            ("https", Some(port)) => format!("{}:{port}", self.host),
            // Or `claude.ai://x` would look like a host.
            (scheme, _) => format!("{scheme}://{} (an app on this computer)", self.host),
        }
    }

    /// Whether the host is an address and no name.
    pub(super) fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

/// Whether codes may be sent to a URI.
#[must_use]
pub fn is_redirect(uri: &str) -> bool {
    Uri::parse(uri).is_some_and(|uri| uri.may_redirect())
}

/// Whether a redirect URI is the registered one: the same text, but for the port on the user's own
/// machine, where also no path is `/`.
pub(super) fn is_same_redirect(sent: &str, registered: &str) -> bool {
    if sent == registered {
        return true;
    }
    let (Some(sent), Some(registered)) = (Uri::parse(sent), Uri::parse(registered)) else {
        return false;
    };
    let rest =
        |uri: &Uri<'_>| if uri.rest.is_empty() { "/".to_owned() } else { uri.rest.to_owned() };
    sent.is_loopback()
        && sent.host == registered.host
        && registered.is_loopback()
        && rest(&sent) == rest(&registered)
}

/// A resource as it is compared: scheme and host in lower case, without the scheme's own port and
/// without a slash at the end. `None`: it is none.
pub(super) fn canonical(resource: &str) -> Option<String> {
    let uri = Uri::parse(resource)?;
    let scheme = uri.scheme.to_ascii_lowercase();
    let own = if scheme == "https" { "443" } else { "80" };
    let port = uri.port.filter(|port| *port != own && !port.is_empty());
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let (host, rest) = (uri.host.to_ascii_lowercase(), uri.rest);
    Some(format!("{scheme}://{host}{port}{}", rest.strip_suffix('/').unwrap_or(rest)))
}

/// Private schemes that real clients use although they have no dot.
const OWN_SCHEMES: [&str; 2] = ["cursor", "vscode"];
const URI_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_uri_is_compared_by_every_character_but_a_loopback_port() {
        let claude = "https://claude.ai/api/mcp/auth_callback";
        assert!(is_same_redirect(claude, claude));
        for other in [
            "https://claude.ai.evil/api/mcp/auth_callback",
            "https://claude.ai/api/mcp/auth_callback/",
            "https://claude.ai/api/mcp/auth_callback?a",
            "https://Claude.ai/api/mcp/auth_callback",
            "https://claude.ai:443/api/mcp/auth_callback",
            "https://claude.ai@evil.example/api/mcp/auth_callback",
            "http://claude.ai/api/mcp/auth_callback",
        ] {
            assert!(!is_same_redirect(other, claude), "{other}");
        }
        for (sent, registered, same) in [
            ("http://127.0.0.1:1234/cb", "http://127.0.0.1/cb", true),
            ("http://localhost:1/cb", "http://localhost:2/cb", true),
            ("http://127.0.0.1:33418", "http://127.0.0.1/", true),
            ("http://[::1]:9/cb", "http://[::1]/cb", true),
            ("http://localhost:1/cb", "http://127.0.0.1:1/cb", false),
            ("http://localhost.evil:1/cb", "http://localhost/cb", false),
            ("http://[::1]:1/cb", "http://localhost/cb", false),
            ("http://localhost:1/cb2", "http://localhost/cb", false),
            ("https://localhost:1/cb", "https://localhost:2/cb", false),
            ("http://localhost:1@evil/cb", "http://localhost/cb", false),
        ] {
            assert_eq!(is_same_redirect(sent, registered), same, "{sent} {registered}");
        }
    }

    #[test]
    fn codes_are_sent_nowhere_that_could_run_them() {
        for (uri, may) in [
            ("https://a.example/cb", true),
            ("http://localhost/cb", true),
            ("http://192.168.1.4/cb", false),
            ("http://a.example/cb", false),
            ("cursor://anysphere.cursor-mcp/oauth/callback", true),
            ("com.example.app://cb", true),
            ("javascript://alert(1)", false),
            ("data://a/b", false),
            ("file://a/b", false),
            ("https://a.example/cb#f", false),
            ("https://u@a.example/cb", false),
            ("https://a.example\\@b/cb", false),
            ("https://a.example/c b", false),
            ("https:///cb", false),
            ("https://a:99999/cb", false),
            ("/cb", false),
        ] {
            let parsed = Uri::parse(uri);
            assert_eq!(parsed.is_some_and(|uri| uri.may_redirect()), may, "{uri}");
        }
    }

    #[test]
    fn a_person_is_told_whether_a_code_stays_on_the_computer() {
        for (uri, shown) in [
            ("https://claude.ai/cb", "claude.ai"),
            ("https://claude.ai:8443/cb", "claude.ai:8443"),
            ("http://localhost:3335/cb", "localhost (this computer)"),
            ("claude.ai://cb/x", "claude.ai://cb (an app on this computer)"),
        ] {
            assert_eq!(Uri::parse(uri).unwrap().shown(), shown);
        }
    }

    #[test]
    fn a_resource_has_one_form() {
        for text in ["https://A.example", "https://a.example/", "HTTPS://a.example:443/"] {
            assert_eq!(canonical(text).unwrap(), "https://a.example", "{text}");
        }
        assert_eq!(canonical("https://a.example:8443/mcp/").unwrap(), "https://a.example:8443/mcp");
        assert_eq!(canonical("https://a.example/MCP").unwrap(), "https://a.example/MCP");
        assert_eq!(canonical("a.example"), None);
    }
}
