//! One message in, one step out: what to answer, or which call to run.
//!
//! Knows no transport: whoever carries the messages keeps the conversation's revision and its
//! requests in flight, and runs the calls where it likes.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::jsonrpc::{ErrorCode, Message, RequestId, RpcError, error_reply, result_reply};
use super::revision::Revision;
use super::service::{CallContext, CallToolResult, Lane, Service, ToolCall};
use super::shape;

/// What a message asks of its carrier.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Reply(String),
    /// `initialize` settled the revision; send this.
    Initialized {
        /// For the rest of the conversation.
        revision: Revision,
        /// Who says it is there (`clientInfo`), for the log only.
        client: String,
        /// The reply.
        reply: String,
    },
    /// Run this call; its answer comes from [`Dispatcher::run`].
    Call(Call),
    /// Stop the request with this id.
    Cancel(RequestId),
    /// Nothing to do.
    Nothing,
}

/// A `tools/call` to be run.
#[derive(Debug)]
pub struct Call {
    /// The request's id.
    pub id: RequestId,
    /// Tool and arguments.
    pub tool: ToolCall,
    /// Where it runs.
    pub lane: Lane,
    /// Present when the client wants progress; goes back with its JSON type.
    pub progress_token: Option<ProgressToken>,
}

/// A progress token: a string or an integer.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressToken(Value);

/// Answers messages with the help of a [`Service`].
#[derive(Clone)]
pub struct Dispatcher {
    service: Arc<dyn Service>,
}

impl Dispatcher {
    /// A dispatcher for the tools of `service`.
    #[must_use]
    pub fn new(service: Arc<dyn Service>) -> Self {
        Self { service }
    }

    /// Decides what to do with a message of a conversation that speaks `revision`.
    #[must_use]
    pub fn step(&self, message: Message, revision: Revision) -> Step {
        match message {
            Message::Request { id, method, params } => {
                match self.request(&id, &method, params, revision) {
                    Ok(step) => step,
                    Err(error) => Step::Reply(error_reply(Some(&id), &error)),
                }
            }
            Message::Notification { method, params } => notification(&method, &params),
            // Nothing was asked of the client, so there is nothing that this answers.
            Message::Response => Step::Nothing,
        }
    }

    /// Runs a call on this thread and returns the reply to send.
    #[must_use]
    pub fn run(&self, call: &Call, revision: Revision, context: &CallContext<'_>) -> String {
        match self.service.call(&call.tool, context) {
            Ok(result) => Self::finish(&call.id, &result, revision),
            Err(unknown) => error_reply(
                Some(&call.id),
                &RpcError::new(ErrorCode::INVALID_PARAMS, unknown.to_string()),
            ),
        }
    }

    /// The reply with a result that was made elsewhere.
    #[must_use]
    pub fn finish(id: &RequestId, result: &CallToolResult, revision: Revision) -> String {
        result_reply(id, &shape::call_result(result, revision))
    }

    fn request(
        &self,
        id: &RequestId,
        method: &str,
        params: Map<String, Value>,
        revision: Revision,
    ) -> Result<Step, RpcError> {
        match method {
            "initialize" => initialize(id, &params),
            // The result has no members at all (all revisions with a handshake, ping).
            "ping" => Ok(Step::Reply(result_reply(id, &json!({})))),
            "tools/list" => self.tools_list(id, &params, revision),
            "tools/call" => self.tools_call(id, params),
            _ => Err(RpcError::new(ErrorCode::METHOD_NOT_FOUND, format!("no method {method:?}"))),
        }
    }

    fn tools_list(
        &self,
        id: &RequestId,
        params: &Map<String, Value>,
        revision: Revision,
    ) -> Result<Step, RpcError> {
        // All tools fit on one page, so no cursor was ever given out.
        if params.get("cursor").is_some_and(|cursor| !cursor.is_null()) {
            return Err(RpcError::new(ErrorCode::INVALID_PARAMS, "unknown cursor"));
        }
        let tools: Vec<Value> =
            self.service.tools().iter().map(|tool| shape::tool(tool, revision)).collect();
        Ok(Step::Reply(result_reply(id, &json!({ "tools": tools }))))
    }

