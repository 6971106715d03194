//! One message in, one step out: what to answer, or which call to run.
//!
//! Knows no transport: whoever carries the messages keeps the conversation's revision and its
//! requests in flight, and runs the calls where it likes.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bulletin::{Filter, SUBSCRIPTION_ID};
use super::call::{Call, ProgressToken, Work};
use super::envelope::{Envelope, supported};
use super::input::ClientFeatures;
use super::jsonrpc::{ErrorCode, Message, RequestId, RpcError, error_reply, result_reply};
use super::level::Level;
use super::page::page;
use super::revision::Revision;
use super::round::Round;
use super::service::{Service, Unusable};
use super::{lists, shape};
use crate::seal::Seal;

/// What a message asks of its carrier.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Reply(Response),
    /// `initialize` settled the revision; send this.
    Initialized {
        /// For the rest of the conversation.
        revision: Revision,
        /// What the client can be asked for.
        features: ClientFeatures,
        /// Who says it is there (`clientInfo`), for the log only.
        client: String,
        /// The reply.
        reply: Response,
    },
    /// Run this call; its answer comes from [`Dispatcher::run`].
    Call(Box<Call>),
    /// Stop the request with this id.
    Cancel(RequestId),
    /// From now on this level and those above it are wanted; send this.
    SetLevel(Level, Response),
    /// A resource is wanted, or is not any more; send this.
    Subscribe {
        /// Which one.
        uri: String,
        /// Whether it is wanted.
        wanted: bool,
        /// The reply.
        reply: Response,
    },
    /// Keep the request open and tell the changes that pass the filter (2026-07-28).
    Listen(RequestId, Filter),
    /// The client answered a request of ours.
    Answered(RequestId, Result<Value, Value>),
    /// Nothing to do.
    Nothing,
}

/// A reply as it goes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// One line of JSON.
    pub text: String,
    /// Its code when it is an error: 2026-07-28 also says it by the HTTP status.
    pub error: Option<ErrorCode>,
}

impl Response {
    pub(super) fn result<R: Serialize>(id: &RequestId, result: &R) -> Self {
        Self { text: result_reply(id, result), error: None }
    }

    /// What a request gets whose id is that of another one in flight (JSON-RPC 2.0, section 4).
    #[must_use]
    pub fn in_use(id: &RequestId) -> Self {
        let what = "a request with this id is still being worked on";
        Self::error(Some(id), &RpcError::new(ErrorCode::INVALID_REQUEST, what))
    }

    /// The result of a `subscriptions/listen` that the server ends (2026-07-28, subscriptions).
    #[must_use]
    pub fn listened(id: &RequestId) -> Self {
        let meta = json!({ SUBSCRIPTION_ID: id });
        Self::result(id, &json!({ "resultType": "complete", "_meta": meta }))
    }

    /// An error; with the request's id, where it could be read.
    #[must_use]
    pub fn error(id: Option<&RequestId>, error: &RpcError) -> Self {
        Self { text: error_reply(id, error), error: Some(error.code) }
    }
}

/// Answers messages with the help of a [`Service`].
#[derive(Clone)]
pub struct Dispatcher {
    pub(super) service: Arc<dyn Service>,
    pub(super) seal: Arc<Seal>,
    page_entries_max: usize,
}

impl Dispatcher {
    /// A dispatcher for what `service` has. `seal` closes what a client keeps for us between two
    /// rounds of a call; `page_entries_max` is how many entries of a list one answer holds.
    #[must_use]
    pub fn new(service: Arc<dyn Service>, seal: Arc<Seal>, page_entries_max: usize) -> Self {
        Self { service, seal, page_entries_max }
    }

