//! The tool `get_model_info`.

use serde_json::{Value, json};

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::model_view::show;
use crate::tools::outcome::{Failure, data, insert};
use crate::tools::pick::{DefaultModel, default_of};
use crate::tools::survey::Survey;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Failed, Model, ModelType, UpstreamError};

/// Shows one model.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let name = arguments.needed("model")?;
    let survey = Survey::take(toolbox, arguments.text("upstream")?, context.cancel)?;
    let found = survey.find(name).ok_or_else(|| survey.unknown(name))?;
    Ok(info(found, default_of(&survey, toolbox, context).as_ref()))
}

/// Shows the model that a call without one is answered by.
pub(super) fn current(
    toolbox: &Toolbox,
    _: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let survey = Survey::take(toolbox, None, context.cancel)?;
    let Some(current) = default_of(&survey, toolbox, context) else {
        return Err(Failed::nowhere(UpstreamError::NoModel { embeds: false }).into());
    };
    let mut lists = survey.lists.iter().filter(|(upstream, _)| *upstream == current.upstream);
    let found = lists.find_map(|(upstream, list)| Some((upstream, list.find(&current.name)?)));
    let (upstream, model) = found.ok_or_else(|| survey.unknown(&current.name))?;
    Ok(info((upstream, model), Some(&current)))
}

fn info((upstream, model): (&str, &Model), default_model: Option<&DefaultModel>) -> CallToolResult {
    let mut shown = json!(show(model, upstream, default_model, true));
    let window = model.context_length.or(model.max_context_length);
    for (key, value) in [
        ("displayName", json!(model.name.as_deref().unwrap_or(&model.id))),
        // What can be asked for: the window also holds the prompt.
        ("maxTokens", json!(window)),
        ("usage", usage(model)),
    ] {
        insert(&mut shown, key, Some(value));
    }
    data(&json!({ "model": shown }))
}

/// What it is good for, as far as its list says.
fn usage(model: &Model) -> Value {
    if model.model_type == ModelType::Embedding {
        return json!({ "purpose": "embeddings", "bestFor": ["semantic search", "clustering"] });
    }
    let can = [
        (model.reasoning, "problems that need several steps"),
        (model.vision, "questions about images"),
        (model.tool_use, "structured output"),
    ];
    let mut best = vec!["chat", "analysis of texts"];
    best.extend(can.into_iter().filter(|(can, _)| *can == Some(true)).map(|(_, what)| what));
    json!({ "purpose": "text generation", "bestFor": best })
}