    fn tools_call(&self, id: &RequestId, mut params: Map<String, Value>) -> Result<Step, RpcError> {
        let invalid = |what: &'static str| RpcError::new(ErrorCode::INVALID_PARAMS, what);
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(invalid("params.name is not a string"));
        };
        let arguments = match params.remove("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments,
            Some(_) => return Err(invalid("params.arguments is not an object")),
        };
        let Some(tool) = self.service.tools().iter().find(|tool| tool.name == name) else {
            return Err(RpcError::new(
                ErrorCode::INVALID_PARAMS,
                format!("unknown tool: {name}; tools/list names them all"),
            ));
        };
        let progress_token = match params.get("_meta").and_then(|meta| meta.get("progressToken")) {
            None | Some(Value::Null) => None,
            Some(token @ Value::String(_)) => Some(ProgressToken(token.clone())),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                Some(ProgressToken(Value::Number(number.clone())))
            }
            Some(_) => return Err(invalid("the progressToken is neither a string nor an integer")),
        };
        let lane = tool.lane;
        let tool = ToolCall { name, arguments };
        Ok(Step::Call(Call { id: id.clone(), tool, lane, progress_token }))
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

fn initialize(id: &RequestId, params: &Map<String, Value>) -> Result<Step, RpcError> {
    let Some(asked) = params.get("protocolVersion").and_then(Value::as_str) else {
        return Err(RpcError::new(
            ErrorCode::INVALID_PARAMS,
            "params.protocolVersion is not a string",
        ));
    };
    let revision = Revision::negotiate(asked);
    let info = |member: &str| {
        let info = params.get("clientInfo").and_then(|info| info.get(member));
        info.and_then(Value::as_str).unwrap_or("?").to_owned()
    };
    let client = format!("{} {}", info("name"), info("version"));
    let mut server = Map::new();
    server.insert("name".into(), SERVER_NAME.into());
    server.insert("version".into(), SERVER_VERSION.into());
    if revision.has_structured_results() {
        server.insert("title".into(), SERVER_TITLE.into());
    }
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": { "tools": {} },
        "serverInfo": server,
        "instructions": INSTRUCTIONS,
    });
    Ok(Step::Initialized { revision, client, reply: result_reply(id, &result) })
}

fn notification(method: &str, params: &Map<String, Value>) -> Step {
    // An unknown notification is ignored (JSON-RPC 2.0, section 4.1).
    if method != "notifications/cancelled" {
        return Step::Nothing;
    }
    match params.get("requestId") {
        Some(Value::String(text)) => Step::Cancel(RequestId::String(text.clone())),
        Some(Value::Number(number)) => Step::Cancel(RequestId::Number(number.clone())),
        _ => Step::Nothing,
    }
}

/// A `notifications/progress` for a call (2024-11-05, progress; `message` since 2025-03-26).
#[must_use]
pub fn progress(
    token: &ProgressToken,
    progress: f64,
    total: Option<f64>,
    message: &str,
    revision: Revision,
) -> String {
    let mut params = Map::new();
    params.insert("progressToken".into(), token.0.clone());
    params.insert("progress".into(), number(progress));
    if let Some(total) = total {
        params.insert("total".into(), number(total));
    }
    if revision.has_annotations() {
        params.insert("message".into(), message.into());
    }
    super::jsonrpc::notification("notifications/progress", &Value::Object(params))
}

/// Whole numbers go out as integers, which every client prints well.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return (value as i64).into();
    }
    value.into()
}

/// `serverInfo.name`.
pub const SERVER_NAME: &str = "local-llm-mcp";
/// `serverInfo.version`.
pub const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");
const SERVER_TITLE: &str = "Local language models";
const INSTRUCTIONS: &str = "Language models that run at home. list_models says which there are and \
    which are loaded; chat asks one of them. Nothing that is sent leaves the home network.";
