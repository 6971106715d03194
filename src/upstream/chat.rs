//! What a chat asks for, what comes while it runs, and what it answers. Values only.

use std::time::Duration;

use serde::Serialize;

/// A question to a model (`POST /v1/chat/completions`).
#[derive(Clone, Debug, Default)]
pub struct ChatRequest {
    /// The asked model.
    pub model: String,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// Longest answer, in tokens.
    pub max_tokens: Option<u32>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// For answers that can be repeated.
    pub seed: Option<i64>,
    /// When this is over, what has come is the answer; the upstream's call limit when absent.
    pub deadline: Option<Duration>,
    /// How often to be woken with [`ChatEvent::Waiting`] while nothing comes.
    pub beat: Option<Duration>,
}

/// One turn of a conversation.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
}

/// What comes while a chat runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatEvent<'a> {
    /// The request stands; the model loads or reads the prompt, or says nothing.
    Waiting,
    /// A piece of the reasoning; about one token.
    Thinking(&'a str),
    /// A piece of the answer; about one token.
    Writing(&'a str),
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatAnswer {
    /// The answer without the reasoning.
    pub text: String,
    /// The reasoning, empty when there was none.
    pub reasoning: String,
    /// The model that answered, as the upstream calls it.
    pub model: String,
    /// Why it ended.
    pub finish: Finish,
    /// Cut by our own deadline.
    pub partial: bool,
    /// What the upstream counted.
    pub usage: Usage,
    /// From the request to the first piece.
    pub first_token: Option<Duration>,
    /// From the request to the end.
    pub total: Duration,
    /// What the caller should know besides.
    pub warnings: Vec<String>,
}

impl ChatAnswer {
    /// Tokens a second after the first one, where the upstream counted them.
    #[must_use]
    pub fn tokens_per_second(&self) -> Option<f64> {
        let writing = self.total.checked_sub(self.first_token?)?.as_secs_f64();
        let tokens = self.usage.completion_tokens?;
        (writing > 0.0 && tokens > 1).then(|| f64::from(tokens) / writing)
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// It was done, or met a stop text.
    #[default]
    Stop,
    /// `max_tokens`, or the context window, was used up.
    Length,
    /// The model wants to call a tool.
    ToolCalls,
    /// Our own deadline.
    Deadline,
    /// Another reason of the upstream's.
    Other(String),
}

impl Finish {
    /// As the upstream writes it.
    pub(super) fn read(said: String) -> Self {
        match said.as_str() {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            _ => Self::Other(said),
        }
    }

    /// As a tool result writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::Deadline => "deadline",
            Self::Other(said) => said,
        }
    }
}

/// Tokens, as the upstream counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: Option<u32>,
    /// Of the answer with its reasoning.
    pub completion_tokens: Option<u32>,
    /// Of the reasoning.
    pub reasoning_tokens: Option<u32>,
}

/// The request's body. Always streamed: only a stream can be cut at a deadline with something in
/// hand, and shows that a model still works.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> From<&'a ChatRequest> for Body<'a> {
    fn from(request: &'a ChatRequest) -> Self {
        Self {
            model: &request.model,
            messages: &request.messages,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_p: request.top_p,
            stop: &request.stop,
            seed: request.seed,
        }
    }
}
