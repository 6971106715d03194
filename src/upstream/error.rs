//! What can go wrong with an upstream: one code, one sentence, one thing to do next.

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
    /// The same, seen before anything was sent.
    PromptTooLong {
        /// How many tokens the prompt has.
        tokens: u64,
        /// The upstream counted them; else it is an estimate.
        exact: bool,
        /// The window that the model was loaded with, in tokens.
        window: u64,
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
        /// How many tokens of the prompt it counted.
        prompt_tokens: Option<u32>,
    },
    /// Our own deadline came before the first word of the answer.
    Deadline {
        /// The time that the call had.
        length: Duration,
        /// The model had begun to think.
        thought: bool,
    },
    /// As many calls as may wait do already.
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
    /// The upstream cannot do what was asked.
    NotSupported {
        /// What it cannot do.
        what: &'static str,
        /// The upstream's words, or which upstream can.
        said: String,
    },
    /// It has no model that could do it.
    NoModel,
    /// No upstream has this name.
    UnknownUpstream {
        /// The asked name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
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
            Self::ContextOverflow { .. } | Self::PromptTooLong { .. } => "CONTEXT_OVERFLOW",
            Self::BadRequest { .. } => "BAD_REQUEST",
            Self::ModelCrashed { .. } => "MODEL_CRASHED",
            Self::EmptyOutput { .. } => "EMPTY_OUTPUT",
            Self::Deadline { .. } => "DEADLINE_NO_OUTPUT",
            Self::QueueFull { .. } => "QUEUE_FULL",
            Self::NotSupported { .. } => "NOT_SUPPORTED_BY_UPSTREAM",
            Self::NoModel => "NO_MODEL_LOADED",
            Self::UnknownUpstream { .. } => "INVALID_ARGUMENT",
            Self::Timeout { .. } => "UPSTREAM_TIMEOUT",
            Self::Died { .. } => "UPSTREAM_DIED",
            Self::Cancelled => "CANCELLED",
            Self::Answered { .. } => "UPSTREAM_ERROR",
            Self::ReplyTooLarge { .. } => "REPLY_TOO_LARGE",
        }
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Deadline { .. }
            | Self::QueueFull { .. }
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
            | Self::PromptTooLong { .. }
            | Self::BadRequest { .. }
            | Self::EmptyOutput { .. }
            | Self::Deadline { .. }
            | Self::QueueFull { .. }
            | Self::NotSupported { .. }
            | Self::NoModel
            | Self::UnknownUpstream { .. }
            | Self::Cancelled
            | Self::ReplyTooLarge { .. } => false,
        }
    }

    /// Whether nothing of the request has left, so that it may be asked elsewhere.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { limit: Limit::Connect, .. })
    }

    /// Whether it is the upstream that said so, or ended the answer.
    pub(super) fn was_answered(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Died { .. }
            | Self::Timeout { .. }
            | Self::Deadline { .. }
            | Self::PromptTooLong { .. }
            | Self::QueueFull { .. }
            | Self::NoModel
            | Self::UnknownUpstream { .. }
            | Self::Cancelled => false,
            _ => true,
        }
    }

    /// Whether the upstream was there at all.
    pub(super) fn was_reached(&self) -> bool {
        !self.is_unsent()
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
            Self::PromptTooLong { tokens, exact, window } => {
                let about = if *exact { "" } else { "about " };
                write!(
                    f,
                    "the prompt has {about}{tokens} tokens, but the model was loaded with a \
                     context window of {window}"
                )
            }
            Self::BadRequest { said } => say(f, "the model server refused the request", said),
            Self::ModelCrashed { said, .. } => say(f, "the model crashed", said),
            Self::EmptyOutput { thought_only: true, .. } => {
                f.write_str("the model only thought and gave no answer")
            }
            Self::EmptyOutput { thought_only: false, prompt_tokens } => {
                f.write_str("the model server ended the answer without any text")?;
                match prompt_tokens {
                    Some(tokens) => write!(f, ", after it had read {tokens} tokens"),
                    None => Ok(()),
                }
            }
            Self::Deadline { length, thought } => {
                let had =
                    if *thought { "the model was still thinking" } else { "no word had come" };
                write!(f, "{had} when the {} s of this call were over", seconds(*length))
            }
            Self::QueueFull { waiting } => {
                write!(f, "the model is busy and {waiting} calls wait for it already")
            }
            Self::NotSupported { what, said } => {
                say(f, &format!("the model server cannot do this: {what}"), said)
            }
            Self::NoModel => f.write_str("the model server has no model for this"),
            Self::UnknownUpstream { name, known } => {
                write!(f, "no model server is called {name:?}; there are {}", known.join(", "))
            }
            Self::Timeout { limit, length, .. } => {
                let seconds = seconds(*length);
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

/// A limit as somebody set it: what is left of one after a part of it is rounded up.
fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 100.0).round() / 100.0
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
