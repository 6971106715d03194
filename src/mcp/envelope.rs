//! What each request of 2026-07-28 says of itself in `params._meta`.

use serde_json::{Map, Value, json};

use super::input::ClientFeatures;
use super::jsonrpc::{ErrorCode, RpcError};
use super::level::Level;
use super::revision::Revision;

/// The metadata of one request (2026-07-28, basic, "_meta").
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The revision that the request claims to speak.
    pub version: String,
    /// What its client can be asked for.
    pub features: ClientFeatures,
    /// From which level on it wants log messages; none without it.
    pub log_level: Option<Level>,
}

impl Envelope {
    /// Whether a message claims to be of 2026-07-28 or later: its `_meta` has the key, whatever
    /// its value.
    #[must_use]
    pub fn is_claimed(params: &Map<String, Value>) -> bool {
        params.get("_meta").is_some_and(|meta| meta.get(VERSION).is_some())
    }

    /// Reads the metadata. Errors: -32602, naming what is missing or malformed.
    pub fn read(params: &Map<String, Value>) -> Result<Self, RpcError> {
        let invalid = |what: String| RpcError::new(ErrorCode::INVALID_PARAMS, what);
        let meta = params.get("_meta").and_then(Value::as_object);
        let missing = |key: &str| invalid(format!("params._meta has no {key:?}"));
        let meta = meta.ok_or_else(|| missing(VERSION))?;
        let version = meta.get(VERSION).ok_or_else(|| missing(VERSION))?;
        let version = version
            .as_str()
            .ok_or_else(|| invalid(format!("params._meta[{VERSION:?}] is not a string")))?;
        let capabilities = meta.get(CAPABILITIES).ok_or_else(|| missing(CAPABILITIES))?;
        if !capabilities.is_object() {
            return Err(invalid(format!("params._meta[{CAPABILITIES:?}] is not an object")));
        }
        let log_level = match meta.get(LOG_LEVEL) {
            None | Some(Value::Null) => None,
            Some(level) => Some(
                level
                    .as_str()
                    .and_then(Level::known)
                    .ok_or_else(|| invalid(format!("params._meta[{LOG_LEVEL:?}] is no level")))?,
            ),
        };
        let features = ClientFeatures::read(capabilities);
        Ok(Self { version: version.to_owned(), features, log_level })
    }

    /// Errors: -32022 when this revision is not served without a handshake.
    pub fn check_version(&self) -> Result<(), RpcError> {
        if self.version == Revision::MODERN.as_str() {
            return Ok(());
        }
        let what = "this revision is not served without a handshake";
        Err(RpcError::new(ErrorCode::UNSUPPORTED_VERSION, what)
            .with(json!({ "supported": supported(), "requested": self.version })))
    }
}

/// The revisions that may stand in `_meta`.
pub(super) fn supported() -> [&'static str; 1] {
    [Revision::MODERN.as_str()]
}

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
