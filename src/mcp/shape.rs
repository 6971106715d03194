//! Results as each revision knows them. The one place that knows which field came when.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::revision::Revision;
use super::service::{CallToolResult, Content, Structured, Tool};

/// A tool as `tools/list` shows it to a client of this revision. Schemas pass through untouched.
#[must_use]
pub(super) fn tool(tool: &Tool, revision: Revision) -> Value {
    let mut shape = Map::new();
    shape.insert("name".into(), tool.name.into());
    shape.insert("description".into(), tool.description.into());
    shape.insert("inputSchema".into(), tool.input_schema.clone());
    if revision.has_annotations() {
        let hints = tool.annotations;
        let annotations = json!({
            "title": tool.title,
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        });
        shape.insert("annotations".into(), annotations);
    }
    if revision.has_structured_results() {
        shape.insert("title".into(), tool.title.into());
        if let Some(schema) = &tool.output_schema {
            shape.insert("outputSchema".into(), schema.clone());
        }
    }
    Value::Object(shape)
}

/// The result of `tools/call`, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct CallResult<'a> {
    content: Vec<Block<'a>>,
    #[serde(rename = "structuredContent", skip_serializing_if = "Option::is_none")]
    structured: Option<&'a RawValue>,
    #[serde(rename = "isError", skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'a str },
}

impl<'a> From<&'a Content> for Block<'a> {
    fn from(content: &'a Content) -> Self {
        match content {
            Content::Text(text) => Self::Text { text },
        }
    }
}

/// The result of `tools/call` for a client of this revision.
#[must_use]
pub(super) fn call_result(result: &CallToolResult, revision: Revision) -> CallResult<'_> {
    let structured = result.structured.as_ref().filter(|_| revision.has_structured_results());
    CallResult {
        content: result.content.iter().map(Block::from).collect(),
        structured: structured.map(Structured::raw),
        is_error: result.is_error,
    }
}
