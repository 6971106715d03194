//! What models an upstream has, which of them to use, and which are named alike. Pure values.

use std::fmt;

use crate::order;

/// Which API an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// LM Studio 0.4 or newer (`/api/v1`).
    LmStudio,
    /// LM Studio 0.3.6 or newer (`/api/v0`).
    LmStudio03,
    /// Ollama (`/api/tags`).
    Ollama,
    /// llama.cpp's `llama-server` with one model.
    LlamaCpp,
    /// llama.cpp's `llama-server` as a router of several models.
    LlamaRouter,
    /// vLLM.
    Vllm,
    /// Anything else with `/v1/models`.
    OpenAiCompatible,
}

impl Kind {
    /// As it is written in settings: `lmstudio`, `ollama`, `llamacpp`, `vllm` or `generic`.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        Some(match written {
            "lmstudio" => Self::LmStudio,
            "ollama" => Self::Ollama,
            "llamacpp" => Self::LlamaCpp,
            "vllm" => Self::Vllm,
            "generic" => Self::OpenAiCompatible,
            _ => return None,
        })
    }

    /// For programs: as in settings, where the versions of one program are not told apart.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LmStudio | Self::LmStudio03 => "lmstudio",
            Self::Ollama => "ollama",
            Self::LlamaCpp | Self::LlamaRouter => "llamacpp",
            Self::Vllm => "vllm",
            Self::OpenAiCompatible => "generic",
        }
    }

    /// Whether its list tells which models are in memory.
    #[must_use]
    pub fn tells_loaded(self) -> bool {
        self != Self::OpenAiCompatible
    }

    /// Where this kind lists its models.
    pub(super) fn list_path(self) -> &'static str {
        match self {
            Self::LmStudio => "/api/v1/models",
            Self::LmStudio03 => "/api/v0/models",
            Self::Ollama => "/api/tags",
            Self::LlamaRouter => "/models",
            Self::LlamaCpp | Self::Vllm | Self::OpenAiCompatible => "/v1/models",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LmStudio => "LM Studio",
            Self::LmStudio03 => "LM Studio 0.3",
            Self::Ollama => "Ollama",
            Self::LlamaCpp => "llama.cpp",
            Self::LlamaRouter => "llama.cpp router",
            Self::Vllm => "vLLM",
            Self::OpenAiCompatible => "OpenAI-compatible",
        })
    }
}

/// Every model of an upstream, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelList {
    /// The API that gave it.
    pub kind: Kind,
    /// The models.
    pub models: Vec<Model>,
}

impl ModelList {
    /// The model to use when nobody named one: the only loaded language model, else the first
    /// loaded one, else the first; never an embedding model.
    #[must_use]
    pub fn preferred(&self) -> Option<&Model> {
        let chats = || self.models.iter().filter(|model| model.model_type != ModelType::Embedding);
        chats().find(|model| model.state == ModelState::Loaded).or_else(|| chats().next())
    }

    /// The embedding model to use when nobody named one: a loaded one, else the first.
    #[must_use]
    pub fn preferred_embedding(&self) -> Option<&Model> {
        let embeds = || self.models.iter().filter(|model| model.model_type == ModelType::Embedding);
        embeds().find(|model| model.state == ModelState::Loaded).or_else(|| embeds().next())
    }

    /// The model that a caller means by `name`: its id, the name of one of its copies, or, where
    /// only one model fits, its id without the publisher, the case, or Ollama's `:latest`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Model> {
        let exact = self
            .models
            .iter()
            .find(|model| model.id == name || model.instances.iter().any(|copy| copy.id == name));
        if exact.is_some() {
            return exact;
        }
        let asked = name.to_lowercase();
        let mut fitting = self.models.iter().filter(|model| {
            let id = model.id.to_lowercase();
            let id = id.strip_suffix(":latest").unwrap_or(&id);
            id == asked || id.rsplit('/').next() == Some(asked.as_str())
        });
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// Names like `model`, the most alike first, at most three.
    #[must_use]
    pub fn near(&self, model: &str) -> Vec<String> {
        let asked = model.to_lowercase();
        let scored: Vec<_> = self
            .models
            .iter()
            .filter_map(|known| Some((unlikeness(&asked, &known.id.to_lowercase())?, &known.id)))
            .collect();
        order::rising(scored).into_iter().take(NEAR_MAX).map(|(_, id)| id.clone()).collect()
    }
}

/// A model as far as its upstream describes it; what it does not say is `None`, never guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The name to use in requests.
    pub id: String,
    /// The name for people.
    pub name: Option<String>,
    /// What it is for.
    pub model_type: ModelType,
    /// Whether it is in memory.
    pub state: ModelState,
    /// The context window of the loaded instance, in tokens.
    pub context_length: Option<u64>,
    /// The largest context window it can be loaded with, in tokens.
    pub max_context_length: Option<u64>,
    /// Its size in parameters, as `"20B"`.
    pub parameters: Option<String>,
    /// As `"Q4_K_M"`.
    pub quantization: Option<String>,
    /// As `"gguf"`.
    pub format: Option<String>,
    /// As `"llama"`.
    pub architecture: Option<String>,
    /// Who published it.
    pub publisher: Option<String>,
    /// Its size on disk, in bytes.
    pub size_bytes: Option<u64>,
    /// Takes images.
    pub vision: Option<bool>,
    /// Was trained to call tools.
    pub tool_use: Option<bool>,
    /// Can think before it answers.
    pub reasoning: Option<bool>,
    /// How much it can be told to think, where the upstream says: `off`, `low` and so on.
    pub efforts: Vec<String>,
    /// Copies in memory.
    pub instances: Vec<Instance>,
}

