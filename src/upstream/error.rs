//! What can go wrong with an upstream: one code, one sentence, one thing to do next.

use std::error::Error;
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
        /// What was going on then.
        during: Stage,
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
    NoModel {
        /// It was to make vectors.
        embeds: bool,
    },
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

/// What a call was at before the first word of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waited for its turn.
    Waiting,
    /// The model was loaded, or read.
    Reading,
    /// The model thought.
    Thinking,
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
            Self::NoModel { .. } => "NO_MODEL_LOADED",
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
            | Self::NoModel { .. }
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
        !matches!(
            self,
            Self::Unreachable { .. }
                | Self::Died { .. }
                | Self::Timeout { .. }
                | Self::Deadline { .. }
                | Self::PromptTooLong { .. }
                | Self::QueueFull { .. }
                | Self::NoModel { .. }
                | Self::UnknownUpstream { .. }
                | Self::Cancelled
        )
    }

    /// Whether the upstream was there at all.
    pub(super) fn was_reached(&self) -> bool {
        !self.is_unsent()
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
        let said = format!("{error}. {}", error.next_step(None));
        assert!(said.starts_with("no model server answers at http://localhost:1234: "), "{said}");
        for part in ["lms server start", "LM_STUDIO_URL=http://", "Serve on Local Network"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains("os error"), "{said}");
    }
}
