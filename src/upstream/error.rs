//! What can go wrong with an upstream: one code, one sentence, one thing to do next.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::upstream::limits::Limit;

/// Why a request to an upstream brought no whole answer.
#[derive(Debug)]
pub enum UpstreamError {
    /// Nothing listens there, or the machine is not there.
    Unreachable {
        /// The upstream's address.
        url: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It wants a token, or another one. Its own words are left out: they hold a part of the
    /// token's digest.
    Auth {
        /// Whether we sent one.
        token_sent: bool,
    },
    /// No model is loaded and none is loaded on demand.
    NoModelLoaded {
        /// The upstream's words.
        said: String,
    },
    /// It has no model of that name.
    ModelNotFound {
        /// The asked one.
        model: String,
        /// Names like it.
        near: Vec<String>,
        /// Every model it has.
        available: Vec<String>,
    },
    /// The model is there but could not be loaded.
    ModelLoadFailed {
        /// The upstream's words.
        said: String,
    },
    /// The prompt does not fit into the model's context window.
    ContextOverflow {
        /// The upstream's words.
        said: String,
    },
    /// It refused the request.
    BadRequest {
        /// The upstream's words.
        said: String,
    },
    /// The model crashed.
    ModelCrashed {
        /// The upstream's words.
        said: String,
        /// The text that had come.
        partial: String,
    },
    /// The answer ended without any text.
    EmptyOutput {
        /// The model only thought; else the upstream said nothing at all.
        thought_only: bool,
    },
    /// A named timeout fired.
    Timeout {
        /// Which.
        limit: Limit,
        /// Its length.
        length: Duration,
        /// The text that had come.
        partial: String,
    },
    /// The connection ended in the middle.
    Died {
        /// How.
        cause: String,
        /// The text that had come.
        partial: String,
    },
    /// The call was cancelled.
    Cancelled,
    /// It answered with an error, or with something that is no answer.
    Answered {
        /// The HTTP status.
        status: u16,
        /// Its words, or what was wrong with them.
        said: String,
        /// The text that had come.
        partial: String,
    },
    /// The answer is longer than we take.
    ReplyTooLarge {
        /// `reply_bytes_max`.
        limit: usize,
    },
}

impl UpstreamError {
    /// The name of the failure, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "UPSTREAM_UNREACHABLE",
            Self::Auth { .. } => "UPSTREAM_AUTH",
            Self::NoModelLoaded { .. } => "NO_MODEL_LOADED",
            Self::ModelNotFound { .. } => "MODEL_NOT_FOUND",
            Self::ModelLoadFailed { .. } => "MODEL_LOAD_FAILED",
            Self::ContextOverflow { .. } => "CONTEXT_OVERFLOW",
            Self::BadRequest { .. } => "BAD_REQUEST",
            Self::ModelCrashed { .. } => "MODEL_CRASHED",
            Self::EmptyOutput { .. } => "EMPTY_OUTPUT",
            Self::Timeout { .. } => "UPSTREAM_TIMEOUT",
            Self::Died { .. } => "UPSTREAM_DIED",
            Self::Cancelled => "CANCELLED",
            Self::Answered { .. } => "UPSTREAM_ERROR",
            Self::ReplyTooLarge { .. } => "REPLY_TOO_LARGE",
        }
    }

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
            Self::ContextOverflow { .. } => {
                "Send less text or a lower max_tokens, or load the model with a larger context \
                 length in LM Studio."
            }
            Self::BadRequest { .. } => "Correct the arguments that the model server names.",
            Self::ModelCrashed { .. } => {
                "Load the model again in LM Studio; if it crashes again, choose a smaller one or \
                 a shorter context."
            }
            Self::EmptyOutput { thought_only: true } => {
                "Raise max_tokens, so that the model can finish thinking and answer."
            }
            Self::EmptyOutput { thought_only: false } => {
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
            Self::Timeout { limit: Limit::Call, .. } => {
                "Ask for less, or raise timeout_s or the call timeout."
            }
            Self::Died { .. } => {
                "See in LM Studio whether its server still runs and the model is still loaded, \
                 then try again."
            }
            Self::Cancelled => "Call again when you want the answer after all.",
            Self::Answered { .. } => {
                "Check that LM_STUDIO_URL is the address of LM Studio or of an OpenAI-compatible \
                 server, and look at its log."
            }
            Self::ReplyTooLarge { .. } => "Ask for less: lower max_tokens.",
        })
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Died { .. }
            | Self::ModelCrashed { .. } => true,
            Self::Answered { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }

    /// The text of the answer that had come before it failed.
    #[must_use]
    pub fn partial(&self) -> Option<&str> {
        match self {
            Self::ModelCrashed { partial, .. }
            | Self::Timeout { partial, .. }
            | Self::Died { partial, .. }
            | Self::Answered { partial, .. } => Some(partial).filter(|text| !text.is_empty()),
            _ => None,
        }
        .map(String::as_str)
    }

    /// The same failure after `text` had come.
    pub(super) fn after(mut self, text: String) -> Self {
        match &mut self {
            Self::ModelCrashed { partial, .. }
            | Self::Timeout { partial, .. }
            | Self::Died { partial, .. }
            | Self::Answered { partial, .. } => *partial = text,
            _ => {}
        }
        self
    }

    /// Whether it tells something about the upstream's health, rather than about one request.
    pub(super) fn blames_upstream(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Auth { .. }
            | Self::NoModelLoaded { .. }
            | Self::ModelLoadFailed { .. }
            | Self::ModelCrashed { .. }
            | Self::Died { .. }
            | Self::Answered { .. } => true,
            Self::Timeout { limit, .. } => *limit != Limit::Call,
            Self::ModelNotFound { .. }
            | Self::ContextOverflow { .. }
            | Self::BadRequest { .. }
            | Self::EmptyOutput { .. }
            | Self::Cancelled
            | Self::ReplyTooLarge { .. } => false,
        }
    }

    /// Whether the upstream was there at all.
    pub(super) fn was_reached(&self) -> bool {
        !matches!(self, Self::Unreachable { .. } | Self::Timeout { limit: Limit::Connect, .. })
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, cause } => {
                write!(f, "no model server answers at {url}: {}", plain(cause))
            }
            Self::Auth { token_sent: false } => f.write_str("the model server wants an API token"),
            Self::Auth { token_sent: true } => {
                f.write_str("the model server does not accept our API token")
            }
            Self::NoModelLoaded { said } => say(f, "no model is loaded", said),
            Self::ModelNotFound { model, .. } => {
                write!(f, "the model server has no model {model:?}")
            }
            Self::ModelLoadFailed { said } => say(f, "the model could not be loaded", said),
            Self::ContextOverflow { said } => {
                say(f, "the prompt does not fit into the model's context window", said)
            }
            Self::BadRequest { said } => say(f, "the model server refused the request", said),
            Self::ModelCrashed { said, .. } => say(f, "the model crashed", said),
            Self::EmptyOutput { thought_only: true } => {
                f.write_str("the model only thought and gave no answer")
            }
            Self::EmptyOutput { thought_only: false } => {
                f.write_str("the model server ended the answer without any text")
            }
            Self::Timeout { limit, length, .. } => {
                let seconds = length.as_secs_f64();
                match limit {
                    Limit::Connect => write!(
                        f,
                        "the model server's machine did not answer within {seconds} s (connect \
                         timeout)"
                    ),
                    Limit::Prefill => write!(
                        f,
                        "the model gave no first word within {seconds} s (prefill timeout)"
                    ),
                    Limit::Idle => {
                        write!(f, "the model fell silent for {seconds} s (idle timeout)")
                    }
                    Limit::Call => {
                        write!(f, "the call was not done after {seconds} s (call timeout)")
                    }
                }
            }
            Self::Died { cause, partial } if partial.is_empty() => {
                write!(f, "the model server hung up before it answered: {cause}")
            }
            Self::Died { cause, .. } => {
                write!(f, "the model server hung up in the middle of its answer: {cause}")
            }
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Answered { status: 200, said, .. } => {
                say(f, "the model server answered with an error", said)
            }
            Self::Answered { status, said, .. } => {
                say(f, &format!("the model server answered with HTTP {status}"), said)
            }
            Self::ReplyTooLarge { limit } => {
                write!(f, "the answer is longer than {limit} bytes (reply_bytes_max)")
            }
        }
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

fn say(f: &mut fmt::Formatter<'_>, what: &str, said: &str) -> fmt::Result {
    if said.is_empty() { f.write_str(what) } else { write!(f, "{what}; it said: {said}") }
}

/// The system's words without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

fn alternatives(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(" or ")
}

const REACH: &str = "Start LM Studio and its server (Developer tab, or `lms server start`). Where \
                     LM Studio runs on another machine, set LM_STUDIO_URL=http://<that \
                     machine>:1234 here and switch on \"Serve on Local Network\" there.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stay_small_enough_to_return() {
        assert!(size_of::<UpstreamError>() <= 120, "{}", size_of::<UpstreamError>());
    }

    #[test]
    fn an_unreachable_upstream_says_what_to_type() {
        let error = UpstreamError::Unreachable {
            url: "http://localhost:1234".to_owned(),
            cause: io::Error::from_raw_os_error(111),
        };
        let said = format!("{error}. {}", error.next_step());
        assert!(said.starts_with("no model server answers at http://localhost:1234: "), "{said}");
        for part in ["lms server start", "LM_STUDIO_URL=http://", "Serve on Local Network"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("os error"), "{said}");
    }
}
