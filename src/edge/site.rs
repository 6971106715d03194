//! A public URL: under which Host it is reached, and what is announced there.

/// One public URL, `scheme://host[:port][/path]` in its canonical form: lower case, no port that is
/// the scheme's own, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    base: String,
    /// Behind the scheme.
    authority: usize,
    /// Where the path begins.
    path: usize,
    own_port: &'static str,
}

impl Site {
    /// `None`: the text is not of that form.
    #[must_use]
    pub fn new(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = scheme.len() + 3;
        let path = authority + rest.find('/').unwrap_or(rest.len());
        let own_port = if scheme == "https" { ":443" } else { ":80" };
        Some(Self { base: url.to_owned(), authority, path, own_port })
    }

    /// The whole URL: the issuer, and the audience of what is granted here.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `scheme://host[:port]`.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.base.get(..self.path).unwrap_or_default()
    }

    /// The path below which the server is: empty, or begins with a slash and does not end with one.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.base.get(self.path..).unwrap_or_default()
    }

    /// Where the metadata of a resource of this site is (RFC 9728, section 3.1: the well-known path
    /// stands between host and path).
    #[must_use]
    pub fn resource_metadata(&self, resource: &str) -> String {
        let (origin, prefix) = (self.origin(), self.prefix());
        format!("{origin}{RESOURCE_METADATA}{prefix}{resource}")
    }

    /// Whether a Host header is exactly this site's.
    pub(super) fn is_at(&self, host: &str) -> bool {
        let host = host.strip_suffix(self.own_port).unwrap_or(host);
        self.authority().eq_ignore_ascii_case(host)
    }

    /// Whether a Host header has this site's name, on whatever port.
    pub(super) fn is_named(&self, host: &str) -> bool {
        let name = name_of(self.authority());
        host.split_at_checked(name.len()).is_some_and(|(start, rest)| {
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            start.eq_ignore_ascii_case(name) && (rest.is_empty() || rest.starts_with(':'))
        })
    }

    fn authority(&self) -> &str {
        self.base.get(self.authority..self.path).unwrap_or_default()
    }
}

fn name_of(authority: &str) -> &str {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let port = authority.get(end..).and_then(|rest| rest.find(':'));
    port.and_then(|port| authority.get(..end + port)).unwrap_or(authority)
}

/// RFC 9728, section 3.
pub const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_at_its_very_host_and_named_on_every_port() {
        let site = Site::new("https://mcp.example.org").unwrap();
        for (host, at, named) in [
            ("mcp.example.org", true, true),
            ("MCP.example.org:443", true, true),
            ("mcp.example.org:3010", false, true),
            ("mcp.example.org.", false, true),
            ("mcp.example.org.evil", false, false),
            ("evil.mcp.example.org", false, false),
            ("mcp.example.org:80", false, true),
        ] {
            assert_eq!((site.is_at(host), site.is_named(host)), (at, named), "{host}");
        }
        let site = Site::new("https://[fd00::1]:8443/llm").unwrap();
        assert!(
            site.is_at("[fd00::1]:8443") && site.is_named("[fd00::1]") && !site.is_at("[fd00::1]")
        );
        assert_eq!((site.origin(), site.prefix()), ("https://[fd00::1]:8443", "/llm"));
        let metadata = "https://[fd00::1]:8443/.well-known/oauth-protected-resource/llm/mcp";
        assert_eq!(site.resource_metadata("/mcp"), metadata);
    }
}
