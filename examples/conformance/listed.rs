//! What the suite finds in the lists.

use std::borrow::Cow;

use local_llm_mcp::mcp::{Annotations, Lane, Prompt, PromptArgument, Resource, Tool};
use serde_json::{Value, json};

/// Every tool, the lane it runs in, and what it is for. Those that send something before their
/// result, or ask the client, run in the slow lane: they are answered as a stream.
const TOOLS: [(&str, Lane, &str); 28] = [
    ("test_simple_text", Lane::Quick, "Answers with a text"),
    ("test_image_content", Lane::Quick, "Answers with a picture"),
    ("test_audio_content", Lane::Quick, "Answers with a sound"),
    ("test_embedded_resource", Lane::Quick, "Answers with an embedded resource"),
    ("test_multiple_content_types", Lane::Quick, "Answers with text, picture and resource"),
    ("test_tool_with_logging", Lane::Slow, "Sends log messages while it runs"),
    ("test_tool_with_progress", Lane::Slow, "Reports its progress while it runs"),
    ("test_error_handling", Lane::Quick, "Fails on purpose"),
    ("test_reconnection", Lane::Slow, "Takes so long that a client may come back for it"),
    ("test_sampling", Lane::Slow, "Asks the client's model"),
    ("test_elicitation", Lane::Slow, "Asks the person"),
    ("test_elicitation_sep1034_defaults", Lane::Slow, "Asks with defaults filled in"),
    ("test_elicitation_sep1330_enums", Lane::Slow, "Asks with every kind of choice"),
    ("json_schema_2020_12_tool", Lane::Quick, "Has a schema with keywords of draft 2020-12"),
    ("test_x_mcp_header", Lane::Quick, "Has an argument that is repeated in a header"),
    ("test_missing_capability", Lane::Quick, "Cannot do without the client's model"),
    ("test_streaming_elicitation", Lane::Slow, "Asks the person within a stream"),
    ("test_logging_tool", Lane::Slow, "Logs where the client wants it"),
    ("test_trigger_tool_change", Lane::Quick, "Says that the list of tools has changed"),
    ("test_trigger_prompt_change", Lane::Quick, "Says that the list of prompts has changed"),
    ("test_input_required_result_elicitation", Lane::Slow, "Asks for a name"),
    ("test_input_required_result_sampling", Lane::Slow, "Asks for a capital"),
    ("test_input_required_result_list_roots", Lane::Slow, "Asks for the roots"),
    ("test_input_required_result_request_state", Lane::Slow, "Asks and keeps a state"),
    ("test_input_required_result_multiple_inputs", Lane::Slow, "Asks three things at once"),
    ("test_input_required_result_multi_round", Lane::Slow, "Asks twice"),
    ("test_input_required_result_tampered_state", Lane::Slow, "Asks and trusts no other state"),
    ("test_input_required_result_capabilities", Lane::Slow, "Asks what the client can answer"),
];

pub(crate) fn tools() -> Vec<Tool> {
    let tool = |(name, lane, description): (&'static str, Lane, &'static str)| Tool {
        name,
        title: description,
        description,
        input_schema: schema(name),
        output_schema: None,
        annotations: Annotations { read_only: true, ..Annotations::default() },
        lane,
    };
    TOOLS.into_iter().map(tool).collect()
}

fn schema(tool: &str) -> Value {
    let object = |properties: Value, required: &[&str]| {
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    };
    match tool {
        "test_sampling" => object(json!({ "prompt": { "type": "string" } }), &["prompt"]),
        "test_elicitation" => object(json!({ "message": { "type": "string" } }), &["message"]),
        "test_x_mcp_header" => {
            object(json!({ "region": { "type": "string", "x-mcp-header": "Region" } }), &[])
        }
        "json_schema_2020_12_tool" => draft_2020_12(),
        _ => json!({ "type": "object", "additionalProperties": false }),
    }
}

/// Keywords that must reach the client as they stand here.
fn draft_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": {
            "properties": { "contactMethod": { "const": "phone" } },
            "required": ["contactMethod"],
        },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

pub(crate) const RESOURCES: [Resource; 3] = [
    Resource {
        uri: "test://static-text",
        name: "static-text",
        title: "Text",
        description: "A text that never changes",
        mime_type: "text/plain",
    },
    Resource {
        uri: "test://static-binary",
        name: "static-binary",
        title: "Picture",
        description: "A picture that never changes",
        mime_type: "image/png",
    },
    Resource {
        uri: "test://watched-resource",
        name: "watched-resource",
        title: "Watched",
        description: "A text that can be subscribed to",
        mime_type: "text/plain",
    },
];

pub(crate) const TEMPLATES: [Resource; 1] = [Resource {
    uri: "test://template/{id}/data",
    name: "template-data",
    title: "Data of an id",
    description: "A document about the id in its URI",
    mime_type: "application/json",
}];

pub(crate) static PROMPTS: [Prompt; 5] = [
    prompt("test_simple_prompt", "A prompt without arguments", &[]),
    prompt("test_prompt_with_arguments", "A prompt that repeats its arguments", &TWO_ARGUMENTS),
    prompt("test_prompt_with_embedded_resource", "A prompt that holds a resource", &URI_ARGUMENT),
    prompt("test_prompt_with_image", "A prompt that holds a picture", &[]),
    prompt("test_input_required_result_prompt", "A prompt that asks the person first", &[]),
];

static TWO_ARGUMENTS: [PromptArgument; 2] =
    [required("arg1", "The first one"), required("arg2", "The second one")];
static URI_ARGUMENT: [PromptArgument; 1] =
    [required("resourceUri", "What the resource is to be called")];

const fn prompt(
    name: &'static str,
    description: &'static str,
    arguments: &'static [PromptArgument],
) -> Prompt {
    Prompt {
        name: Cow::Borrowed(name),
        title: Cow::Borrowed(description),
        description: Cow::Borrowed(description),
        arguments: Cow::Borrowed(arguments),
    }
}

const fn required(name: &'static str, description: &'static str) -> PromptArgument {
    PromptArgument {
        name: Cow::Borrowed(name),
        description: Cow::Borrowed(description),
        required: true,
        also: None,
    }
}
