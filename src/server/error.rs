//! Why the server does not start: one line that says what, and what to type.

use std::fmt;
use std::io;

use crate::auth::AuthError;
use crate::cert::CertError;
use crate::config::ConfigError;
use crate::edge::ListenError;
use crate::seal::SealError;
use crate::tools::UnknownTool;
use crate::upstream::SettingsError;

/// Why the server does not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting.
    Config(ConfigError),
    /// The tokens.
    Auth(AuthError),
    /// The certificate.
    Cert(CertError),
    /// The key of sessions.
    Seal(SealError),
    /// The upstream's address.
    Upstream(SettingsError),
    /// No model server is configured.
    NoUpstream,
    /// The tools to show.
    Tools(UnknownTool),
    /// A port.
    Listen(ListenError),
    /// TLS cannot be set up.
    Tls(rustls::Error),
    /// The inner listener cannot be set up.
    Inner(io::Error),
    /// The system refuses a thread.
    Threads(io::Error),
    /// Signals cannot be caught.
    Signals(io::Error),
    /// There was no network for this reason, and nobody at the other end of stdin.
    Alone(String),
    /// Stdin or stdout cannot be used.
    Pipes(io::Error),
    /// The system has no random bytes.
    Random,
}

impl StartError {
    /// Whether the settings are to blame (exit code 2) or the machine (1).
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Upstream(_)
                | Self::NoUpstream
                | Self::Tools(_)
                | Self::Auth(_)
                | Self::Cert(_)
                | Self::Seal(_)
        )
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Auth(error) => error.fmt(f),
            Self::Cert(error) => error.fmt(f),
            Self::Seal(error) => error.fmt(f),
            Self::Upstream(error) => error.fmt(f),
            Self::NoUpstream => f.write_str("no model server is configured; set LM_STUDIO_URL"),
            Self::Tools(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
            Self::Inner(error) => write!(
                f,
                "the inner socket cannot be made: {error}; set TMPDIR to a folder that can be \
                 written"
            ),
            Self::Threads(error) => write!(
                f,
                "the system refuses another thread: {error}; raise the limit with: ulimit -u \
                 unlimited"
            ),
            Self::Signals(error) => write!(f, "signals cannot be caught: {error}"),
            Self::Alone(refused) => f.write_str(refused),
            Self::Pipes(error) => write!(f, "stdin or stdout cannot be used: {error}"),
            Self::Random => f.write_str("the system has no random bytes"),
        }
    }
}

// Every sentence has its cause in it, since it is printed alone.
impl std::error::Error for StartError {}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for StartError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from!(
    ConfigError => Config,
    AuthError => Auth,
    CertError => Cert,
    SettingsError => Upstream,
    ListenError => Listen,
    SealError => Seal,
    UnknownTool => Tools
);
