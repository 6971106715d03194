//! What travels inside results: content blocks, resource contents, prompt messages.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use serde_json::{Map, Value};

use super::writing::quoted;

/// One block of a result's `content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// The text of structured content, for clients that read text alone.
    Json(Structured),
    /// A picture, its bytes in base64.
    Image {
        /// Standard base64.
        data: String,
        /// As in `image/png`.
        mime_type: &'static str,
    },
    /// Sound (since 2025-03-26; older clients read a text in its place).
    Audio {
        /// Standard base64.
        data: String,
        /// As in `audio/wav`.
        mime_type: &'static str,
    },
    /// A resource, embedded.
    Resource(ResourceContents),
}

/// The contents of a resource (`TextResourceContents`, `BlobResourceContents`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceContents {
    /// As it was asked for.
    pub uri: String,
    /// As in `application/json`.
    pub mime_type: &'static str,
    /// Text, or bytes.
    #[serde(flatten)]
    pub body: ResourceBody,
}

/// Text, or bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Standard base64.
    Blob(String),
}

/// `structuredContent`, written once: as it stands here it goes out, whatever the transport.
#[derive(Clone)]
pub struct Structured(Arc<Written>);

struct Written {
    json: String,
    /// One more key, `text`, holds the text of the result's first block.
    has_text: bool,
    /// The same as a JSON string, for what is sent more than once.
    quoted: OnceLock<String>,
}

impl Structured {
    /// Writes an object. Errors: it holds a map with keys that are no text.
    pub fn write<T: Serialize + ?Sized>(object: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(object).map(Self::of)
    }

    /// An object with one more key, that holds vectors: each number in as few digits as bring it
    /// back. `None`: it is no object, or a number is none.
    #[must_use]
    pub fn with_vectors(object: &Value, name: &str, vectors: &[Vec<f32>]) -> Option<Self> {
        let text = object.to_string();
        let open = text.strip_suffix('}')?;
        let comma = if open.len() > 1 { "," } else { "" };
        let mut json = format!("{open}{comma}{}:[", quoted(name));
        for (at, vector) in vectors.iter().enumerate() {
            json.push_str(if at == 0 { "[" } else { ",[" });
            for (at, number) in vector.iter().enumerate() {
                if !number.is_finite() {
                    return None;
                }
                let comma = if at == 0 { "" } else { "," };
                json.push_str(&format!("{comma}{number:?}"));
            }
            json.push(']');
        }
        json.push_str("]}");
        Some(Self::of(json))
    }

    /// An object with one more key, `text`, which is the text of the result's first block: what may
    /// have megabytes is held and escaped once.
    #[must_use]
    pub fn with_text(object: &Map<String, Value>) -> Self {
        let json = serde_json::to_string(object).unwrap_or_default();
        Self(Arc::new(Written { json, has_text: true, quoted: OnceLock::new() }))
    }

    fn of(json: String) -> Self {
        Self(Arc::new(Written { json, has_text: false, quoted: OnceLock::new() }))
    }

    /// Whether the object has the key `text` that [`Structured::json`] leaves out.
    pub(super) fn has_text(&self) -> bool {
        self.0.has_text
    }

    /// The JSON as it goes out, but for the text of [`Structured::with_text`].
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// The JSON as the JSON string that a text holds.
    pub(super) fn quoted(&self) -> &str {
        self.0.quoted.get_or_init(|| quoted(&self.0.json))
    }

    /// The JSON as a value, for whoever wants to look into it.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.json()).unwrap_or_default()
    }
}

impl fmt::Debug for Structured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Structured").field(&self.json()).finish()
    }
}

impl PartialEq for Structured {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Eq for Structured {}

impl From<Value> for Structured {
    fn from(value: Value) -> Self {
        Self::of(value.to_string())
    }
}

/// What a tool answers (`CallToolResult`). A failure that the model or the user can do something
/// about is a result with `is_error`, not a protocol error.
#[derive(Clone, Debug, Default)]
pub struct CallToolResult {
    /// At least one block.
    pub content: Vec<Content>,
    /// An object that fits the tool's output schema (sent since 2025-06-18).
    pub structured: Option<Structured>,
    /// The call failed; the text says what happened and what to do.
    pub is_error: bool,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptMessage {
    /// `user` or `assistant`.
    pub role: &'static str,
    /// What is said.
    pub content: Content,
}

/// What `prompts/get` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptResult {
    /// For people.
    pub description: String,
    /// At least one.
    pub messages: Vec<PromptMessage>,
}

/// What `completion/complete` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// The best first; a hundred of them are sent.
    pub values: Vec<String>,
}
