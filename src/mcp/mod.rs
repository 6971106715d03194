//! The Model Context Protocol: values in, values out.
//!
//! Names no socket, header, thread, clock or tool.

mod bulletin;
mod call;
mod content;
mod dispatch;
mod envelope;
mod input;
mod jsonrpc;
mod level;
mod lists;
mod page;
mod pending;
mod revision;
mod round;
mod service;
mod shape;
mod volume;
mod writing;

pub use bulletin::{Bulletin, Change, Filter, Reader};
pub use call::{Call, Conversation, Peer, ProgressToken, Work};
pub use content::{
    CallToolResult, Completions, Content, PromptMessage, PromptResult, ResourceBody,
    ResourceContents, Structured,
};
pub use dispatch::{Dispatcher, Response, Step};
pub use envelope::Envelope;
pub use input::{ClientFeatures, InputNeeded, InputRequest, Inputs};
pub use jsonrpc::{
    ErrorCode, Incoming, Malformed, Message, RequestId, RpcError, error_reply, read, result_reply,
};
pub use level::Level;
pub use pending::{Asked, InFlight};
pub use revision::Revision;
pub use round::Round;
pub use service::{
    Annotations, CallContext, Completion, Lane, Log, Offer, Outcome, Progress, Prompt,
    PromptArgument, Reference, Resource, Service, Tool, ToolCall, Unusable,
};
pub use shape::{SERVER_NAME, SERVER_VERSION};
