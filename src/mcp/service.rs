//! What the protocol asks of the house behind it: tools, resources, prompts, and how one is used.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::content::{CallToolResult, Completions, PromptResult, ResourceContents};
use super::input::{ClientFeatures, InputNeeded, Inputs};
use super::level::Level;
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

/// One resource as `resources/list` shows it, or one template as `resources/templates/list` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its URI; of a template, a URI template (RFC 6570).
    pub uri: &'static str,
    /// `[A-Za-z0-9_.-]+`.
    pub name: &'static str,
    /// For display (since 2025-06-18).
    pub title: &'static str,
    /// For people and models.
    pub description: &'static str,
    /// What its contents are.
    pub mime_type: &'static str,
}

/// One prompt as `prompts/list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// `[A-Za-z0-9_.-]+`.
    pub name: Cow<'static, str>,
    /// For display (since 2025-06-18).
    pub title: Cow<'static, str>,
    /// For people.
    pub description: Cow<'static, str>,
    /// Its arguments, all of them strings.
    pub arguments: Cow<'static, [PromptArgument]>,
}

/// One argument of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptArgument {
    /// Its name.
    pub name: Cow<'static, str>,
    /// For people.
    pub description: Cow<'static, str>,
    /// Without it the prompt is refused.
    pub required: bool,
    /// Another name that is taken for it, without being shown.
    pub also: Option<&'static str>,
}

/// What the house has; each is told to clients as a capability, so each must be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent capabilities, named by the protocol"
)]
pub struct Offer {
    /// Resources can be listed and read.
    pub resources: bool,
    /// Changes of resources are announced.
    pub subscribe: bool,
    /// Prompts can be listed and got.
    pub prompts: bool,
    /// Values of arguments can be completed.
    pub completions: bool,
    /// Log messages are sent.
    pub logging: bool,
    /// Changes of the lists of tools, prompts and resources are announced.
    pub list_changed: bool,
    /// Changes of the list of resources are announced.
    pub resources_changed: bool,
}

/// A call as a client asked for it.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// `params.arguments`; empty when the client left it out.
    pub arguments: Map<String, Value>,
}

/// What is to be completed (`completion/complete`).
#[derive(Clone, Debug)]
pub struct Completion {
    /// A prompt's name, or a resource template.
    pub reference: Reference,
    /// The argument that is being typed.
    pub argument: String,
    /// What was typed of it.
    pub value: String,
}

/// Whose argument is completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A prompt, by name.
    Prompt(String),
    /// A resource or template, by URI.
    Resource(String),
}

/// Where progress of one call goes. Values must rise strictly (2025-03-26, progress).
pub trait Progress: Send + Sync {
    /// Sends `notifications/progress`. Never blocks for long: when the client does not keep up
    /// its stream is ended, which fires the call's [`Cancel`].
    fn report(&self, progress: f64, total: Option<f64>, message: &str);
}

/// Where log messages of one call go.
pub trait Log: Send + Sync {
    /// Sends `notifications/message`, if the client wants that level. `logger` names the part of
    /// the house that speaks.
    fn log(&self, level: Level, logger: &str, data: Value);
}

/// What a tool, resource or prompt may use besides its arguments.
pub struct CallContext<'a> {
    /// Fires when the call is to stop; a tool must then return soon, its result is dropped.
    pub cancel: &'a Cancel,
    /// Only when the client sent a progress token.
    pub progress: Option<&'a dyn Progress>,
    /// For the client's log, where it has one.
    pub log: Option<&'a dyn Log>,
    /// What the client can be asked for.
    pub client: ClientFeatures,
    /// Who asks, as text that stays the same.
    pub principal: &'a str,
    /// The session of the call, where its revision has sessions; two principals never share one.
    pub session: Option<&'a str>,
    /// What it was asked for in earlier rounds of this very call, and answered.
    pub inputs: &'a Inputs,
}

impl CallContext<'_> {
    /// Sends a log message, where the client has a log.
    pub fn log(&self, level: Level, logger: &str, data: Value) {
        if let Some(log) = self.log {
            log.log(level, logger, data);
        }
    }
}

impl fmt::Debug for CallContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("cancel", self.cancel)
            .field("progress", &self.progress.is_some())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What a use of the house came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The result.
    Done(T),
    /// The client, or the person before it, is asked first; then the same call is made again.
    Needs(InputNeeded),
}

/// Why a use of the house is a protocol error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// No tool has that name.
    Tool(String),
    /// No prompt has that name.
    Prompt(String),
    /// There is no such resource.
    Resource(String),
    /// The parameters do not fit; says how.
    Params(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(name) => write!(f, "unknown tool: {name}; tools/list names them all"),
            Self::Prompt(name) => write!(f, "unknown prompt: {name}; prompts/list names them all"),
            Self::Resource(uri) => {
                write!(f, "resource not found: {uri}; resources/list names them")
            }
            Self::Params(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Unusable {}

/// The house behind the protocol. The lists are always the same and in the same order.
pub trait Service: Send + Sync + 'static {
    /// Every tool.
    fn tools(&self) -> &[Tool];

    /// Runs a tool and blocks until it has a result.
    /// Errors: [`Unusable`].
    fn call(
        &self,
        call: &ToolCall,
        context: &CallContext<'_>,
    ) -> Result<Outcome<CallToolResult>, Unusable>;

    /// What there is besides tools.
    fn offer(&self) -> Offer {
        Offer::default()
    }

    /// Every resource.
    fn resources(&self) -> &[Resource] {
        &[]
    }

    /// Every resource template.
    fn templates(&self) -> &[Resource] {
        &[]
    }

    /// Reads a resource. Errors: [`Unusable`].
    fn read(
        &self,
        uri: &str,
        _context: &CallContext<'_>,
    ) -> Result<Outcome<Vec<ResourceContents>>, Unusable> {
        Err(Unusable::Resource(uri.to_owned()))
    }

    /// Every prompt.
    fn prompts(&self) -> &[Prompt] {
        &[]
    }

    /// Fills in a prompt; its required arguments are there. Errors: [`Unusable`].
    fn prompt(
        &self,
        name: &str,
        _arguments: &Map<String, Value>,
        _context: &CallContext<'_>,
    ) -> Result<Outcome<PromptResult>, Unusable> {
        Err(Unusable::Prompt(name.to_owned()))
    }

    /// Completes the value of an argument; what is unknown has no completions.
    fn complete(&self, _completion: &Completion, _context: &CallContext<'_>) -> Completions {
        Completions::default()
    }
}
