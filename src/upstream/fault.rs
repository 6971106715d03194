//! One reader for the five shapes in which upstreams say that something failed.
//!
//! The shapes: `{"error": "text"}`, `{"error": {"message": …}}`, either of them with HTTP 200, the
//! same inside an event of a stream, and a stream that ends without a word (which is noticed by
//! its reader).

use serde::Deserialize;
use serde_json::Value;

use crate::upstream::error::UpstreamError;

/// What an upstream said about a failure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    message: String,
    code: String,
    kind: String,
}

impl Said {
    /// Reads a body; `None` when it does not speak of an error.
    pub(super) fn in_body(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: Value,
            message: Option<String>,
        }
        let body: Body = serde_json::from_slice(body).ok()?;
        Self::in_value(&body.error, body.message.as_deref())
    }

    /// As [`Said::in_value`], from JSON.
    pub(super) fn in_raw(error: &str, beside: Option<&str>) -> Option<Self> {
        Self::in_value(&serde_json::from_str(error).ok()?, beside)
    }

    /// Reads the value of an `error` key, with the `message` beside it as the second choice.
    pub(super) fn in_value(error: &Value, beside: Option<&str>) -> Option<Self> {
        let text = |key: &str| match error.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let mut said = match error {
            Value::Null | Value::Bool(false) => return None,
            Value::String(message) => Self { message: message.clone(), ..Self::default() },
            _ => Self { message: text("message"), code: text("code"), kind: text("type") },
        };
        if said.message.is_empty() {
            said.message = beside.unwrap_or(&said.kind).to_owned();
        }
        Some(said)
    }

    /// A body that is no JSON at all, such as a proxy's page.
    pub(super) fn plain(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = if text.trim_start().starts_with('<') { "" } else { text.trim() };
        Self { message: text.to_owned(), ..Self::default() }
    }

    /// Whether the path or method is one that this server does not have. LM Studio says so with
    /// HTTP 200.
    pub(super) fn is_unknown_endpoint(&self) -> bool {
        self.message.to_ascii_lowercase().contains("unexpected endpoint")
    }

    /// Whether it speaks of `word`, a key of the request.
    pub(super) fn names(&self, word: &str) -> bool {
        self.message.contains(word)
    }

    /// Whether it finds fault with the shape of the request, as LM Studio's strict API does.
    pub(super) fn is_about_shape(&self) -> bool {
        SHAPE_CODES.contains(&self.code.as_str()) || self.message.contains("Unrecognized key")
    }

    /// The failure that this is, for a request that named `model`.
    pub(super) fn into_error(
        self,
        status: u16,
        model: Option<&str>,
        token_sent: bool,
    ) -> UpstreamError {
        let lower = self.message.to_lowercase();
        let has = |part: &&str| lower.contains(*part);
        let said = tidy(&self.message);
        if matches!(status, 401 | 403)
            || self.code == "invalid_api_key"
            || self.kind == "authentication_error"
        {
            return UpstreamError::Auth { token_sent };
        }
        if OVERFLOW.iter().any(|parts| parts.iter().all(has))
            || OVERFLOW_CODES.contains(&self.code.as_str())
            || OVERFLOW_CODES.contains(&self.kind.as_str())
        {
            return UpstreamError::ContextOverflow { said };
        }
        // Before "not found": LM Studio gives both the same code.
        if NOT_LOADED.iter().any(has) {
            return UpstreamError::NoModelLoaded { said };
        }
        if LOAD_FAILED.iter().any(has) {
            return UpstreamError::ModelLoadFailed { said };
        }
        if CRASHED.iter().any(has) {
            return UpstreamError::ModelCrashed { said, partial: String::new() };
        }
        let unknown = self.code == "model_not_found"
            || self.kind == "model_not_found"
            || (lower.contains("model") && NOT_FOUND.iter().any(has));
        if unknown {
            return UpstreamError::ModelNotFound {
                model: model.unwrap_or_default().to_owned(),
                near: Vec::new(),
                available: Vec::new(),
            };
        }
        if status == 501 || UNABLE.iter().any(has) {
            return UpstreamError::NotSupported { what: "this request", said };
        }
        if (400..500).contains(&status) && status != 429 && !self.is_unknown_endpoint() {
            return UpstreamError::BadRequest { said };
        }
        UpstreamError::Answered { status, said, partial: String::new() }
    }
}

/// An upstream's words on one line, without control characters and not too long.
pub(super) fn tidy(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(SAID_CHARS_MAX));
    for (n, word) in text.split_whitespace().enumerate() {
        if n > 0 {
            line.push(' ');
        }
        line.extend(word.chars().flat_map(|c| {
            let (kept, escaped) =
                if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
            kept.into_iter().chain(escaped.into_iter().flatten())
        }));
    }
    match line.char_indices().nth(SAID_CHARS_MAX) {
        Some((at, _)) => {
            line.truncate(at);
            line.push('…');
            line
        }
        None => line,
    }
}

