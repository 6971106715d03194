//! What the protocol asks of the house behind it: tools, and how one is called.

use std::fmt;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::cancel::Cancel;

/// Which pool a call runs in, so that ten-minute generations never delay a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Generates, loads or downloads: as many threads as the upstreams serve at once.
    Slow,
    /// Everything else.
    Quick,
}

/// Hints of a tool (`annotations`, since 2025-03-26). Hints, not promises: a client must not
/// trust them from a server it does not trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent hints, named by the protocol")]
pub struct Annotations {
    /// Changes nothing.
    pub read_only: bool,
    /// May destroy something; meaningful only when it is not read-only.
    pub destructive: bool,
    /// A second identical call has no further effect.
    pub idempotent: bool,
    /// Reaches beyond the upstreams of this server.
    pub open_world: bool,
}

/// One tool as `tools/list` shows it.
#[derive(Clone, Debug)]
pub struct Tool {
    /// `[A-Za-z0-9_.-]{1,64}`.
    pub name: &'static str,
    /// For display (since 2025-06-18).
    pub title: &'static str,
    /// For the model that chooses among tools.
    pub description: &'static str,
    /// JSON Schema of `arguments`, root `type: object`; passed through untouched.
    pub input_schema: Value,
    /// JSON Schema of `structuredContent`, root `type: object` (since 2025-06-18).
    pub output_schema: Option<Value>,
    /// Hints (since 2025-03-26).
    pub annotations: Annotations,
    /// Which pool its calls run in.
    pub lane: Lane,
}

/// One block of a result's `content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
}

/// `structuredContent`, written once: as it stands here it goes out, whatever the transport.
#[derive(Clone, Debug)]
pub struct Structured(Box<RawValue>);

impl Structured {
    /// JSON text that is known to be an object. `None`: it is no JSON.
    #[must_use]
    pub fn from_json(text: String) -> Option<Self> {
        RawValue::from_string(text).ok().map(Self)
    }

    /// The JSON as it goes out.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// The JSON as a value, for whoever wants to look into it.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }
}

impl From<Value> for Structured {
    fn from(value: Value) -> Self {
        // A value is always JSON.
        Self(serde_json::value::to_raw_value(&value).unwrap_or_default())
    }
}

/// What a tool answers (`CallToolResult`). A failure that the model or the user can do something
/// about is a result with `is_error`, not a protocol error.
#[derive(Clone, Debug, Default)]
pub struct CallToolResult {
    /// At least one block.
    pub content: Vec<Content>,
    /// An object that fits the tool's output schema (sent since 2025-06-18).
    pub structured: Option<Structured>,
    /// The call failed; the text says what happened and what to do.
    pub is_error: bool,
}

/// A call as a client asked for it.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// `params.arguments`; empty when the client left it out.
    pub arguments: Map<String, Value>,
}

/// Where progress of one call goes. Values must rise strictly (2025-03-26, progress).
pub trait Progress: Send + Sync {
    /// Sends `notifications/progress`. Never blocks for long: when the client does not keep up
    /// its stream is ended, which fires the call's [`Cancel`].
    fn report(&self, progress: f64, total: Option<f64>, message: &str);
}

/// What a tool may use besides its arguments.
pub struct CallContext<'a> {
    /// Fires when the call is to stop; a tool must then return soon, its result is dropped.
    pub cancel: &'a Cancel,
    /// Only when the client sent a progress token.
    pub progress: Option<&'a dyn Progress>,
}

impl fmt::Debug for CallContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("cancel", self.cancel)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

/// A call that no tool took: a protocol error with code -32602.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTool(pub String);

impl fmt::Display for UnknownTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown tool: {}", self.0)
    }
}

impl std::error::Error for UnknownTool {}

/// The house behind the protocol.
pub trait Service: Send + Sync + 'static {
    /// Every tool, always in the same order.
    fn tools(&self) -> &[Tool];

    /// Runs a tool and blocks until it has a result. Errors: no tool has that name.
    fn call(
        &self,
        call: &ToolCall,
        context: &CallContext<'_>,
    ) -> Result<CallToolResult, UnknownTool>;
}
