//! The tool `list_models`.

use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::model_view::{Shape, Summary, show};
use crate::tools::outcome::{Failure, data};
use crate::tools::pick::{DefaultModel, default_of};
use crate::tools::survey::Survey;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{Model, ModelList, ModelState, ModelType};
use crate::worker::lock;

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
    let asked = Asked { only, loaded_only, with_metadata, default_model };
    if let Some(result) = toolbox.shown().again(&survey, &asked) {
        return Ok(result);
    }
    let default_model = asked.default_model.as_ref();
    let shown = |(_, model): &(&str, &Model)| {
        only.is_none_or(|only| model.model_type == only)
            && (!loaded_only || model.state == ModelState::Loaded)
    };
    let view = |(upstream, model)| show(model, upstream, default_model, with_metadata);
    let result = data(&Shown {
        models: survey.models().filter(shown).map(view).collect(),
        default_model: default_model.map(|it| it.name.as_str()),
        summary: Summary::of(&survey),
        unavailable: survey.unavailable(),
    });
    if survey.failures.is_empty() {
        toolbox.shown().keep(survey.lists, asked, &result);
    }
    Ok(result)
}

/// What a call wants to see, and what it would be answered by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    only: Option<ModelType>,
    loaded_only: bool,
    with_metadata: bool,
    default_model: Option<DefaultModel>,
}

type Lists = Vec<(String, Arc<ModelList>)>;

/// What was shown last: lists seldom change, and clients ask for them again and again.
#[derive(Debug, Default)]
pub(super) struct LastShown(Mutex<Option<(Lists, Asked, CallToolResult)>>);

impl LastShown {
    /// The same result for the same lists.
    fn again(&self, survey: &Survey, asked: &Asked) -> Option<CallToolResult> {
        let last = lock(&self.0);
        let (shown, before, result) = last.as_ref()?;
        let same = shown
            .iter()
            .zip(&survey.lists)
            .all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(&one.1, &other.1));
        let all_same = same && survey.failures.is_empty() && shown.len() == survey.lists.len();
        (all_same && before == asked).then(|| result.clone())
    }

    fn keep(&self, lists: Lists, asked: Asked, result: &CallToolResult) {
        *lock(&self.0) = Some((lists, asked, result.clone()));
    }
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
