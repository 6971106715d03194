//! The tool `list_models`.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::{Value, json};

use crate::mcp::{Annotations, CallContext, CallToolResult, Lane, Tool, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::model_view::{Shape, Summary, show};
use crate::tools::outcome::{Failure, data};
use crate::tools::pick::default_of;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Model, ModelList, ModelState, ModelType};
use crate::worker::lock;

pub(super) const NAME: &str = "list_models";

/// Arguments that show what it is for.
pub(super) fn example() -> Value {
    json!({ "loaded_only": true })
}

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
    let asked = Asked { only, loaded_only, with_metadata };
    if let Some(result) = toolbox.shown().again(&list, asked) {
        return Ok(result);
    }
    let default_model = default_of(&list, toolbox);
    let shown = |model: &&Model| {
        only.is_none_or(|only| model.model_type == only)
            && (!loaded_only || model.state == ModelState::Loaded)
    };
    let models = list.models.iter().filter(shown);
    let result = data(&Shown {
        models: models.map(|model| show(model, default_model, with_metadata)).collect(),
        default_model,
        summary: Summary::of(&list),
    });
    toolbox.shown().keep(&list, asked, &result);
    Ok(result)
}

/// What a call wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    only: Option<ModelType>,
    loaded_only: bool,
    with_metadata: bool,
}

/// What was shown last: lists seldom change, and clients ask for them again and again.
#[derive(Debug, Default)]
pub(super) struct LastShown(Mutex<Option<(Arc<ModelList>, Asked, CallToolResult)>>);

impl LastShown {
    /// The same result for the same list.
    fn again(&self, list: &Arc<ModelList>, asked: Asked) -> Option<CallToolResult> {
        let last = lock(&self.0);
        let (shown, before, result) = last.as_ref()?;
        (Arc::ptr_eq(shown, list) && *before == asked).then(|| result.clone())
    }

    fn keep(&self, list: &Arc<ModelList>, asked: Asked, result: &CallToolResult) {
        *lock(&self.0) = Some((Arc::clone(list), asked, result.clone()));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    models: Vec<Shape<'a>>,
    default_model: Option<&'a str>,
    summary: Summary,
}
