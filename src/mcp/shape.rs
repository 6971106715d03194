//! Results as each revision knows them. The one place that knows which field came when.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::content::{
    CallToolResult, Completions, Content, PromptResult, ResourceContents, Structured,
};
use super::jsonrpc::RequestId;
use super::revision::Revision;
use super::service::{Offer, Prompt, Resource, Tool};
use super::writing::Writing;

/// `serverInfo.name`.
pub const SERVER_NAME: &str = "local-llm-mcp";
/// `serverInfo.version`.
pub const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");
const SERVER_TITLE: &str = "Local language models";
/// `resultType` of a result that is one.
const COMPLETE: &str = "complete";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// How long a client may keep a list: it is the same until this program is replaced.
pub(super) const LIST_TTL_MS: u64 = 60_000;

/// Who answers.
pub(super) fn server_info(revision: Revision) -> Value {
    let mut info = Map::new();
    info.insert("name".into(), SERVER_NAME.into());
    info.insert("version".into(), SERVER_VERSION.into());
    if revision.has_structured_results() {
        info.insert("title".into(), SERVER_TITLE.into());
    }
    Value::Object(info)
}

/// `_meta` of every result since 2026-07-28.
fn meta(revision: Revision) -> Value {
    json!({ SERVER_INFO: server_info(revision) })
}

/// What the house can do, truthfully: what is not named here answers -32601.
pub(super) fn capabilities(offer: Offer, revision: Revision) -> Value {
    let mut all = Map::new();
    let listed = |changed: bool| if changed { json!({ "listChanged": true }) } else { json!({}) };
    all.insert("tools".into(), listed(offer.list_changed));
    if offer.resources {
        let mut resources = listed(offer.list_changed || offer.resources_changed);
        if let Some(resources) = resources.as_object_mut().filter(|_| offer.subscribe) {
            resources.insert("subscribe".into(), true.into());
        }
        all.insert("resources".into(), resources);
    }
    if offer.prompts {
        all.insert("prompts".into(), listed(offer.list_changed));
    }
    // 2024-11-05 has the method without a capability.
    if offer.completions && revision.has_annotations() {
        all.insert("completions".into(), json!({}));
    }
    if offer.logging {
        all.insert("logging".into(), json!({}));
    }
    Value::Object(all)
}

/// Adds to a result what 2026-07-28 wants on every one, and, where a client may keep it, for how
/// long. Everything is told to this caller only: it may differ for another.
pub(super) fn complete(result: &mut Map<String, Value>, revision: Revision, ttl_ms: Option<u64>) {
    if !revision.is_modern() {
        return;
    }
    result.insert("resultType".into(), COMPLETE.into());
    result.insert("_meta".into(), meta(revision));
    if let Some(ttl_ms) = ttl_ms {
        result.insert("ttlMs".into(), ttl_ms.into());
        result.insert("cacheScope".into(), "private".into());
    }
}

/// A result that asks for input (2026-07-28, MRTR).
pub(super) fn input_required(requests: &Map<String, Value>, state: Option<String>) -> Value {
    let mut result = Map::new();
    complete(&mut result, Revision::MODERN, None);
    result.insert("resultType".into(), "input_required".into());
    if !requests.is_empty() {
        result.insert("inputRequests".into(), Value::Object(requests.clone()));
    }
    if let Some(state) = state {
        result.insert("requestState".into(), state.into());
    }
    Value::Object(result)
}

/// A tool as `tools/list` shows it. Schemas pass through untouched.
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

/// A resource or template as its list shows it.
pub(super) fn resource(resource: &Resource, uri: &str, revision: Revision) -> Value {
    let mut shape = named(resource.name, resource.title, resource.description, revision);
    shape.insert(uri.to_owned(), resource.uri.into());
    shape.insert("mimeType".into(), resource.mime_type.into());
    Value::Object(shape)
}

/// A prompt as `prompts/list` shows it.
pub(super) fn prompt(prompt: &Prompt, revision: Revision) -> Value {
    let mut shape = named(&prompt.name, &prompt.title, &prompt.description, revision);
    if !prompt.arguments.is_empty() {
        let arguments: Vec<Value> = prompt
            .arguments
            .iter()
            .map(|argument| {
                json!({
                    "name": argument.name,
                    "description": argument.description,
                    "required": argument.required,
                })
            })
            .collect();
        shape.insert("arguments".into(), arguments.into());
    }
    Value::Object(shape)
}

