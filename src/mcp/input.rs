//! What a call asks of its client before it has a result: a form filled in, a model's answer, a
//! list of roots.
//!
//! One way for both eras. Since 2026-07-28 the call ends with `input_required`, and the client
//! makes it again with the answers; before, each is a request of the server's on the call's stream.

use serde_json::{Map, Value, json};

/// What a client can be asked for (`ClientCapabilities`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent capabilities, named by the protocol"
)]
pub struct ClientFeatures {
    /// `sampling/createMessage`.
    pub sampling: bool,
    /// `elicitation/create` with a form.
    pub elicitation: bool,
    /// `elicitation/create` with a URL.
    pub elicitation_url: bool,
    /// `roots/list`.
    pub roots: bool,
}

impl ClientFeatures {
    /// Reads `capabilities` of `initialize`, or a request's `clientCapabilities`.
    #[must_use]
    pub fn read(capabilities: &Value) -> Self {
        let has = |name: &str| capabilities.get(name).is_some_and(Value::is_object);
        let elicitation = capabilities.get("elicitation").and_then(Value::as_object);
        Self {
            sampling: has("sampling"),
            // An empty object means forms (2025-11-25, elicitation, "Capabilities").
            elicitation: elicitation
                .is_some_and(|modes| modes.is_empty() || modes.contains_key("form")),
            elicitation_url: elicitation.is_some_and(|modes| modes.contains_key("url")),
            roots: has("roots"),
        }
    }
}

/// One question to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputRequest {
    /// `elicitation/create` with a form: params.
    Elicitation(Value),
    /// `sampling/createMessage`: params.
    Sampling(Value),
    /// `roots/list`.
    Roots,
}

impl InputRequest {
    /// Its method on the wire.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Elicitation(_) => "elicitation/create",
            Self::Sampling(_) => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> Option<&Value> {
        match self {
            Self::Elicitation(params) | Self::Sampling(params) => Some(params),
            Self::Roots => None,
        }
    }

    /// What the client must be able to do, as `requiredCapabilities` says it.
    pub(super) fn missing_from(&self, client: ClientFeatures) -> Option<(&'static str, Value)> {
        let (has, name) = match self {
            Self::Elicitation(_) => (client.elicitation, "elicitation"),
            Self::Sampling(_) => (client.sampling, "sampling"),
            Self::Roots => (client.roots, "roots"),
        };
        (!has).then(|| (name, json!({})))
    }
}

/// What has to be answered before a call has a result; at least one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputNeeded {
    /// Each question under a name of the caller's choice.
    pub requests: Vec<(&'static str, InputRequest)>,
    /// Comes back with the answers, unread by the client.
    pub state: Option<Value>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The answers of this round, as the client gave them (`ElicitResult`, `CreateMessageResult`,
    /// `ListRootsResult`).
    pub responses: Map<String, Value>,
    /// What [`InputNeeded::state`] was.
    pub state: Option<Value>,
}

impl Inputs {
    /// The filled-in form under this name; nothing when it is missing or was declined.
    #[must_use]
    pub fn form(&self, name: &str) -> Option<&Map<String, Value>> {
        let answer = self.responses.get(name)?;
        let accepted = answer.get("action").and_then(Value::as_str) == Some("accept");
        answer.get("content").filter(|_| accepted)?.as_object()
    }
}