impl Model {
    /// The name to send when a caller asked for `name` and means this model: the copy of that
    /// name, else what [`Model::ready_name`] says.
    #[must_use]
    pub fn name_for(&self, name: &str) -> &str {
        let copy = self.instances.iter().find(|copy| copy.id == name);
        copy.map_or_else(|| self.ready_name(), |copy| &copy.id)
    }

    /// The context window in memory of what answers to `name`, in tokens.
    #[must_use]
    pub fn window_of(&self, name: &str) -> Option<u64> {
        let copy = self.instances.iter().find(|copy| copy.id == name);
        copy.and_then(|copy| copy.context_length).or(self.context_length)
    }

    /// The name that reaches a copy in memory where there is one: a copy may be loaded under a
    /// name of its own, and the model's id would then load a second one.
    #[must_use]
    pub fn ready_name(&self) -> &str {
        match self.instances.first() {
            Some(first) if self.instances.iter().all(|copy| copy.id != self.id) => &first.id,
            _ => &self.id,
        }
    }

    /// A model of which nothing else is known.
    #[must_use]
    pub fn named(id: String, model_type: ModelType, state: ModelState) -> Self {
        Self {
            id,
            name: None,
            model_type,
            state,
            context_length: None,
            max_context_length: None,
            parameters: None,
            quantization: None,
            format: None,
            architecture: None,
            publisher: None,
            size_bytes: None,
            vision: None,
            tool_use: None,
            reasoning: None,
            efforts: Vec::new(),
            instances: Vec::new(),
        }
    }
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelType {
    /// Generates text.
    Llm,
    /// Turns text into vectors.
    Embedding,
}

impl ModelType {
    /// By its name, where an upstream says nothing else. A wrong guess costs a clear error.
    pub(super) fn by_name(id: &str) -> Self {
        let id = id.to_lowercase();
        if EMBEDDING_NAMES.iter().any(|part| id.contains(part)) {
            Self::Embedding
        } else {
            Self::Llm
        }
    }
}

/// Whether a model is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// Ready.
    Loaded,
    /// On its way.
    Loading,
    /// Only on disk.
    NotLoaded,
    /// The upstream does not say.
    Unknown,
}

/// A copy of a model in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The name to use for exactly this copy.
    pub id: String,
    /// Its context window, in tokens.
    pub context_length: Option<u64>,
    /// Requests that it serves at once.
    pub parallel: Option<u64>,
}

/// How far `known` is from `asked`: 0 when one holds the other, else the edit distance; `None`
/// when they have too little in common to be a slip.
fn unlikeness(asked: &str, known: &str) -> Option<usize> {
    let tail = known.rsplit('/').next().unwrap_or(known);
    if !asked.is_empty() && (known.contains(asked) || (asked.contains(tail) && !tail.is_empty())) {
        return Some(0);
    }
    let distance = edit_distance(asked, known).min(edit_distance(asked, tail));
    (distance <= asked.chars().count().max(4) / 2).then_some(distance)
}

/// Levenshtein's distance, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(NAME_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(NAME_CHARS_MAX).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (to, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = usize::from(from != *to);
            let best = (diagonal + cost).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Parts of names that embedding and reranking models have.
const EMBEDDING_NAMES: &[&str] = &["embed", "bge-", "gte-", "e5-", "minilm", "rerank"];

/// More suggestions than this are a list.
const NEAR_MAX: usize = 3;

/// Longer names are compared by their beginnings.
const NAME_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[(&str, ModelState)]) -> ModelList {
        let models = names
            .iter()
            .map(|(id, state)| Model::named((*id).to_owned(), ModelType::by_name(id), *state))
            .collect();
        ModelList { kind: Kind::LmStudio, models }
    }

    #[test]
    fn the_preferred_model_is_loaded_and_never_an_embedding_model() {
        use ModelState::{Loaded, NotLoaded};
        let embed = ("text-embedding-nomic", Loaded);
        let of = |names: &[_]| list(names).preferred().map(|model| model.id.clone());
        assert_eq!(of(&[embed, ("a", NotLoaded), ("b", Loaded)]).as_deref(), Some("b"));
        assert_eq!(of(&[embed, ("a", NotLoaded), ("b", NotLoaded)]).as_deref(), Some("a"));
        assert_eq!(of(&[embed]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_copy_under_its_own_name_is_called_by_it() {
        let mut model = Model::named("a".to_owned(), ModelType::Llm, ModelState::Loaded);
        assert_eq!(model.ready_name(), "a");
        let copy = |id: &str| Instance { id: id.to_owned(), context_length: None, parallel: None };
        model.instances = vec![copy("mine")];
        assert_eq!(model.ready_name(), "mine");
        model.instances.push(copy("a"));
        assert_eq!(model.ready_name(), "a");
    }

    #[test]
    fn near_names_are_slips_and_parts_but_not_strangers() {
        use ModelState::Loaded;
        let list = list(&[
            ("openai/gpt-oss-20b", Loaded),
            ("qwen/qwen3-8b", Loaded),
            ("google/gemma-4-e4b", Loaded),
        ]);
        assert_eq!(list.near("gpt-oss"), ["openai/gpt-oss-20b"]);
        assert_eq!(list.near("gpt-os-20b"), ["openai/gpt-oss-20b"]);
        assert_eq!(list.near("Qwen3-8B"), ["qwen/qwen3-8b"]);
        assert_eq!(list.near("other/qwen3-8b"), ["qwen/qwen3-8b"]);
        assert!(list.near("claude-opus").is_empty());
    }

    #[test]
    fn the_edit_distance_counts_single_changes() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("ä", "a", 1)]
        {
            assert_eq!(edit_distance(a, b), expected, "{a} {b}");
            assert_eq!(edit_distance(b, a), expected, "{b} {a}");
        }
    }
}
