//! What can be read without calling a tool. All of it is JSON, and an upstream that is down is no
//! protocol error: the contents say so.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cancel::Cancel;
use crate::mcp::{
    Resource, ResourceBody, ResourceContents, SERVER_NAME, SERVER_VERSION, Service, Tool, Unusable,
};
use crate::tools::address::{self, CAPABILITIES, CONFIG, MODELS, STATUS};
use crate::tools::model_view::{Summary, loaded, show};
use crate::tools::outcome::{Failure, error_data};
use crate::tools::pick::default_of;
use crate::tools::toolbox::Toolbox;
use crate::tools::{chat, list_models};
use crate::upstream::{Model, ModelList, ModelType, UpstreamState};

/// As `resources/list` shows them.
pub(super) const RESOURCES: &[Resource] = &[
    Resource {
        uri: MODELS,
        name: "models",
        title: "Models",
        description: "The language models on this home network's model server, as list_models \
                      shows them.",
        mime_type: JSON,
    },
    Resource {
        uri: STATUS,
        name: "status",
        title: "Status",
        description: "Whether the model server answers, what it is, and what it has in memory.",
        mime_type: JSON,
    },
    Resource {
        uri: CONFIG,
        name: "config",
        title: "Settings",
        description: "How this server is set up, without anything secret.",
        mime_type: JSON,
    },
    Resource {
        uri: CAPABILITIES,
        name: "capabilities",
        title: "What this server can do",
        description: "Its tools with their arguments and an example each, and how to use them.",
        mime_type: JSON,
    },
];

/// As `resources/templates/list` shows them.
pub(super) const TEMPLATES: &[Resource] = &[Resource {
    uri: address::MODEL,
    name: "model",
    title: "One model",
    description: "A single model by its id, as list_models shows it.",
    mime_type: JSON,
}];

/// Reads one. Errors: there is none at this address.
pub(super) fn read(
    toolbox: &Toolbox,
    uri: &str,
    cancel: &Cancel,
) -> Result<Vec<ResourceContents>, Unusable> {
    let data = match uri {
        MODELS => toolbox.list(cancel).map(|list| models(&list, toolbox)),
        STATUS => Ok(status(toolbox, cancel)),
        CONFIG => Ok(config(toolbox)),
        CAPABILITIES => Ok(capabilities(toolbox, cancel)),
        _ => {
            let unknown = || Unusable::Resource(uri.to_owned());
            let (plain, unescaped) = address::model_in(uri).ok_or_else(unknown)?;
            match toolbox.list(cancel) {
                Ok(list) => {
                    let model = find(&list, plain).or_else(|| find(&list, &unescaped));
                    let default_model = default_of(&list, toolbox);
                    Ok(json!(show(model.ok_or_else(unknown)?, default_model, true)))
                }
                Err(failure) => Err(failure),
            }
        }
    };
    let data = data.unwrap_or_else(|failure| error(&failure, toolbox));
    // `{:#}` is the indented form.
    let body = ResourceBody::Text(format!("{data:#}"));
    Ok(vec![ResourceContents { uri: uri.to_owned(), mime_type: JSON, body }])
}

/// A model by its id or by the name of one of its copies in memory.
fn find<'a>(list: &'a ModelList, id: &str) -> Option<&'a Model> {
    let by_copy = |model: &&Model| model.instances.iter().any(|copy| copy.id == id);
    let mut models = list.models.iter();
    models.find(|model| model.id == id).or_else(|| list.models.iter().find(by_copy))
}

fn error(failure: &Failure, toolbox: &Toolbox) -> Value {
    error_data(failure, toolbox.upstream().base_url().as_str())
}

fn ids(list: &ModelList, of: ModelType) -> Vec<&str> {
    let models = list.models.iter().filter(|model| model.model_type == of);
    models.map(|model| model.id.as_str()).collect()
}

fn models(list: &ModelList, toolbox: &Toolbox) -> Value {
    let default_model = default_of(list, toolbox);
    let shown: Vec<_> = list.models.iter().map(|model| show(model, default_model, true)).collect();
    let summary = Summary::of(list);
    json!({
        "models": shown,
        "llmModels": ids(list, ModelType::Llm),
        "embeddingModels": ids(list, ModelType::Embedding),
        "defaultModel": default_model,
        "count": summary.total,
        "summary": {
            "totalModels": summary.total,
            "llmCount": summary.llm_count,
            "embeddingCount": summary.embedding_count,
            "loadedCount": summary.loaded_count,
        },
    })
}

