//! Between two rounds of a call that asks for input (2026-07-28, MRTR): the client keeps our state,
//! sealed, and brings it back with its answers.
//!
//! What comes back is hostile input: it is opened only for the principal, the method and the
//! parameters for which it was sealed, and for an hour.

use serde_json::{Map, Value, json};

use super::call::{Call, Conversation, Work};
use super::dispatch::{Dispatcher, Response, invalid};
use super::input::{InputNeeded, Inputs};
use super::jsonrpc::RpcError;
use super::shape;

/// What a request brings of a round before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    responses: Map<String, Value>,
    state: Option<String>,
}

impl Round {
    /// Reads `inputResponses` and `requestState`; stray ones do no harm.
    /// Errors: -32602 when one has the wrong type.
    pub(super) fn read(params: &Map<String, Value>) -> Result<Self, RpcError> {
        let refused = |what: &str| invalid(what.to_owned());
        let responses = match params.get("inputResponses") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(responses)) => {
                if responses.values().any(|response| !response.is_object()) {
                    return Err(refused("an answer in params.inputResponses is not an object"));
                }
                responses.clone()
            }
            Some(_) => return Err(refused("params.inputResponses is not an object")),
        };
        let state = match params.get("requestState") {
            None | Some(Value::Null) => None,
            Some(Value::String(state)) => Some(state.clone()),
            Some(_) => return Err(refused("params.requestState is not a string")),
        };
        Ok(Self { responses, state })
    }
}

impl Dispatcher {
    /// Errors: -32602 when the state is not what was sealed for this very call.
    pub(super) fn open_round(
        &self,
        call: &Call,
        with: &Conversation<'_>,
    ) -> Result<Inputs, RpcError> {
        let Round { responses, state } = call.round.clone();
        let Some(sealed) = state else { return Ok(Inputs { responses, state: None }) };
        let not_ours =
            || invalid("params.requestState is not what this server gave for this call".to_owned());
        let opened = self.seal.verify(PURPOSE, &sealed).ok_or_else(not_ours)?;
        let opened: Value = serde_json::from_slice(&opened).unwrap_or_default();
        let ours = opened.get("bound") == Some(&bound(call, with));
        let until = opened.get("until").and_then(Value::as_u64).unwrap_or(0);
        if !ours || until < with.now_s {
            return Err(not_ours());
        }
        Ok(Inputs { responses, state: opened.get("state").cloned() })
    }

    /// The result that asks for another round.
    pub(super) fn ask_for_round(
        &self,
        call: &Call,
        with: &Conversation<'_>,
        needed: &InputNeeded,
    ) -> Response {
        let requests: Map<String, Value> = needed
            .requests
            .iter()
            .map(|(name, request)| {
                let mut asked = Map::new();
                asked.insert("method".into(), request.method().into());
                if let Some(params) = request.params() {
                    asked.insert("params".into(), params.clone());
                }
                ((*name).to_owned(), Value::Object(asked))
            })
            .collect();
        let state = needed.state.as_ref().map(|state| {
            let until = with.now_s.saturating_add(STATE_S_MAX);
            let whole = json!({ "bound": bound(call, with), "until": until, "state": state });
            self.seal.sign(PURPOSE, whole.to_string().as_bytes())
        });
        Response::result(&call.id, &shape::input_required(&requests, state))
    }
}

/// What a state belongs to.
fn bound(call: &Call, with: &Conversation<'_>) -> Value {
    let what = match &call.work {
        Work::Tool(tool) => json!(["tools/call", tool.name, tool.arguments]),
        Work::Read(uri) => json!(["resources/read", uri]),
        Work::Prompt { name, arguments } => json!(["prompts/get", name, arguments]),
        Work::Complete(_) => json!(["completion/complete"]),
    };
    json!([with.principal, digest(what.to_string().as_bytes())])
}

fn digest(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

const PURPOSE: &str = "request-state";
/// How long a person may take to answer.
const STATE_S_MAX: u64 = 3600;
