//! What a tool gives back: a text for people and models, and the same as data.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mcp::{CallToolResult, Content, Structured};
use crate::tools::arguments::Unusable;
use crate::upstream::{Failed, UpstreamError};

/// Why a tool has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments cannot be used.
    Arguments(Unusable),
    /// An upstream failed.
    Upstream(Failed),
    /// The model's answer does not have the wanted shape.
    Shape {
        /// Who answered.
        upstream: String,
        /// What is wrong with it.
        why: String,
        /// The answer.
        raw: String,
    },
    /// Another turn of the same conversation is being answered.
    Busy,
}

impl Failure {
    /// The text of the answer that had come before it failed.
    fn partial(&self) -> Option<&str> {
        match self {
            Self::Upstream(failed) => failed.error.partial(),
            Self::Shape { raw, .. } => Some(raw),
            Self::Arguments(_) | Self::Busy => None,
        }
    }

    /// The name of the upstream, empty when none was asked.
    fn upstream(&self) -> &str {
        match self {
            Self::Upstream(failed) => &failed.upstream,
            Self::Shape { upstream, .. } => upstream,
            Self::Arguments(_) | Self::Busy => "",
        }
    }

    /// Its name, for programs.
    pub(super) fn code(&self) -> &'static str {
        Told::from(self).code
    }
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Self {
        Self::Arguments(unusable)
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self::Upstream(failed)
    }
}

/// A result whose text is the data itself; it is written once.
pub(super) fn data<T: Serialize>(data: &T) -> CallToolResult {
    match Structured::write(data) {
        Ok(structured) => CallToolResult {
            content: vec![Content::Json(structured.clone())],
            structured: Some(structured),
            is_error: false,
        },
        // Only a map with keys that are no text, or a float that is no number, fails.
        Err(error) => CallToolResult {
            content: vec![Content::Text(format!("The result cannot be written: {error}."))],
            structured: None,
            is_error: true,
        },
    }
}

/// A result with a text of its own beside the data, which says under `_generation` how that was
/// written.
pub(super) fn told(text: String, structured: Value) -> CallToolResult {
    let generation = structured.get("_generation").and_then(Value::as_object);
    let remark = generation.and_then(remark);
    CallToolResult {
        content: [text].into_iter().chain(remark).map(Content::Text).collect(),
        structured: Some(structured.into()),
        is_error: false,
    }
}

/// A result whose data has the text as well, under the key `text`.
pub(super) fn answered(text: String, beside: &Map<String, Value>) -> CallToolResult {
    CallToolResult {
        content: [text].into_iter().chain(remark(beside)).map(Content::Text).collect(),
        structured: Some(Structured::with_text(beside)),
        is_error: false,
    }
}

/// What a reader of an answer has to know of it, for a block of its own behind the text: clients that
/// know no structured content, and the models behind most others, see nothing else.
fn remark(generation: &Map<String, Value>) -> Option<String> {
    let mut remarks = Vec::new();
    match generation.get("finish_reason").and_then(Value::as_str) {
        Some("deadline") => remarks.push(CUT_BY_TIME),
        Some("length") => remarks.push(CUT_BY_LENGTH),
        _ => {}
    }
    let warnings = generation.get("warnings").and_then(Value::as_array);
    remarks.extend(warnings.into_iter().flatten().filter_map(Value::as_str));
    (!remarks.is_empty()).then(|| format!("(Note: {}.)", remarks.join("; ")))
}

const CUT_BY_TIME: &str =
    "the answer is cut off, since the time of this call was over; timeout_s gives it more";
const CUT_BY_LENGTH: &str =
    "the answer is cut off at max_tokens, or at the end of the model's context window";

/// A failure as a result: one human sentence and the next step first, then the same as JSON,
/// then the text that had come. It has no structured content, because clients hold that against the tool's output schema even when it failed.
pub(super) fn failed(failure: &Failure) -> CallToolResult {
    let told = Told::from(failure);
    let mut content = vec![
        Content::Text(format!("{} {}", sentence(&told.message), told.suggestion)),
        Content::Text(error_data(failure).to_string()),
    ];
    if let Some(partial) = failure.partial() {
        content.push(Content::Text(format!("The answer as far as it came:\n\n{partial}")));
    }
    CallToolResult { content, structured: None, is_error: true }
}

