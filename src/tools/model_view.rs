//! How models are shown, by the tool and by the resources alike.

use serde::Serialize;

use crate::tools::pick::DefaultModel;
use crate::tools::survey::Survey;
use crate::upstream::{Model, ModelList, ModelState, ModelType};

/// The view of a model. Absent knowledge is `null`, never a guess.
pub(super) fn show<'a>(
    model: &'a Model,
    upstream: &'a str,
    default_model: Option<&DefaultModel>,
    with_metadata: bool,
) -> Shape<'a> {
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
        is_default: default_model.is_some_and(|it| {
            it.upstream == upstream
                && (it.name == model.id || model.instances.iter().any(|copy| copy.id == it.name))
        }),
        status: "ready",
        upstream,
        provider: model.publisher.as_deref(),
        metadata: with_metadata.then_some(Metadata {
            owned_by: model.publisher.as_deref(),
            architecture: model.architecture.as_deref(),
        }),
    }
}

/// A model as programs see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shape<'a> {
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
    upstream: &'a str,
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

/// How many models there are.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) total: usize,
    pub(super) llm_count: usize,
    pub(super) embedding_count: usize,
    /// `None` where the upstream's list does not say.
    pub(super) loaded_count: Option<usize>,
}

impl Summary {
    /// Counts what all upstreams have.
    pub(super) fn of(survey: &Survey) -> Self {
        let llms = survey.models().filter(|(_, model)| model.model_type == ModelType::Llm).count();
        let total = survey.models().count();
        Self {
            total,
            llm_count: llms,
            embedding_count: total - llms,
            loaded_count: survey.lists.iter().map(|(_, list)| Some(loaded(list)?.len())).sum(),
        }
    }
}

/// The ids of the models in memory; `None` where the upstream's list does not say.
pub(super) fn loaded(list: &ModelList) -> Option<Vec<&str>> {
    let in_memory = list.models.iter().filter(|model| model.state == ModelState::Loaded);
    list.kind.tells_loaded().then(|| in_memory.map(|model| model.id.as_str()).collect())
}
