//! Results as each revision knows them. The one place that knows which field came when.

use serde_json::{Map, Value, json};

use super::revision::Revision;
use super::service::{CallToolResult, Content, Tool};

/// A tool as `tools/list` shows it to a client of this revision. Schemas pass through untouched.
#[must_use]
pub fn tool(tool: &Tool, revision: Revision) -> Value {
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

/// The result of `tools/call` for a client of this revision.
#[must_use]
pub fn call_result(result: CallToolResult, revision: Revision) -> Value {
    let content: Vec<Value> = result.content.into_iter().map(content).collect();
    let mut shape = Map::new();
    shape.insert("content".into(), content.into());
    if let Some(structured) = result.structured.filter(|_| revision.has_structured_results()) {
        shape.insert("structuredContent".into(), structured);
    }
    if result.is_error {
        shape.insert("isError".into(), true.into());
    }
    Value::Object(shape)
}

fn content(content: Content) -> Value {
    match content {
        Content::Text(text) => json!({ "type": "text", "text": text }),
    }
}