/// A failure as data: an object with `error` and, where it helps, `availableModels`.
pub(super) fn error_data(failure: &Failure) -> Value {
    let told = Told::from(failure);
    let mut details = Map::new();
    details.insert("suggestion".to_owned(), told.suggestion.into());
    let mut error = object!({
        "code": told.code,
        "message": sentence(&told.message),
        "upstream": failure.upstream(),
        "retryable": told.retryable,
    });
    let mut beside = None;
    if let Failure::Upstream(Failed {
        error: UpstreamError::ModelNotFound { model, near, available },
        ..
    }) = failure
    {
        details.insert("requestedModel".to_owned(), model.clone().into());
        details.insert("nearModels".to_owned(), near.clone().into());
        beside = Some(json!(available));
    }
    if let Some(partial) = failure.partial() {
        details.insert("partialText".to_owned(), partial.into());
    }
    if let Some(error) = error.as_object_mut() {
        error.insert("details".to_owned(), details.into());
    }
    let mut data = json!({ "error": error });
    if let (Some(all), Some(available)) = (data.as_object_mut(), beside) {
        all.insert("availableModels".to_owned(), available);
    }
    data
}

struct Told {
    code: &'static str,
    message: String,
    suggestion: String,
    retryable: bool,
}

impl From<&Failure> for Told {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Arguments(unusable) => Self {
                code: "INVALID_ARGUMENT",
                message: format!("the argument {unusable}"),
                suggestion: "Correct the argument and call again.".to_owned(),
                retryable: false,
            },
            Failure::Upstream(failed) => Self {
                code: failed.code(),
                message: failed.to_string(),
                suggestion: failed.next_step().into_owned(),
                retryable: failed.error.is_retryable(),
            },
            Failure::Shape { why, .. } => Self {
                code: "SCHEMA_VIOLATION",
                message: format!("the model's answer is not the wanted JSON: {why}"),
                suggestion: "Try again, with another model, or with a simpler schema.".to_owned(),
                retryable: true,
            },
            Failure::Busy => Self {
                code: "CONVERSATION_BUSY",
                message: "the conversation is busy: another turn of it is being answered"
                    .to_owned(),
                suggestion: "Wait for that answer, then call again.".to_owned(),
                retryable: true,
            },
        }
    }
}

/// An object from its keys and values. Written as a loop over a list: `json!` writes the same code
/// for every key again, and this room has hundreds.
pub(super) fn object_of(pairs: &mut [(&str, Value)]) -> Value {
    let pairs = pairs.iter_mut().map(|(name, value)| ((*name).to_owned(), value.take()));
    Value::Object(pairs.collect())
}

/// [`object_of`] with whatever a value can be made of.
macro_rules! object {
    ({ $($name:literal: $value:expr),* $(,)? }) => {
        $crate::tools::outcome::object_of(&mut [$(($name, serde_json::Value::from($value))),*])
    };
}
pub(super) use object;

/// Puts a value into an object, if there is one.
pub(super) fn insert(into: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (into.as_object_mut(), value) {
        map.insert(name.to_owned(), value);
    }
}

/// A lower-case message as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if message.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &Content) -> &str {
        let Content::Text(text) = content else { panic!("{content:?}") };
        text
    }

    fn at_desk(error: UpstreamError) -> Failure {
        Failed { upstream: "desk".to_owned(), ..Failed::nowhere(error) }.into()
    }

    #[test]
    fn a_failure_begins_with_a_sentence_and_ends_with_what_had_come() {
        let failure = at_desk(UpstreamError::Died {
            cause: "connection reset by peer".to_owned(),
            partial: "Par".to_owned(),
        });
        let result = failed(&failure);
        assert!(result.is_error);
        let texts: Vec<_> = result.content.iter().map(text).collect();
        assert!(texts[0].starts_with("The model server hung up in the middle"), "{}", texts[0]);
        assert!(texts[0].contains("then try again."), "{}", texts[0]);
        let data: Value = serde_json::from_str(texts[1]).unwrap();
        assert_eq!(data["error"]["code"], "UPSTREAM_DIED");
        assert_eq!(data["error"]["upstream"], "desk");
        assert_eq!(data["error"]["retryable"], true);
        assert_eq!(data["error"]["details"]["partialText"], "Par");
        assert!(texts[2].ends_with("Par"), "{}", texts[2]);
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_known_ones() {
        let failure = at_desk(UpstreamError::ModelNotFound {
            model: "gpt-os".to_owned(),
            near: vec!["gpt-oss".to_owned()],
            available: vec!["gpt-oss".to_owned(), "qwen3".to_owned()],
        });
        let result = failed(&failure);
        let data: Value = serde_json::from_str(text(&result.content[1])).unwrap();
        assert_eq!(data["availableModels"], json!(["gpt-oss", "qwen3"]));
        assert_eq!(data["error"]["details"]["suggestion"], "Did you mean \"gpt-oss\"?");
    }
}
