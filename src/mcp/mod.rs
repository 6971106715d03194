//! The Model Context Protocol: values in, values out.
//!
//! Names no socket, header, thread, clock or tool.

mod dispatch;
mod jsonrpc;
mod pending;
mod revision;
mod service;
mod shape;
mod volume;

pub use dispatch::{Call, Dispatcher, ProgressToken, SERVER_NAME, SERVER_VERSION, Step, progress};
pub use jsonrpc::{
    ErrorCode, Incoming, Malformed, Message, RequestId, RpcError, error_reply, read, result_reply,
};
pub use pending::InFlight;
pub use revision::Revision;
pub use service::{
    Annotations, CallContext, CallToolResult, Content, Lane, Progress, Service, Structured, Tool,
    ToolCall, UnknownTool,
};
