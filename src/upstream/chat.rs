//! What a chat asks for, what comes while it runs, and what it answers. Values only.

use std::time::Duration;

/// What a model is to write.
#[derive(Clone, Debug, Default)]
pub struct ChatRequest {
    /// The name of the upstream; chosen by its models when absent.
    pub upstream: Option<String>,
    /// The asked model; when absent the configured one, else a loaded one.
    pub model: Option<String>,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// A text to go on with, without a chat template; `messages` count for nothing then.
    pub complete: Option<String>,
    /// `data:` URLs of images that belong to the last message.
    pub images: Vec<String>,
    /// A JSON Schema that the answer has to follow, as JSON.
    pub json_schema: Option<String>,
    /// How much to think.
    pub effort: Option<Effort>,
    /// Lets the upstream keep the conversation, where it can; the answer names it.
    pub store: bool,
    /// The name of a kept conversation that this goes on with.
    pub conversation: Option<String>,
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
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// When this is over, what has come is the answer; the upstream's call limit when absent.
    pub deadline: Option<Duration>,
    /// How often to be woken with [`ChatEvent::Waiting`] while nothing comes.
    pub beat: Option<Duration>,
}

impl ChatRequest {
    /// Whether LM Studio's own `/api/v1/chat`, which keeps conversations, can express it: one
    /// question, perhaps with instructions before it, and only the arguments that it knows.
    #[must_use]
    pub fn is_native(&self) -> bool {
        let mut roles = self.messages.iter().map(|message| message.role);
        let one_question = matches!(
            (roles.next(), roles.next(), roles.next()),
            (Some(Role::User), None, _) | (Some(Role::System), Some(Role::User), None)
        );
        one_question
            && self.complete.is_none()
            && self.json_schema.is_none()
            && self.stop.is_empty()
            && self.seed.is_none()
            && self.frequency_penalty.is_none()
            && self.presence_penalty.is_none()
            && self.temperature.is_none_or(|temperature| temperature <= 1.0)
    }

    /// Everything that the model has to read, in characters that count for its window.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let messages = self.messages.iter().map(|message| message.content.as_str());
        messages.filter(|_| self.complete.is_none()).chain(self.complete.as_deref())
    }
}

/// How much a model is to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Not at all.
    Off,
    /// A little.
    Low,
    /// Some.
    Medium,
    /// A lot.
    High,
}

impl Effort {
    /// As LM Studio's own API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As the API writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What comes while a chat runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatEvent<'a> {
    /// Nothing came for a beat; the call stands where it stood.
    Waiting,
    /// The model is busy with others.
    Queued {
        /// How many are before this call, those that run included.
        before: usize,
    },
    /// The request goes out.
    Asking {
        /// The name of the upstream.
        upstream: &'a str,
        /// The model.
        model: &'a str,
    },
    /// The model is being loaded, in percent.
    Loading(u8),
    /// The prompt is being read, in percent.
    Reading(u8),
    /// A piece of the reasoning; about one token.
    Thinking(&'a str),
    /// A piece of the answer; about one token.
    Writing(&'a str),
    /// So many texts have their vectors.
    Embedded(usize),
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatAnswer {
    /// The answer without the reasoning.
    pub text: String,
    /// The reasoning, empty when there was none.
    pub reasoning: String,
    /// The name of the upstream that answered.
    pub upstream: String,
    /// The model that was asked for, or chosen when none was.
    pub requested_model: String,
    /// The model that answered, as the upstream calls it.
    pub model: String,
    /// The name of the conversation, where the upstream keeps it.
    pub conversation: Option<String>,
    /// Why it ended.
    pub finish: Finish,
    /// Cut by our own deadline.
    pub partial: bool,
    /// What the upstream counted.
    pub usage: Usage,
    /// Waited for a turn.
    pub queued: Duration,
    /// How long the upstream took to load the model, where it had to and says so.
    pub load: Option<Duration>,
    /// From the call to the first piece.
    pub first_token: Option<Duration>,
    /// From the call to the end.
    pub total: Duration,
    /// The upstream's own measure.
    pub measured_rate: Option<f64>,
    /// What the caller should know besides.
    pub warnings: Vec<String>,
}

impl ChatAnswer {
    /// Tokens a second after the first one, where the upstream measured or counted them.
    #[must_use]
    pub fn tokens_per_second(&self) -> Option<f64> {
        if self.measured_rate.is_some() {
            return self.measured_rate;
        }
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
    pub(super) fn read(said: &str) -> Self {
        match said {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            _ => Self::Other(said.to_owned()),
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
