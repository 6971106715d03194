//! Where an upstream is and how long it may take, checked before the first request.

use std::fmt;
use std::io;
use std::path::PathBuf;

use ureq::http::{HeaderValue, Uri};

use crate::upstream::limits::Limits;
use crate::upstream::models::Kind;

/// What an [`Upstream`](super::Upstream) is made from.
#[derive(Clone)]
pub struct Settings {
    /// What people and programs call it.
    pub name: String,
    /// Where its HTTP API is.
    pub base_url: BaseUrl,
    /// What it is; found out when `None`.
    pub kind: Option<Kind>,
    /// A file with the certificates (PEM) that vouch for it, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The model of calls that name none.
    pub default_model: Option<String>,
    /// Generations that it works on at the same time; at least 1.
    pub concurrency: usize,
    /// Generations that wait for their turn; one more is refused.
    pub queue: usize,
    /// An LM Studio API token, sent as `Authorization: Bearer`; never shown.
    pub api_token: Option<String>,
    /// The named timeouts.
    pub limits: Limits,
    /// Longest answer that is taken, in bytes: a list's body, or a generated text with its
    /// reasoning.
    pub reply_bytes_max: usize,
}

impl Settings {
    /// The defaults for everything but the address; the name is its host.
    #[must_use]
    pub fn new(base_url: BaseUrl) -> Self {
        Self {
            name: base_url.host().to_owned(),
            base_url,
            kind: None,
            ca_file: None,
            default_model: None,
            concurrency: 1,
            queue: QUEUE,
            api_token: None,
            limits: Limits::default(),
            reply_bytes_max: REPLY_BYTES_MAX,
        }
    }

    /// The value of the `Authorization` header. Errors: the token cannot stand in a header.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, SettingsError> {
        let Some(token) = &self.api_token else { return Ok(None) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_unprintable| SettingsError::Token)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("base_url", &self.base_url)
            .field("kind", &self.kind)
            .field("api_token", &self.api_token.as_ref().map(|_| ".."))
            .field("limits", &self.limits)
            .field("reply_bytes_max", &self.reply_bytes_max)
            .finish_non_exhaustive()
    }
}

/// An upstream's address: scheme, host, port and perhaps a path before the API's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
    port: u16,
    secure: bool,
}

impl BaseUrl {
    /// Reads `http://host:1234`, also without the scheme, with a `/` or a `/v1` at the end.
    /// Errors: anything that is not such an address, or one that carries a password.
    pub fn parse(typed: &str) -> Result<Self, SettingsError> {
        let bad = |why| SettingsError::Url { typed: typed.escape_debug().to_string(), why };
        let trimmed = typed.trim();
        let with_scheme =
            if trimmed.contains("://") { trimmed.to_owned() } else { format!("http://{trimmed}") };
        let uri: Uri = with_scheme.parse().map_err(|_unreadable| bad("it is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("only http and https are spoken")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user name or password cannot stand in it"));
        }
        if uri.query().is_some() {
            return Err(bad("it must not carry a query"));
        }
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            None | Some("") => {
                if secure {
                    443
                } else {
                    80
                }
            }
            Some(port) => port
                .trim_start_matches(':')
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| bad("the port must be 1 to 65535"))?,
        };
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path).trim_end_matches('/');
        let scheme = if secure { "https" } else { "http" };
        Ok(Self {
            text: format!("{scheme}://{authority}{path}"),
            host: authority.host().to_owned(),
            port,
            secure,
        })
    }

    /// The address as a URL without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host as it stands in the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or 443 when the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.secure
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An upstream cannot be set up like this.
#[derive(Debug)]
pub enum SettingsError {
    /// The address cannot be used.
    Url {
        /// What was typed, escaped.
        typed: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The API token has characters that cannot be sent.
    Token,
    /// Two upstreams have one name, or there is none at all.
    Names(String),
    /// The file with its certificates cannot be used.
    CaFile(PathBuf, io::Error),
    /// The system's certificates, which https needs, cannot be read.
    Roots(io::Error),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { typed, why } => write!(
                f,
                "the model server's address \"{typed}\" cannot be used: {why}; write it like \
                 http://localhost:1234"
            ),
            Self::Token => f.write_str(
                "the model server's API token has characters that cannot be sent; copy it again \
                 from LM Studio",
            ),
            Self::Names(said) => f.write_str(said),
            Self::CaFile(path, cause) => write!(
                f,
                "the certificates of a model server cannot be read from {}: {cause}; it must be a \
                 PEM file",
                path.display()
            ),
            Self::Roots(cause) => write!(
                f,
                "no trusted certificates were found for an https model server ({cause}); install \
                 the system's CA bundle or set SSL_CERT_FILE"
            ),
        }
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Roots(cause) | Self::CaFile(_, cause) => Some(cause),
            Self::Url { .. } | Self::Token | Self::Names(_) => None,
        }
    }
}

/// More would wait longer than anybody does.
const QUEUE: usize = 8;

/// Far longer than any answer that a context window allows.
const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_the_way_people_type_them() {
        for (typed, text, host, port) in [
            ("http://localhost:1234", "http://localhost:1234", "localhost", 1234),
            ("http://localhost:1234/v1", "http://localhost:1234", "localhost", 1234),
            ("http://localhost:1234/v1/", "http://localhost:1234", "localhost", 1234),
            (" 192.168.1.5:1234 ", "http://192.168.1.5:1234", "192.168.1.5", 1234),
            ("desk.local:1234/", "http://desk.local:1234", "desk.local", 1234),
            ("https://lm.example/studio/v1", "https://lm.example/studio", "lm.example", 443),
            ("http://[::1]:1234", "http://[::1]:1234", "[::1]", 1234),
            ("HTTP://Desk:1234", "http://Desk:1234", "Desk", 1234),
        ] {
            let url = BaseUrl::parse(typed).unwrap();
            assert_eq!((url.as_str(), url.host(), url.port()), (text, host, port), "{typed}");
        }
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_the_reason() {
        for (typed, why) in [
            ("ftp://desk:1234", "only http"),
            ("http://me:secret@desk:1234", "password"),
            ("http://desk:1234/?a=b", "query"),
            ("http://desk:99999", "1 to 65535"),
            ("http://desk:", "1 to 65535"),
            ("http://desk:0", "1 to 65535"),
            ("", "not a URL"),
            ("http://", "not a URL"),
            ("desk\n", "http://desk"),
        ] {
            let told = match BaseUrl::parse(typed) {
                Ok(url) => url.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(told.contains(why), "{typed:?}: {told}");
        }
    }

    #[test]
    fn the_token_is_never_shown() {
        let mut settings = Settings::new(BaseUrl::parse("localhost:1234").unwrap());
        settings.api_token = Some("sk-lm-secret".to_owned());
        assert!(!format!("{settings:?}").contains("secret"));
        let header = settings.authorization().unwrap().unwrap();
        assert!(!format!("{header:?}").contains("secret"));
    }
}