const OVERFLOW: &[&[&str]] = &[
    &["context size has been exceeded"],
    &["tokens to keep from the initial prompt is greater than the context length"],
    &["keep the first", "context"],
    &["n_keep", "n_ctx"],
    &["reached context length of"],
    &["exceeds the available context size"],
    &["exceed_context_size"],
    &["maximum context length"],
    &["context_length_exceeded"],
    &["prompt is too long"],
];

const OVERFLOW_CODES: &[&str] = &["context_length_exceeded", "exceed_context_size_error"];

const SHAPE_CODES: &[&str] = &["invalid_union", "unrecognized_keys", "invalid_type"];

const NOT_LOADED: &[&str] = &["no models loaded", "no model loaded", "model is unloaded"];

const LOAD_FAILED: &[&str] =
    &["failed to load model", "model loading was stopped", "error loading model"];

const CRASHED: &[&str] = &["model has crashed", "model crashed", "exit code:"];

const UNABLE: &[&str] = &[
    "unexpected endpoint",
    "vision add-on is not loaded",
    "image input is not supported",
    "does not support image",
    "does not support embeddings",
    "does not support chat",
    "does not support generate",
];

const NOT_FOUND: &[&str] = &["invalid model identifier", "not found", "does not exist"];

/// One sentence of an error, not a log.
const SAID_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: u16, body: &str) -> &'static str {
        Said::in_body(body.as_bytes()).unwrap().into_error(status, Some("m"), false).code()
    }

    #[test]
    fn every_shape_is_read() {
        for body in [
            r#"{"error":"Context size has been exceeded."}"#,
            r#"{"error":{"message":"Context size has been exceeded."}}"#,
            r#"{"error":{"type":"unknown"},"message":"Context size has been exceeded."}"#,
            r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"too big"}}"#,
        ] {
            assert_eq!(code(200, body), "CONTEXT_OVERFLOW", "{body}");
        }
        for body in [r#"{"error":null}"#, r#"{"data":[]}"#, "<html>", "", "[]"] {
            assert_eq!(Said::in_body(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn the_words_of_known_failures_are_told_apart() {
        for (status, body, expected) in [
            (
                404,
                r#"{"error":{"message":"No models loaded. Please load a model","code":"model_not_found"}}"#,
                "NO_MODEL_LOADED",
            ),
            (
                400,
                r#"{"error":{"message":"Invalid model identifier \"o4\". Please specify","code":"model_not_found"}}"#,
                "MODEL_NOT_FOUND",
            ),
            (
                404,
                r#"{"error":{"message":"Model \"x\" not found. Please specify a valid model."}}"#,
                "MODEL_NOT_FOUND",
            ),
            (404, r#"{"error":"model 'x' not found"}"#, "MODEL_NOT_FOUND"),
            (
                404,
                r#"{"error":{"message":"Failed to load model \"X\". Error: stopped"}}"#,
                "MODEL_LOAD_FAILED",
            ),
            (
                400,
                r#"{"error":"'response_format.type' must be 'json_schema' or 'text'"}"#,
                "BAD_REQUEST",
            ),
            (
                400,
                r#"{"error":"Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)"}"#,
                "CONTEXT_OVERFLOW",
            ),
            (
                200,
                r#"{"error":{"message":"The model has crashed without additional information. (Exit code: 1)"}}"#,
                "MODEL_CRASHED",
            ),
            (
                401,
                r#"{"error":{"message":"An LM Studio API token is required","code":"invalid_api_key"}}"#,
                "UPSTREAM_AUTH",
            ),
            (
                200,
                r#"{"error":"Unexpected endpoint or method. (GET /x)"}"#,
                "NOT_SUPPORTED_BY_UPSTREAM",
            ),
            (
                200,
                r#"{"error":{"message":"Error: Vision add-on is not loaded, but images were provided"}}"#,
                "NOT_SUPPORTED_BY_UPSTREAM",
            ),
            (
                501,
                r#"{"error":{"code":501,"message":"no embeddings","type":"not_supported_error"}}"#,
                "NOT_SUPPORTED_BY_UPSTREAM",
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                "UPSTREAM_ERROR",
            ),
            (500, r#"{"error":{"message":"boom"}}"#, "UPSTREAM_ERROR"),
        ] {
            assert_eq!(code(status, body), expected, "{body}");
        }
    }

    #[test]
    fn what_an_upstream_says_stays_one_short_line() {
        assert_eq!(tidy("two\n\n  lines\u{1b}[2J"), "two lines\\u{1b}[2J");
        assert_eq!(tidy(&"ä".repeat(1000)).chars().count(), SAID_CHARS_MAX + 1);
    }
}