fn named(name: &str, title: &str, description: &str, revision: Revision) -> Map<String, Value> {
    let mut shape = Map::new();
    shape.insert("name".into(), name.into());
    shape.insert("description".into(), description.into());
    if revision.has_structured_results() {
        shape.insert("title".into(), title.into());
    }
    shape
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum Block<'a> {
    Text { text: &'a str },
    Image { data: &'a str, mime_type: &'a str },
    Audio { data: &'a str, mime_type: &'a str },
    Resource { resource: &'a ResourceContents },
}

fn block(content: &Content, revision: Revision) -> Block<'_> {
    match content {
        Content::Text(text) => Block::Text { text },
        Content::Json(json) => Block::Text { text: json.json() },
        Content::Image { data, mime_type } => Block::Image { data, mime_type },
        // A type that a client does not know would make it refuse the whole result.
        Content::Audio { .. } if !revision.has_annotations() => {
            Block::Text { text: "(audio, which revision 2024-11-05 cannot carry)" }
        }
        Content::Audio { data, mime_type } => Block::Audio { data, mime_type },
        Content::Resource(resource) => Block::Resource { resource },
    }
}

/// The reply with the result of `tools/call`, written in one pass: of all that goes out it is what
/// is the longest and comes most often. Each block is let go as soon as it is written.
pub(super) fn call_reply(id: &RequestId, result: CallToolResult, revision: Revision) -> String {
    let structured = result.structured.filter(|_| revision.has_structured_results());
    let has_text = structured.as_ref().is_some_and(Structured::has_text);
    let texts = result.content.iter().map(|content| match content {
        Content::Text(text) => (text.len() + text.len() / 4) * (1 + usize::from(has_text)),
        Content::Json(json) => json.quoted().len(),
        _ => 0,
    });
    let data = structured.as_ref().map_or("", Structured::json);
    let mut out = Writing::new(data.len() + texts.sum::<usize>());
    out.put(r#"{"jsonrpc":"2.0","id":"#);
    out.value(id);
    out.put(r#","result":{"content":["#);
    let mut first_text = None;
    for (n, content) in result.content.into_iter().enumerate() {
        out.put(if n == 0 { "" } else { "," });
        match (&content, block(&content, revision)) {
            (Content::Json(json), _) => {
                out.put(TEXT_BEGINS);
                out.put(json.quoted());
                out.put("}");
            }
            (_, Block::Text { text }) => {
                out.put(TEXT_BEGINS);
                let written = out.text(text);
                first_text.get_or_insert(written);
                out.put("}");
            }
            (_, other) => out.value(&other),
        }
    }
    out.put("]");
    if !data.is_empty() {
        out.put(r#","structuredContent":"#);
        match first_text.filter(|_| has_text) {
            None => out.put(data),
            Some(text) => {
                out.put(r#"{"text":"#);
                out.again(text);
                out.put(if data.len() > 2 { "," } else { "" });
                out.put(data.strip_prefix('{').unwrap_or(data));
            }
        }
    }
    if result.is_error {
        out.put(r#","isError":true"#);
    }
    if revision.is_modern() {
        out.put(r#","resultType":"#);
        out.text(COMPLETE);
        out.put(r#","_meta":"#);
        out.value(&meta(revision));
    }
    out.put("}}");
    out.done()
}

/// The result of `resources/read`.
pub(super) fn read_result(contents: &[ResourceContents], revision: Revision) -> Value {
    let mut result = Map::new();
    result.insert("contents".into(), json!(contents));
    // What is read changes at any time.
    complete(&mut result, revision, Some(0));
    Value::Object(result)
}

/// The result of `prompts/get`.
pub(super) fn prompt_result(prompt: &PromptResult, revision: Revision) -> Value {
    let messages: Vec<Value> = prompt
        .messages
        .iter()
        .map(
            |message| json!({ "role": message.role, "content": block(&message.content, revision) }),
        )
        .collect();
    let mut result = Map::new();
    result.insert("description".into(), prompt.description.as_str().into());
    result.insert("messages".into(), messages.into());
    complete(&mut result, revision, None);
    Value::Object(result)
}

/// The result of `completion/complete`; a hundred values at most (all revisions, completion).
pub(super) fn completions(found: &Completions, revision: Revision) -> Value {
    let sent: Vec<&String> = found.values.iter().take(100).collect();
    let completion = json!({
        "values": sent,
        "total": found.values.len(),
        "hasMore": found.values.len() > sent.len(),
    });
    let mut result = Map::new();
    result.insert("completion".into(), completion);
    complete(&mut result, revision, None);
    Value::Object(result)
}

const TEXT_BEGINS: &str = r#"{"type":"text","text":"#;
