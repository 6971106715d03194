//! The tool `list_models`.

use serde::Serialize;
use serde_json::json;

use crate::mcp::{Annotations, CallContext, CallToolResult, Lane, Tool, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::outcome::{Failure, data};
use crate::tools::pick::default_of;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Kind, Model, ModelState, ModelType};

pub(super) const NAME: &str = "list_models";

/// As `tools/list` shows it.
pub(super) fn describe() -> Tool {
    Tool {
        name: NAME,
        title: "List models",
        description: "Lists the language models on this home network's model server: id, \
                      whether it is loaded, context window, size, quantization.",
        input_schema: json!({
            "type": "object",
            "properties": {
                "type": {
                    "type": "string", "enum": ["all", "llm", "embedding"], "default": "all",
                    "description": "Only models of this type."
                },
                "loaded_only": {
                    "type": "boolean", "default": false,
                    "description": "Only models that are in memory."
                },
                "includeMetadata": {
                    "type": "boolean", "default": true,
                    "description": "With publisher and architecture."
                }
            }
        }),
        output_schema: Some(json!({
            "type": "object",
            "properties": {
                "models": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"id": {"type": "string"}, "state": {"type": "string"}},
                    "required": ["id", "type", "state"]
                }},
                "defaultModel": {"type": ["string", "null"]},
                "summary": {"type": "object"}
            },
            "required": ["models", "defaultModel", "summary"]
        })),
        annotations: Annotations {
            read_only: true,
            destructive: false,
            idempotent: true,
            open_world: false,
        },
        lane: Lane::Quick,
    }
}

/// Asks the upstream and shows what it has.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let only = arguments
        .word(
            "type",
            &[
                ("all", None),
                ("llm", Some(ModelType::Llm)),
                ("embedding", Some(ModelType::Embedding)),
            ],
        )?
        .flatten();
    let loaded_only = arguments.flag("loaded_only")?.unwrap_or(false);
    let with_metadata = arguments.flag("includeMetadata")?.unwrap_or(true);
    let list = toolbox.upstream().list_models(context.cancel)?;
    let default_model = default_of(&list, toolbox);
    let count = |is: &dyn Fn(&Model) -> bool| list.models.iter().filter(|model| is(model)).count();
    let llm_count = count(&|model| model.model_type == ModelType::Llm);
    Ok(data(&Shown {
        models: list
            .models
            .iter()
            .filter(|model| only.is_none_or(|only| model.model_type == only))
            .filter(|model| !loaded_only || model.state == ModelState::Loaded)
            .map(|model| show(model, default_model, with_metadata))
            .collect(),
        default_model,
        summary: Summary {
            total: list.models.len(),
            llm_count,
            embedding_count: list.models.len() - llm_count,
            loaded_count: match list.kind {
                // Its list does not say.
                Kind::OpenAiCompatible => None,
                Kind::LmStudio | Kind::LmStudio03 => {
                    Some(count(&|model| model.state == ModelState::Loaded))
                }
            },
        },
    }))
}

/// The view of a model. Absent knowledge is `null`, never a guess.
fn show<'a>(model: &'a Model, default_model: Option<&str>, with_metadata: bool) -> Shape<'a> {
    let can = |has: Option<bool>, what| has.unwrap_or(false).then_some(what);
    let chats = model.model_type == ModelType::Llm;
    Shape {
        id: &model.id,
        name: model.name.as_deref().unwrap_or(&model.id),
        kind: if chats { "llm" } else { "embedding" },
        state: match model.state {
            ModelState::Loaded => "loaded",
            ModelState::Loading => "loading",
            ModelState::NotLoaded => "not-loaded",
            ModelState::Unknown => "unknown",
        },
        context_window: model.context_length,
        max_context_window: model.max_context_length,
        parameters: model.parameters.as_deref(),
        quantization: model.quantization.as_deref(),
        format: model.format.as_deref(),
        size_bytes: model.size_bytes,
        capabilities: [
            chats.then_some("chat"),
            (!chats).then_some("embedding"),
            can(model.vision, "vision"),
            can(model.tool_use, "tool_use"),
            can(model.reasoning, "reasoning"),
        ]
        .into_iter()
        .flatten()
        .collect(),
        instances: model
            .instances
            .iter()
            .map(|copy| Copy {
                id: &copy.id,
                context_window: copy.context_length,
                parallel: copy.parallel,
            })
            .collect(),
        is_default: default_model
            .is_some_and(|name| name == model.id || name == model.ready_name()),
        status: "ready",
        provider: model.publisher.as_deref(),
        metadata: with_metadata.then_some(Metadata {
            owned_by: model.publisher.as_deref(),
            architecture: model.architecture.as_deref(),
        }),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    models: Vec<Shape<'a>>,
    default_model: Option<&'a str>,
    summary: Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    state: &'static str,
    context_window: Option<u64>,
    max_context_window: Option<u64>,
    parameters: Option<&'a str>,
    quantization: Option<&'a str>,
    format: Option<&'a str>,
    size_bytes: Option<u64>,
    capabilities: Vec<&'static str>,
    instances: Vec<Copy<'a>>,
    is_default: bool,
    /// A constant that programs written for the Node predecessor read.
    status: &'static str,
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Copy<'a> {
    id: &'a str,
    context_window: Option<u64>,
    parallel: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    owned_by: Option<&'a str>,
    architecture: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    total: usize,
    llm_count: usize,
    embedding_count: usize,
    loaded_count: Option<usize>,
}
