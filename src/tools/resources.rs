//! What can be read without calling a tool. All of it is JSON, and an upstream that is down is no
//! protocol error: the contents say so.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::mcp::{
    CallContext, Resource, ResourceBody, ResourceContents, SERVER_NAME, SERVER_VERSION, Service,
    Tool, Unusable,
};
use crate::tools::address::{self, CAPABILITIES, CONFIG, MODELS, STATUS, USAGE};
use crate::tools::analysis::Analyses;
use crate::tools::model_view::{Summary, show};
use crate::tools::outcome::{Failure, error_data, insert, object};
use crate::tools::pick::default_of;
use crate::tools::private_analysis::TYPES;
use crate::tools::secure_rewrite::LEVELS;
use crate::tools::server_status::as_resource;
use crate::tools::survey::Survey;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Model, ModelType};

/// As `resources/list` shows them.
pub(super) const RESOURCES: &[Resource] = &[
    Resource {
        uri: MODELS,
        name: "models",
        title: "Models",
        description: "The language models on this home network's model servers, as list_models \
                      shows them.",
        mime_type: JSON,
    },
    Resource {
        uri: STATUS,
        name: "status",
        title: "Status",
        description: "Whether the model servers answer, what they are, and what they have in memory.",
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
    Resource {
        uri: USAGE,
        name: "usage",
        title: "Usage",
        description: "Questions to models since the start, their tokens, and how fast they were.",
        mime_type: JSON,
    },
];

/// As `resources/templates/list` shows them; the last only where conversations are kept.
pub(super) const TEMPLATES: &[Resource] = &[
    Resource {
        uri: address::MODEL,
        name: "model",
        title: "One model",
        description: "A single model by its id, as list_models shows it.",
        mime_type: JSON,
    },
    Resource {
        uri: address::CONVERSATION,
        name: "conversation",
        title: "One conversation",
        description: "What was said in a conversation of yours that is kept.",
        mime_type: JSON,
    },
];

/// Reads one. Errors: there is none at this address.
pub(super) fn read(
    toolbox: &Toolbox,
    uri: &str,
    context: &CallContext<'_>,
) -> Result<Vec<ResourceContents>, Unusable> {
    let data = match uri {
        MODELS => survey(toolbox, context).map(|survey| models(&survey, toolbox, context)),
        STATUS => Ok(status(toolbox, context)),
        CONFIG => Ok(config(toolbox)),
        CAPABILITIES => Ok(capabilities(toolbox, context)),
        USAGE => Ok(toolbox.usage().shown()),
        _ => one(toolbox, uri, context)?,
    };
    let data = data.unwrap_or_else(|failure| error_data(&failure));
    // `{:#}` is the indented form.
    let body = ResourceBody::Text(format!("{data:#}"));
    Ok(vec![ResourceContents { uri: uri.to_owned(), mime_type: JSON, body }])
}

/// A model or a conversation. Errors: there is none at this address.
fn one(
    toolbox: &Toolbox,
    uri: &str,
    context: &CallContext<'_>,
) -> Result<Result<Value, Failure>, Unusable> {
    let unknown = || Unusable::Resource(uri.to_owned());
    if let Some(id) = uri.strip_prefix(address::CONVERSATION_BEFORE_ID) {
        let shown = toolbox.conversations().shown(id, context.principal);
        return Ok(Ok(shown.ok_or_else(unknown)?));
    }
    let (plain, unescaped) = address::model_in(uri).ok_or_else(unknown)?;
    Ok(match survey(toolbox, context) {
        Ok(survey) => {
            let found = find(&survey, plain).or_else(|| find(&survey, &unescaped));
            let (upstream, model) = found.ok_or_else(unknown)?;
            let default_model = default_of(&survey, toolbox, context);
            Ok(json!(show(model, upstream, default_model.as_ref(), true)))
        }
        Err(failure) => Err(failure),
    })
}

fn survey(toolbox: &Toolbox, context: &CallContext<'_>) -> Result<Survey, Failure> {
    Survey::of(toolbox.lists(context.cancel))
}

/// A model by its id or by the name of one of its copies in memory.
fn find<'a>(survey: &'a Survey, id: &str) -> Option<(&'a str, &'a Model)> {
    let by_copy = |model: &Model| model.instances.iter().any(|copy| copy.id == id);
    let mut models = survey.models();
    models.find(|(_, model)| model.id == id).or_else(|| survey.models().find(|it| by_copy(it.1)))
}

fn ids(survey: &Survey, of: ModelType) -> Vec<&str> {
    let models = survey.models().filter(|(_, model)| model.model_type == of);
    models.map(|(_, model)| model.id.as_str()).collect()
}

