//! What was typed and set, resolved into one validated [`Config`]. Rooms never get it whole; the
//! composition root makes each room's own settings of it.

mod error;
mod file;
mod flags;
mod generation;
mod keys;
mod limits;
mod network;
mod oauth;
mod prompts;
mod report;
mod resolve;
mod source;
mod toml;
mod tools;
mod upstream;
mod url;
mod whereabouts;

use std::net::IpAddr;
use std::path::PathBuf;

pub use error::ConfigError;
pub use flags::{AuthAction, AuthCommand, AuthPassphrase, ClientAction, ClientAdd, ClientCommand};
pub use flags::{CertCommand, Command, Flags, TokenAction, TokenAdd, TokenCommand, TokenList};
pub use flags::{ClientList, ClientRemove, GrantsAction, GrantsCommand, GrantsList, GrantsRevoke};
pub use flags::{TokenRevoke, parse};
pub use generation::Generation;
pub use keys::file_keys;
pub use limits::Limits;
pub use network::HTTPS_PORT_DEFAULT;
pub use oauth::{Oauth, Proof};
pub use prompts::{OwnArgument, OwnPrompt};
pub use report::{Origin, Report, Row};
pub use resolve::resolve;
pub use source::Environment;
pub use tools::{Profile, ToolsConfig};
pub use upstream::{UpstreamConfig, UpstreamKind};
pub use url::PublicUrl;

/// Everything that was decided before the first socket is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network listeners, none only beside stdio; each scheme at most once.
    pub listeners: Vec<Listener>,
    /// Whether the program that started the server is served over stdin and stdout.
    pub stdio: bool,
    /// The address they listen on; `[::]` also takes IPv4 where the system can.
    pub host: IpAddr,
    /// Whether the host is the default, so that a machine without IPv6 may fall back to 0.0.0.0.
    pub host_is_default: bool,
    /// A certificate of the owner's, instead of the one of the state folder.
    pub certificate: Option<CertificateFiles>,
    /// Names and addresses that our own certificate has besides the machine's.
    pub extra_names: Vec<String>,
    /// Where certificates, tokens and whatever must survive a restart are kept.
    pub state_folder: PathBuf,
    /// The model servers, at least one; the first is asked where nothing else decides.
    pub upstreams: Vec<UpstreamConfig>,
    /// The model of calls that name none.
    pub model: Option<String>,
    /// How models are asked where a call does not say.
    pub generation: Generation,
    /// Which tools clients see.
    pub tools: ToolsConfig,
    /// The owner's own prompts.
    pub prompts: Vec<OwnPrompt>,
    /// A file with one token a line.
    pub token_file: Option<PathBuf>,
    /// A token from the environment.
    pub token: Option<Secret>,
    /// Whether the home rule stays beside the tokens.
    pub home_open: bool,
    /// Whether and how clients are let in over OAuth.
    pub oauth: Option<Oauth>,
    /// Where clients outside reach the server; the first is the one to show.
    pub public_urls: Vec<PublicUrl>,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Host names that are accepted besides local ones; those of the public URLs are among
    /// them.
    pub allow_hosts: Vec<String>,
    /// Origins of web pages that may use the server, as `scheme://host[:port]`; those of the public
    /// URLs are among them.
    pub allow_origins: Vec<String>,
    /// What is logged, in env_logger's words.
    pub log_filter: String,
    /// A file that the log is also written to.
    pub log_file: Option<PathBuf>,
    /// Why strangers can reach the server, if they can: the setting that says so. Tokens are
    /// needed then.
    pub public: Option<String>,
    /// Every limit.
    pub limits: Limits,
    /// Each setting with its value and where that came from.
    pub report: Report,
}

impl Config {
    /// Refuses a server that strangers can reach and that asks for no token.
    /// Errors: [`ConfigError::Public`].
    pub fn check_exposure(&self, tokens_required: bool) -> Result<(), ConfigError> {
        match &self.public {
            Some(setting) if !tokens_required => Err(ConfigError::Public(setting.clone())),
            _ => Ok(()),
        }
    }

    /// Where clients outside reach the server, first of all.
    #[must_use]
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.public_urls.first()
    }

    /// Whether any listener speaks TLS.
    #[must_use]
    pub fn has_https(&self) -> bool {
        self.listeners.iter().any(|listener| listener.scheme == Scheme::Https)
    }
}

/// One port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// With TLS or without.
    pub scheme: Scheme,
    /// 0 lets the system choose.
    pub port: u16,
}

/// With TLS or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without.
    Http,
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// PEM files of a certificate that somebody else made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The leaf first, then what leads to its CA.
    pub cert: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