/// `status` is `online` when the upstream tells its models now; `reachable` when it answers at all.
fn status(toolbox: &Toolbox, cancel: &Cancel) -> Value {
    let looked = toolbox.list(cancel);
    let UpstreamState { reachable, kind, last_success_age, last_error, .. } =
        toolbox.upstream().state();
    let list = looked.as_deref().ok();
    let kind = kind.map(|kind| kind.to_string());
    let in_memory = list.and_then(loaded);
    let last_error = last_error.map(|error| {
        json!({ "code": error.code, "message": error.text, "ageSeconds": error.age.as_secs() })
    });
    let mut upstream = json!({
        "url": toolbox.upstream().base_url().as_str(),
        "kind": kind,
        "reachable": reachable,
        "modelCount": list.map(|list| list.models.len()),
        "modelsLoaded": in_memory,
        "lastSuccessAgeSeconds": last_success_age.map(|age| age.as_secs()),
        "lastError": last_error,
    });
    let mut all = json!({
        "status": if list.is_some() { "online" } else { "offline" },
        "timestamp": OffsetDateTime::now_utc().format(&Rfc3339).ok(),
        "reachable": reachable,
        "kind": kind,
        "modelsLoaded": in_memory,
        "lastError": last_error,
    });
    if let Err(failure) = &looked {
        let told = error(failure, toolbox);
        insert(&mut upstream, "error", told.get("error").cloned());
        insert(&mut all, "error", told.get("error").cloned());
    }
    insert(&mut all, "upstreams", Some(json!([upstream])));
    all
}

fn insert(into: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (into.as_object_mut(), value) {
        map.insert(name.to_owned(), value);
    }
}

fn config(toolbox: &Toolbox) -> Value {
    let offer = toolbox.offer();
    let has = [
        ("tools", true),
        ("resources", offer.resources),
        ("prompts", offer.prompts),
        ("completions", offer.completions),
        ("logging", offer.logging),
    ];
    let capabilities: Vec<_> =
        has.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
    json!({
        "server": SERVER_NAME,
        "version": SERVER_VERSION,
        "capabilities": capabilities,
        "tools": toolbox.tools().iter().map(|tool| tool.name).collect::<Vec<_>>(),
        "settings": toolbox.facts().config,
    })
}

/// Made from the tools, so that it says nothing that is not there.
fn capabilities(toolbox: &Toolbox, cancel: &Cancel) -> Value {
    let looked = toolbox.list(cancel);
    let list = looked.as_deref().ok();
    let (list_models, chat) = (list_models::NAME, chat::NAME);
    let mut management = json!({
        "availableModels": list.map(|list| ids(list, ModelType::Llm)),
        "defaultModel": list.and_then(|list| default_of(list, toolbox)),
        "howToUse": {
            "listModels": format!("Call {list_models} to see every model and which are loaded."),
            "useDefaultModel": format!("Call {chat} without model: the default model answers."),
            "useSpecificModel": format!("Call {chat} with an id from {list_models} as model."),
            "readOneModel": format!("Read {}.", address::MODEL),
        },
    });
    if let Err(failure) = &looked {
        insert(&mut management, "error", error(failure, toolbox).get("error").cloned());
    }
    let tools: Map<_, _> = toolbox
        .tools_with_examples()
        .map(|(tool, example)| (tool.name.to_owned(), described(tool, &example)))
        .collect();
    json!({
        "modelManagement": management,
        "tools": tools,
        "workflow": {
            "step1": format!("Read {STATUS}: is the model server there?"),
            "step2": format!("Call {list_models} and choose a model, or leave it to the default."),
            "step3": format!("Call {chat} with what you want to know."),
            "step4": "When a call fails, do what the suggestion of its error says.",
        },
    })
}

fn described(tool: &Tool, example: &Value) -> Value {
    let schema = &tool.input_schema;
    let required: Vec<_> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let parameters: Map<_, _> = properties
        .map(|(name, of)| {
            let told = parameter(of, required.contains(&name.as_str()));
            (name.clone(), told.into())
        })
        .collect();
    json!({
        "purpose": tool.description,
        "parameters": parameters,
        "example": { "name": tool.name, "arguments": example },
    })
}

/// A parameter in one line.
fn parameter(schema: &Value, required: bool) -> String {
    let mut told = schema["type"].as_str().unwrap_or("any").to_owned();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        told = format!("{told}, one of {}", values.join(", "));
    }
    if required {
        told.push_str(", required");
    }
    match schema["description"].as_str() {
        Some(description) => format!("{told}: {description}"),
        None => told,
    }
}

const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_told_in_one_line() {
        let schema = json!({"type": "string", "enum": ["a", "b"], "description": "Which."});
        assert_eq!(parameter(&schema, true), "string, one of a, b, required: Which.");
        assert_eq!(parameter(&json!({}), false), "any");
    }
}
