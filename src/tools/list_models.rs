//! The tool `list_models`.

use serde::Serialize;
use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::model_view::{Shape, Summary, show};
use crate::tools::outcome::{Failure, data};
use crate::tools::pick::default_of;
use crate::tools::survey::Survey;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Model, ModelState, ModelType};

/// Asks the upstreams and shows what they have.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let types =
        [("all", None), ("llm", Some(ModelType::Llm)), ("embedding", Some(ModelType::Embedding))];
    let only = arguments.word("type", &types)?.flatten();
    let loaded_only = arguments.flag("loaded_only")?.unwrap_or(false);
    let with_metadata = arguments.flag("includeMetadata")?.unwrap_or(true);
    let survey = Survey::take(toolbox, arguments.text("upstream")?, context.cancel)?;
    let default_model = default_of(&survey, toolbox, context);
    let shown = |(_, model): &(&str, &Model)| {
        only.is_none_or(|only| model.model_type == only)
            && (!loaded_only || model.state == ModelState::Loaded)
    };
    let view = |(upstream, model)| show(model, upstream, default_model.as_deref(), with_metadata);
    Ok(data(&Shown {
        models: survey.models().filter(shown).map(view).collect(),
        default_model: default_model.as_deref(),
        summary: Summary::of(&survey),
        unavailable: survey.unavailable(),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    models: Vec<Shape<'a>>,
    default_model: Option<&'a str>,
    summary: Summary,
    /// The upstreams that gave no list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable: Vec<Value>,
}
