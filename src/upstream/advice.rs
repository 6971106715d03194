//! What to do next after a failure: one sentence for each.

use std::borrow::Cow;

use crate::upstream::error::UpstreamError;
use crate::upstream::limits::Limit;

impl UpstreamError {
    /// One sentence that says what to do next.
    #[must_use]
    pub fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Unreachable { .. } | Self::Timeout { limit: Limit::Connect, .. } => REACH,
            Self::Auth { token_sent: false } => {
                "LM Studio requires a token: create one in LM Studio's Developer tab and give it \
                 to this server as LM_API_TOKEN."
            }
            Self::Auth { token_sent: true } => {
                "Check LM_API_TOKEN: copy the token again from LM Studio's Developer tab, \
                 with the permissions this server needs."
            }
            Self::NoModelLoaded { .. } => {
                "Load a model in LM Studio (or run `lms load`), or switch on Just-in-Time model \
                 loading in its server settings."
            }
            Self::ModelNotFound { near, .. } if !near.is_empty() => {
                return Cow::Owned(format!("Did you mean {}?", alternatives(near)));
            }
            Self::ModelNotFound { .. } => "Call list_models and use one of its ids.",
            Self::ModelLoadFailed { .. } => {
                "Unload another model or choose a smaller one; LM Studio's log says why this one \
                 did not load."
            }
            Self::ContextOverflow { .. } | Self::PromptTooLong { .. } => {
                "Send less text or a lower max_tokens, or load the model with a larger context \
                 length in LM Studio."
            }
            Self::BadRequest { .. } => "Correct the arguments that the model server names.",
            Self::ModelCrashed { .. } => {
                "Load the model again in LM Studio; if it crashes again, choose a smaller one or \
                 a shorter context."
            }
            Self::EmptyOutput { thought_only: true, .. } | Self::Deadline { thought: true, .. } => {
                "Raise max_tokens (or timeout_s), so that the model can finish thinking and answer, or \
                 lower reasoning_effort."
            }
            Self::EmptyOutput { thought_only: false, .. } => {
                "The prompt probably fills the context window: send less text, or load the model \
                 with a larger context length."
            }
            Self::Timeout { limit: Limit::Prefill, .. } => {
                "A large model or a long prompt needs longer before its first word: send less \
                 text, choose a smaller model, or start this server with a longer --prefill-timeout-s."
            }
            Self::Timeout { limit: Limit::Idle, .. } => {
                "The model stopped in the middle: look at LM Studio, and try again or raise the \
                 idle timeout."
            }
            Self::Timeout { limit: Limit::Call, .. } | Self::Deadline { .. } => {
                "Ask for less, or raise timeout_s or the call timeout."
            }
            Self::Died { .. } => {
                "See in LM Studio whether its server still runs and the model is still loaded, \
                 then try again."
            }
            Self::QueueFull { .. } => "Wait until a running call is done, then call again.",
            Self::NotSupported { .. } => {
                "Use a model server or a model that can; server_status shows which servers there are."
            }
            Self::NoModel => {
                "Download a language model in LM Studio and load it (`lms get`, `lms load`)."
            }
            Self::UnknownUpstream { .. } => "Use one of these names, or leave upstream out.",
            Self::Cancelled => "Call again when you want the answer after all.",
            Self::Answered { .. } => {
                "Check that LM_STUDIO_URL is the address of LM Studio or of an OpenAI-compatible \
                 server, and look at its log."
            }
            Self::ReplyTooLarge { .. } => "Ask for less: lower max_tokens.",
        })
    }
}

fn alternatives(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(" or ")
}

const REACH: &str = "Start LM Studio and its server (Developer tab, or `lms server start`). Where \
                     LM Studio runs on another machine, set LM_STUDIO_URL=http://<that \
                     machine>:1234 here and switch on \"Serve on Local Network\" there.";