    /// Decides what to do with a message of a conversation that speaks `revision`. For 2026-07-28
    /// the message's own [`Envelope`] comes with it.
    #[must_use]
    pub fn step(&self, message: Message, revision: Revision, envelope: Option<&Envelope>) -> Step {
        match message {
            Message::Request { id, method, params } => {
                let asked = Asked { id: &id, revision, envelope };
                match self.request(&asked, &method, params) {
                    Ok(step) => step,
                    Err(error) => Step::Reply(Response::error(Some(&id), &error)),
                }
            }
            Message::Notification { method, params } => notification(&method, &params),
            Message::Response { id: Some(id), outcome } => Step::Answered(id, outcome),
            // It answers nothing that was ever asked.
            Message::Response { id: None, .. } => Step::Nothing,
        }
    }

    fn request(
        &self,
        asked: &Asked<'_>,
        method: &str,
        mut params: Map<String, Value>,
    ) -> Result<Step, RpcError> {
        let offer = self.service.offer();
        let modern = asked.revision.is_modern();
        match method {
            "tools/call" => self.call_tool(asked, params),
            "tools/list" => self.list(asked, &params, "tools", lists::tools(self, asked.revision)),
            "initialize" if !modern => self.initialize(asked.id, &params),
            "server/discover" if modern => Ok(self.discover(asked.id)),
            // The result has no members at all (all revisions with a handshake, ping).
            "ping" if !modern => Ok(asked.empty()),
            "logging/setLevel" if !modern && offer.logging => set_level(asked, &params),
            "resources/list" if offer.resources => {
                self.list(asked, &params, "resources", lists::resources(self, asked.revision))
            }
            "resources/templates/list" if offer.resources => {
                let templates = lists::templates(self, asked.revision);
                self.list(asked, &params, "resourceTemplates", templates)
            }
            "resources/read" if offer.resources => {
                let uri = text(&params, "uri")?.to_owned();
                Self::call(asked, Work::Read(uri), &params)
            }
            "resources/subscribe" | "resources/unsubscribe" if !modern && offer.subscribe => {
                let uri = text(&params, "uri")?.to_owned();
                let wanted = method == "resources/subscribe";
                let reply = Response::result(asked.id, &json!({}));
                Ok(Step::Subscribe { uri, wanted, reply })
            }
            "prompts/list" if offer.prompts => {
                self.list(asked, &params, "prompts", lists::prompts(self, asked.revision))
            }
            "prompts/get" if offer.prompts => {
                let work = lists::prompt(self, &mut params)?;
                Self::call(asked, work, &params)
            }
            "completion/complete" if offer.completions => {
                let work = Work::Complete(lists::completion(&params)?);
                Self::call(asked, work, &params)
            }
            "subscriptions/listen" if modern => {
                let wanted = params.get("notifications").cloned().unwrap_or_else(|| json!({}));
                let filter = Filter::read(&wanted, offer).map_err(invalid)?;
                Ok(Step::Listen(asked.id.clone(), filter))
            }
            _ => Err(RpcError::new(ErrorCode::METHOD_NOT_FOUND, format!("no method {method:?}"))),
        }
    }

    fn call_tool(
        &self,
        asked: &Asked<'_>,
        mut params: Map<String, Value>,
    ) -> Result<Step, RpcError> {
        let (tool, lane) = lists::tool_call(self, &mut params)?;
        match Self::call(asked, Work::Tool(tool), &params)? {
            Step::Call(mut call) => {
                call.lane = lane;
                Ok(Step::Call(call))
            }
            step => Ok(step),
        }
    }

    fn call(asked: &Asked<'_>, work: Work, params: &Map<String, Value>) -> Result<Step, RpcError> {
        let mut call = Call::new(asked.id.clone(), work);
        call.progress_token = ProgressToken::read(params).map_err(invalid)?;
        if let Some(envelope) = asked.envelope {
            call.features = envelope.features;
            call.log_level = envelope.log_level;
            call.round = Round::read(params)?;
        }
        Ok(Step::Call(Box::new(call)))
    }

