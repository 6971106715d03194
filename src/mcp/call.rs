//! A request that takes a while: run on a thread of the carrier's, with what it needs of its
//! client on the way.

use std::sync::Mutex;

use serde_json::{Map, Value, json};

use super::content::{CallToolResult, Content};
use super::dispatch::{Dispatcher, Response, unusable};
use super::input::{ClientFeatures, InputNeeded, InputRequest, Inputs};
use super::jsonrpc::{ErrorCode, RequestId, RpcError, notification};
use super::level::Level;
use super::revision::Revision;
use super::round::Round;
use super::service::{CallContext, Completion, Lane, Log, Outcome, Progress, ToolCall, Unusable};
use super::shape;
use crate::cancel::Cancel;
use crate::worker::lock;

/// What is to be run.
#[derive(Clone, Debug)]
pub enum Work {
    /// `tools/call`.
    Tool(ToolCall),
    /// `resources/read`.
    Read(String),
    /// `prompts/get`.
    Prompt {
        /// Which one.
        name: String,
        /// What is filled in.
        arguments: Map<String, Value>,
    },
    /// `completion/complete`.
    Complete(Completion),
}

impl Work {
    /// For the log.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tool(call) => &call.name,
            Self::Read(uri) => uri,
            Self::Prompt { name, .. } => name,
            Self::Complete(_) => "completion",
        }
    }
}

/// A request to be run.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request's id.
    pub id: RequestId,
    /// What is asked.
    pub work: Work,
    /// Where it runs.
    pub lane: Lane,
    /// Present when the client wants progress; goes back with its JSON type.
    pub progress_token: Option<ProgressToken>,
    /// What the client can be asked for; of a session, its carrier knows it.
    pub features: ClientFeatures,
    /// From which level on log messages are wanted; of a session, its carrier knows it.
    pub log_level: Option<Level>,
    /// The answers of a round before (2026-07-28, MRTR).
    pub round: Round,
}

impl Call {
    pub(super) fn new(id: RequestId, work: Work) -> Self {
        Self {
            id,
            work,
            lane: Lane::Quick,
            progress_token: None,
            features: ClientFeatures::default(),
            log_level: None,
            round: Round::default(),
        }
    }
}

/// A progress token: a string or an integer.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressToken(Value);

impl ProgressToken {
    pub(super) fn read(params: &Map<String, Value>) -> Result<Option<Self>, String> {
        match params.get("_meta").and_then(|meta| meta.get("progressToken")) {
            None | Some(Value::Null) => Ok(None),
            Some(token @ Value::String(_)) => Ok(Some(Self(token.clone()))),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                Ok(Some(Self(Value::Number(number.clone()))))
            }
            Some(_) => Err("the progressToken is neither a string nor an integer".to_owned()),
        }
    }
}

/// Where the messages of one call go, besides its reply.
pub trait Peer: Send + Sync {
    /// Sends a notification on the call's own stream; drops it where there is none.
    fn notify(&self, message: String);

    /// Asks the client and waits for its answer (before 2026-07-28). Errors: says why there is none.
    fn ask(&self, request: &InputRequest, cancel: &Cancel) -> Result<Value, String>;
}

/// What a carrier knows of a call beside the call itself.
pub struct Conversation<'a> {
    /// What is spoken.
    pub revision: Revision,
    /// Fires when the call is to stop.
    pub cancel: &'a Cancel,
    /// The client.
    pub peer: &'a dyn Peer,
    /// Who asks, as text that stays the same: what is sealed for one is not opened for another.
    pub principal: &'a str,
    /// The session, where the revision has sessions.
    pub session: Option<&'a str>,
    /// Seconds since 1970.
    pub now_s: u64,
}