fn models(survey: &Survey, toolbox: &Toolbox, context: &CallContext<'_>) -> Value {
    let default_model = default_of(survey, toolbox, context);
    let view = |(upstream, model)| show(model, upstream, default_model.as_ref(), true);
    let shown: Vec<_> = survey.models().map(|it| json!(view(it))).collect();
    let summary = Summary::of(survey);
    let mut all = object!({
        "models": shown,
        "llmModels": ids(survey, ModelType::Llm),
        "embeddingModels": ids(survey, ModelType::Embedding),
        "defaultModel": default_model.as_ref().map(|it| it.name.as_str()),
        "count": summary.total,
        "summary": object!({
            "totalModels": summary.total,
            "llmCount": summary.llm_count,
            "embeddingCount": summary.embedding_count,
            "loadedCount": summary.loaded_count,
        }),
    });
    if !survey.failures.is_empty() {
        insert(&mut all, "unavailable", Some(survey.unavailable().into()));
    }
    all
}

/// `status` is `online` when an upstream tells its models now; the other keys are the default's.
fn status(toolbox: &Toolbox, context: &CallContext<'_>) -> Value {
    let lists = toolbox.lists(context.cancel);
    let online = lists.iter().any(|listed| listed.models.is_ok());
    let upstreams: Vec<_> = lists.iter().map(as_resource).collect();
    let mut all = object!({
        "status": if online { "online" } else { "offline" },
        "timestamp": OffsetDateTime::now_utc().format(&Rfc3339).ok(),
    });
    let main = upstreams.first();
    for name in ["reachable", "kind", "modelsLoaded", "lastError", "error"] {
        let value = main.and_then(|main| main.get(name)).cloned();
        insert(&mut all, name, value);
    }
    insert(&mut all, "upstreams", Some(upstreams.into()));
    all
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
    object!({
        "server": SERVER_NAME,
        "version": SERVER_VERSION,
        "capabilities": capabilities,
        "tools": toolbox.tools().iter().map(|tool| tool.name).collect::<Vec<_>>(),
        "privacy_levels": LEVELS,
        "supported_domains": Analyses::read().domains(),
        "analysis_types": TYPES,
        "settings": toolbox.facts().config.clone(),
    })
}

/// Made from the tools, so that it says nothing that is not there.
fn capabilities(toolbox: &Toolbox, context: &CallContext<'_>) -> Value {
    let looked = survey(toolbox, context);
    let survey = looked.as_ref().ok();
    let has = |name: &str| toolbox.tools().iter().any(|tool| tool.name == name);
    let writes = ["chat", "local_reasoning"].into_iter().find(|name| has(name));
    let mut how = Map::new();
    let mut steps = vec![format!("Read {STATUS}: is a model server there?")];
    let mut tell = |name: &str, text: String| how.insert(name.to_owned(), text.into());
    tell("readOneModel", format!("Read {}.", address::MODEL));
    if has(LIST) {
        tell("listModels", format!("Call {LIST} to see every model and which are loaded."));
        steps.push(format!("Call {LIST} and choose a model, or leave it to the default."));
    }
    if has(SET) {
        tell("changeDefault", format!("Call {SET} with an id to use it for what follows."));
    }
    if let Some(name) = writes {
        tell("useDefaultModel", format!("Call {name} without model: the default model answers."));
        tell("useSpecificModel", format!("Call {name} with a model's id as model."));
        steps.push(format!("Call {name} with what you want to know."));
    }
    steps.push("When a call fails, do what the suggestion of its error says.".to_owned());
    let numbered = steps.into_iter().enumerate();
    let workflow: Map<_, _> =
        numbered.map(|(at, step)| (format!("step{}", at + 1), step.into())).collect();
    let mut management = object!({
        "availableModels": survey.map(|survey| ids(survey, ModelType::Llm)),
        "defaultModel": survey
            .and_then(|survey| default_of(survey, toolbox, context))
            .map(|it| it.name),
        "howToUse": how,
    });
    if let Err(failure) = &looked {
        insert(&mut management, "error", error_data(failure).get("error").cloned());
    }
    let tools: Map<_, _> = toolbox
        .tools_with_examples()
        .map(|(tool, example)| (tool.name.to_owned(), described(tool, &example)))
        .collect();
    object!({ "modelManagement": management, "tools": tools, "workflow": workflow })
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
    object!({
        "purpose": tool.description,
        "parameters": parameters,
        "example": object!({ "name": tool.name, "arguments": example.clone() }),
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
const LIST: &str = "list_models";
const SET: &str = "set_default_model";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_told_in_one_line() {
        let schema = object!({"type": "string", "enum": ["a", "b"], "description": "Which."});
        assert_eq!(parameter(&schema, true), "string, one of a, b, required: Which.");
        assert_eq!(parameter(&object!({}), false), "any");
    }
}