    fn list(
        &self,
        asked: &Asked<'_>,
        params: &Map<String, Value>,
        name: &str,
        entries: Vec<Value>,
    ) -> Result<Step, RpcError> {
        let (page, next) = page(name, entries, params, self.page_entries_max)?;
        let mut result = Map::new();
        result.insert(name.to_owned(), Value::Array(page));
        if let Some(next) = next {
            result.insert("nextCursor".to_owned(), next.into());
        }
        shape::complete(&mut result, asked.revision, Some(shape::LIST_TTL_MS));
        Ok(Step::Reply(Response::result(asked.id, &result)))
    }

    fn initialize(&self, id: &RequestId, params: &Map<String, Value>) -> Result<Step, RpcError> {
        let asked = text(params, "protocolVersion")?;
        let revision = Revision::negotiate(asked);
        let info = |member: &str| {
            let info = params.get("clientInfo").and_then(|info| info.get(member));
            info.and_then(Value::as_str).unwrap_or("?").to_owned()
        };
        let client = format!("{} {}", info("name"), info("version"));
        let features = params.get("capabilities").map(ClientFeatures::read).unwrap_or_default();
        let result = json!({
            "protocolVersion": revision.as_str(),
            "capabilities": shape::capabilities(self.service.offer(), revision),
            "serverInfo": shape::server_info(revision),
            "instructions": INSTRUCTIONS,
        });
        let reply = Response::result(id, &result);
        Ok(Step::Initialized { revision, features, client, reply })
    }

    /// `server/discover` (2026-07-28, discovery).
    fn discover(&self, id: &RequestId) -> Step {
        let revision = Revision::MODERN;
        let mut result = Map::new();
        result.insert("supportedVersions".into(), json!(supported()));
        let capabilities = shape::capabilities(self.service.offer(), revision);
        result.insert("capabilities".into(), capabilities);
        result.insert("instructions".into(), INSTRUCTIONS.into());
        shape::complete(&mut result, revision, Some(shape::LIST_TTL_MS));
        Step::Reply(Response::result(id, &result))
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

/// A request, but for its method and parameters.
struct Asked<'a> {
    id: &'a RequestId,
    revision: Revision,
    envelope: Option<&'a Envelope>,
}

impl Asked<'_> {
    fn empty(&self) -> Step {
        Step::Reply(Response::result(self.id, &json!({})))
    }
}

fn set_level(asked: &Asked<'_>, params: &Map<String, Value>) -> Result<Step, RpcError> {
    let name = text(params, "level")?;
    let level = Level::known(name).ok_or_else(|| {
        invalid(
            "params.level is none of debug, info, notice, warning, error, critical, alert, \
                 emergency"
                .to_owned(),
        )
    })?;
    Ok(Step::SetLevel(level, Response::result(asked.id, &json!({}))))
}

fn notification(method: &str, params: &Map<String, Value>) -> Step {
    // An unknown notification is ignored (JSON-RPC 2.0, section 4.1).
    if method != "notifications/cancelled" {
        return Step::Nothing;
    }
    params.get("requestId").and_then(RequestId::read).map_or(Step::Nothing, Step::Cancel)
}

pub(super) fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<&'a str, RpcError> {
    params
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(format!("params.{name} is not a string")))
}

pub(super) fn invalid(what: String) -> RpcError {
    RpcError::new(ErrorCode::INVALID_PARAMS, what)
}

/// A use that is a protocol error, as each era says it (2026-07-28: SEP-2164).
pub(super) fn unusable(what: &Unusable, revision: Revision) -> RpcError {
    let code = match what {
        Unusable::Resource(_) if !revision.is_modern() => ErrorCode::RESOURCE_NOT_FOUND,
        _ => ErrorCode::INVALID_PARAMS,
    };
    let error = RpcError::new(code, what.to_string());
    match what {
        Unusable::Resource(uri) => error.with(json!({ "uri": uri })),
        _ => error,
    }
}

const INSTRUCTIONS: &str = "Language models that run at home. list_models says which there are and \
    which are loaded; chat asks one of them. Nothing that is sent leaves the home network.";