impl std::fmt::Debug for Conversation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Runs a call on this thread and returns the reply to send.
    #[must_use]
    pub fn run(&self, call: &Call, with: &Conversation<'_>) -> Response {
        self.outcome(call, with).unwrap_or_else(|error| Response::error(Some(&call.id), &error))
    }

    /// The reply with a result that was made elsewhere.
    #[must_use]
    pub fn finish(id: &RequestId, result: CallToolResult, revision: Revision) -> Response {
        Response { text: shape::call_reply(id, result, revision), error: None }
    }

    /// The reply to a call that no lane takes: a tool's failure is a result.
    #[must_use]
    pub fn refuse(call: &Call, result: CallToolResult, revision: Revision) -> Response {
        if matches!(call.work, Work::Tool(_)) {
            return Self::finish(&call.id, result, revision);
        }
        let text = result.content.into_iter().find_map(|content| match content {
            Content::Text(text) => Some(text),
            Content::Json(json) => Some(json.json().to_owned()),
            _ => None,
        });
        let error = RpcError::new(ErrorCode::INTERNAL_ERROR, text.unwrap_or_default());
        Response::error(Some(&call.id), &error)
    }

    fn outcome(&self, call: &Call, with: &Conversation<'_>) -> Result<Response, RpcError> {
        let reporter = Reporter { call, with, last: Mutex::new(None) };
        let mut inputs = self.open_round(call, with)?;
        for _ in 0..ROUNDS_MAX {
            let context = CallContext {
                cancel: with.cancel,
                progress: call.progress_token.is_some().then_some(&reporter as &dyn Progress),
                log: call.log_level.is_some().then_some(&reporter as &dyn Log),
                client: call.features,
                principal: with.principal,
                session: with.session,
                inputs: &inputs,
            };
            let needed = match self.use_service(call, with.revision, &context) {
                Ok(Outcome::Done(reply)) => return Ok(reply),
                Ok(Outcome::Needs(needed)) => needed,
                Err(what) => return Err(unusable(&what, with.revision)),
            };
            check_features(&needed, call.features)?;
            if with.revision.is_modern() {
                return Ok(self.ask_for_round(call, with, &needed));
            }
            inputs = ask(needed, with)?;
        }
        let what = format!("the call asked its client more than {ROUNDS_MAX} times");
        Err(RpcError::new(ErrorCode::INTERNAL_ERROR, what))
    }

    fn use_service(
        &self,
        call: &Call,
        revision: Revision,
        context: &CallContext<'_>,
    ) -> Result<Outcome<Response>, Unusable> {
        let id = &call.id;
        Ok(match &call.work {
            Work::Tool(tool) => {
                self.service.call(tool, context)?.map(|result| Self::finish(id, result, revision))
            }
            Work::Read(uri) => self
                .service
                .read(uri, context)?
                .map(|contents| Response::result(id, &shape::read_result(&contents, revision))),
            Work::Prompt { name, arguments } => self
                .service
                .prompt(name, arguments, context)?
                .map(|prompt| Response::result(id, &shape::prompt_result(&prompt, revision))),
            Work::Complete(what) => {
                let found = self.service.complete(what, context);
                Outcome::Done(Response::result(id, &shape::completions(&found, revision)))
            }
        })
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(with(value)),
            Self::Needs(needed) => Outcome::Needs(needed),
        }
    }
}

/// Errors: -32021, naming what the client would have to be able to do.
fn check_features(needed: &InputNeeded, client: ClientFeatures) -> Result<(), RpcError> {
    let missing: Map<String, Value> = needed
        .requests
        .iter()
        .filter_map(|(_, request)| request.missing_from(client))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.keys().map(String::as_str).collect();
    let what = format!("this needs a client that can do {}", names.join(" and "));
    let data = json!({ "requiredCapabilities": missing });
    Err(RpcError::new(ErrorCode::MISSING_CAPABILITY, what).with(data))
}

/// One request of ours after the other, each answered by the client.
fn ask(needed: InputNeeded, with: &Conversation<'_>) -> Result<Inputs, RpcError> {
    let mut responses = Map::new();
    for (name, request) in &needed.requests {
        let answer = with.peer.ask(request, with.cancel).map_err(|why| {
            let what = format!("{} was not answered: {why}", request.method());
            RpcError::new(ErrorCode::INTERNAL_ERROR, what)
        })?;
        responses.insert((*name).to_owned(), answer);
    }
    Ok(Inputs { responses, state: needed.state })
}

/// Progress and log messages of one call.
struct Reporter<'a> {
    call: &'a Call,
    with: &'a Conversation<'a>,
    last: Mutex<Option<f64>>,
}

impl Progress for Reporter<'_> {
    fn report(&self, value: f64, total: Option<f64>, message: &str) {
        let Some(token) = &self.call.progress_token else { return };
        {
            let mut last = lock(&self.last);
            // Values must rise (all revisions, progress).
            if last.is_some_and(|last| value <= last) {
                return;
            }
            *last = Some(value);
        }
        self.with.peer.notify(progress(token, value, total, message, self.with.revision));
    }
}

impl Log for Reporter<'_> {
    fn log(&self, level: Level, logger: &str, data: Value) {
        if self.call.log_level.is_some_and(|least| level >= least) {
            let params = json!({ "level": level.as_str(), "logger": logger, "data": data });
            self.with.peer.notify(notification("notifications/message", &params));
        }
    }
}

/// A `notifications/progress` (2024-11-05, progress; `message` since 2025-03-26).
fn progress(
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
    notification("notifications/progress", &Value::Object(params))
}

/// Whole numbers go out as integers, which every client prints well.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return (value as i64).into();
    }
    value.into()
}

/// How often one call may ask its client: more is a tool that never has enough.
const ROUNDS_MAX: usize = 16;
