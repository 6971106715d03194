//! What the client is asked, in the words that the suite expects.

use local_llm_mcp::mcp::InputRequest;
use serde_json::{Value, json};

/// A form with one required field.
pub(crate) fn one_field(message: &str, field: &str, kind: &str) -> InputRequest {
    form(message, &json!({ field: { "type": kind } }), &[field])
}

/// A question to the client's model.
pub(crate) fn sampling(prompt: &str, tokens_max: u32) -> InputRequest {
    InputRequest::Sampling(json!({
        "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
        "maxTokens": tokens_max,
    }))
}

/// A form with a default of every primitive type.
pub(crate) fn defaults() -> InputRequest {
    form(
        "Please review what is filled in",
        &json!({
            "name": { "type": "string", "default": "John Doe" },
            "age": { "type": "integer", "default": 30 },
            "score": { "type": "number", "default": 95.5 },
            "status": {
                "type": "string",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": { "type": "boolean", "default": true },
        }),
        &[],
    )
}

/// A form with every kind of choice.
pub(crate) fn choices() -> InputRequest {
    let options = json!(["option1", "option2", "option3"]);
    let titled = json!([
        { "const": "value1", "title": "First" },
        { "const": "value2", "title": "Second" },
        { "const": "value3", "title": "Third" },
    ]);
    form(
        "Please choose",
        &json!({
            "untitledSingle": { "type": "string", "enum": options },
            "titledSingle": { "type": "string", "oneOf": titled },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": options } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled } },
        }),
        &[],
    )
}

fn form(message: &str, properties: &Value, required: &[&str]) -> InputRequest {
    InputRequest::Elicitation(json!({
        "message": message,
        "requestedSchema": { "type": "object", "properties": properties, "required": required },
    }))
}
