//! The shapes in which upstreams list their models; Ollama's is in [`ollama`](super::ollama).
//!
//! Pure: bytes in, a list out. A shape is known by the one field that only it has, never by the
//! HTTP status: LM Studio answers 200 to paths that it does not know.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::upstream::models::{Instance, Kind, Model, ModelList, ModelState, ModelType};
use crate::upstream::ollama;

/// Reads a list in the shape of `kind`; `None` when the body has another.
pub(super) fn read_list(kind: Kind, body: &[u8]) -> Option<ModelList> {
    let models = match kind {
        Kind::LmStudio => {
            let list: NativeList = serde_json::from_slice(body).ok()?;
            list.models.into_iter().map(Model::from).collect()
        }
        Kind::LmStudio03 => {
            let list: LegacyList = serde_json::from_slice(body).ok()?;
            list.data.into_iter().map(Model::from).collect()
        }
        Kind::Ollama => return ollama::read_tags(body),
        Kind::LlamaCpp | Kind::LlamaRouter | Kind::Vllm | Kind::OpenAiCompatible => {
            let list: CompatibleList = serde_json::from_slice(body).ok()?;
            list.data.into_iter().map(|model| model.read(kind)).collect()
        }
    };
    Some(ModelList { kind, models })
}

/// `GET /api/v1/models`, LM Studio 0.4 and newer.
#[derive(Deserialize)]
struct NativeList {
    models: Vec<NativeModel>,
}

#[derive(Deserialize)]
struct NativeModel {
    /// Only this shape has it.
    key: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    publisher: Option<String>,
    display_name: Option<String>,
    architecture: Option<String>,
    quantization: Option<NativeQuantization>,
    size_bytes: Option<Whole>,
    params_string: Option<String>,
    loaded_instances: Option<Vec<NativeInstance>>,
    max_context_length: Option<Whole>,
    format: Option<String>,
    capabilities: Option<NativeCapabilities>,
}

#[derive(Deserialize)]
struct NativeQuantization {
    name: Option<String>,
}

#[derive(Deserialize)]
struct NativeInstance {
    id: String,
    config: Option<NativeConfig>,
}

#[derive(Deserialize)]
struct NativeConfig {
    context_length: Option<Whole>,
    parallel: Option<Whole>,
}

#[derive(Deserialize)]
struct NativeCapabilities {
    vision: Option<bool>,
    trained_for_tool_use: Option<bool>,
    reasoning: Option<NativeReasoning>,
}

#[derive(Deserialize)]
struct NativeReasoning {
    allowed_options: Option<Vec<String>>,
}

impl From<NativeInstance> for Instance {
    fn from(instance: NativeInstance) -> Self {
        let config = instance.config;
        Self {
            id: instance.id,
            context_length: whole(config.as_ref().and_then(|config| config.context_length)),
            parallel: whole(config.as_ref().and_then(|config| config.parallel)),
        }
    }
}

impl From<NativeModel> for Model {
    fn from(model: NativeModel) -> Self {
        let instances: Vec<Instance> =
            model.loaded_instances.unwrap_or_default().into_iter().map(Instance::from).collect();
        let state = if instances.is_empty() { ModelState::NotLoaded } else { ModelState::Loaded };
        let model_type = model_type(model.kind.as_deref(), &model.key);
        let capabilities = model.capabilities;
        Self {
            name: model.display_name,
            context_length: instances.first().and_then(|first| first.context_length),
            max_context_length: whole(model.max_context_length),
            parameters: model.params_string,
            quantization: model.quantization.and_then(|quantization| quantization.name),
            format: model.format,
            architecture: model.architecture,
            publisher: model.publisher,
            size_bytes: whole(model.size_bytes),
            vision: capabilities.as_ref().and_then(|can| can.vision),
            tool_use: capabilities.as_ref().and_then(|can| can.trained_for_tool_use),
            reasoning: capabilities.as_ref().map(|can| can.reasoning.is_some()),
            efforts: capabilities
                .and_then(|can| can.reasoning)
                .and_then(|reasoning| reasoning.allowed_options)
                .unwrap_or_default(),
            instances,
            ..Self::named(model.key, model_type, state)
        }
    }
}

/// `GET /api/v0/models`, LM Studio 0.3.6 and newer.
#[derive(Deserialize)]
struct LegacyList {
    data: Vec<LegacyModel>,
}

#[derive(Deserialize)]
struct LegacyModel {
    id: String,
    /// Only this shape has it.
    state: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    publisher: Option<String>,
    arch: Option<String>,
    compatibility_type: Option<String>,
    quantization: Option<String>,
    max_context_length: Option<Whole>,
    loaded_context_length: Option<Whole>,
    capabilities: Option<Vec<String>>,
}

impl From<LegacyModel> for Model {
    fn from(model: LegacyModel) -> Self {
        let state = match model.state.as_str() {
            "loaded" => ModelState::Loaded,
            "not-loaded" => ModelState::NotLoaded,
            "loading" => ModelState::Loading,
            _ => ModelState::Unknown,
        };
        let model_type = model_type(model.kind.as_deref(), &model.id);
        Self {
            context_length: whole(model.loaded_context_length),
            max_context_length: whole(model.max_context_length),
            quantization: model.quantization,
            format: model.compatibility_type,
            architecture: model.arch,
            publisher: model.publisher,
            vision: model.kind.map(|kind| kind == "vlm"),
            tool_use: model.capabilities.map(|can| can.iter().any(|name| name == "tool_use")),
            ..Self::named(model.id, model_type, state)
        }
    }
}

/// `GET /v1/models`, with what llama.cpp (`meta`, `status`) and vLLM (`max_model_len`) add.
#[derive(Deserialize)]
struct CompatibleList {
    data: Vec<CompatibleModel>,
}

#[derive(Deserialize)]
struct CompatibleModel {
    id: String,
    owned_by: Option<String>,
    max_model_len: Option<Whole>,
    meta: Option<CompatibleMeta>,
    status: Option<CompatibleStatus>,
}

#[derive(Deserialize)]
struct CompatibleMeta {
    n_ctx: Option<Whole>,
    n_ctx_train: Option<Whole>,
    size: Option<Whole>,
    ftype: Option<String>,
}

/// Of llama.cpp as a router.
#[derive(Deserialize)]
struct CompatibleStatus {
    value: String,
}

impl CompatibleModel {
    fn read(self, kind: Kind) -> Model {
        let model_type = ModelType::by_name(&self.id);
        let meta = self.meta;
        let state = match (kind, self.status.as_ref().map(|status| status.value.as_str())) {
            (_, Some("loaded" | "sleeping")) => ModelState::Loaded,
            (_, Some("loading" | "downloading")) => ModelState::Loading,
            (_, Some("unloaded")) => ModelState::NotLoaded,
            // They serve what they were started with.
            (Kind::LlamaCpp | Kind::Vllm, _) => ModelState::Loaded,
            _ => ModelState::Unknown,
        };
        let served = self.max_model_len.filter(|_| kind == Kind::Vllm);
        Model {
            context_length: whole(meta.as_ref().and_then(|meta| meta.n_ctx).or(served)),
            max_context_length: whole(
                meta.as_ref().and_then(|meta| meta.n_ctx_train).or(self.max_model_len),
            ),
            size_bytes: whole(meta.as_ref().and_then(|meta| meta.size)),
            quantization: meta.and_then(|meta| meta.ftype),
            publisher: self.owned_by,
            ..Model::named(self.id, model_type, state)
        }
    }
}

fn model_type(said: Option<&str>, id: &str) -> ModelType {
    match said {
        Some("embedding" | "embeddings") => ModelType::Embedding,
        Some(_) => ModelType::Llm,
        None => ModelType::by_name(id),
    }
}

/// A count that an upstream may also write as a float; anything that is not a count is 0.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) u64);

pub(super) fn whole(count: Option<Whole>) -> Option<u64> {
    count.map(|count| count.0)
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E>(self, count: u64) -> Result<Whole, E> {
                Ok(Whole(count))
            }

            fn visit_i64<E>(self, count: i64) -> Result<Whole, E> {
                Ok(Whole(u64::try_from(count).unwrap_or_default()))
            }

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float saturates, and no count here needs its fraction"
            )]
            fn visit_f64<E>(self, count: f64) -> Result<Whole, E> {
                Ok(Whole(count as u64))
            }
        }
        deserializer.deserialize_any(Count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: &str = r#"{"models":[
        {"type":"llm","publisher":"openai","key":"openai/gpt-oss-20b","display_name":"GPT-OSS 20B",
         "architecture":"gpt-oss","quantization":{"name":"MXFP4","bits_per_weight":4},
         "size_bytes":1.2109566560e10,"params_string":"20B",
         "loaded_instances":[{"id":"openai/gpt-oss-20b:2","config":{"context_length":8192,
            "parallel":4,"reasoning_budget_message":null}}],
         "max_context_length":131072,"format":"gguf",
         "capabilities":{"vision":false,"trained_for_tool_use":true,"reasoning":{"default":"low",
            "allowed_options":["low","high"]}}},
        {"type":"embedding","key":"nomic","quantization":null,"params_string":null,
         "loaded_instances":[],"max_context_length":2048}]}"#;

    const LEGACY: &str = r#"{"data":[
        {"id":"qwen2-vl","object":"model","type":"vlm","arch":"qwen2_vl","quantization":"4bit",
         "compatibility_type":"mlx","state":"not-loaded","max_context_length":32768,
         "capabilities":["tool_use"]},
        {"id":"granite","type":"llm","state":"loaded","max_context_length":131072,
         "loaded_context_length":4096,"capabilities":[]},
        {"id":"nomic","type":"embeddings","state":"waking"}],"object":"list"}"#;

    const COMPATIBLE: &str = r#"{"object":"list","data":[
        {"id":"tiny","object":"model","owned_by":"llamacpp",
         "meta":{"n_ctx":512,"n_ctx_train":4096,"size":1949440,"ftype":"all F32"}},
        {"id":"text-embedding-nomic"}],"models":[{"name":"tiny"}]}"#;

    #[test]
    fn the_native_shape_is_read_whole() {
        let list = read_list(Kind::LmStudio, NATIVE.as_bytes()).unwrap();
        let model = &list.models[0];
        assert_eq!(model.id, "openai/gpt-oss-20b");
        assert_eq!((model.state, model.model_type), (ModelState::Loaded, ModelType::Llm));
        assert_eq!(model.size_bytes, Some(12_109_566_560));
        assert_eq!((model.context_length, model.max_context_length), (Some(8192), Some(131_072)));
        assert_eq!(model.quantization.as_deref(), Some("MXFP4"));
        let can = (model.vision, model.tool_use, model.reasoning);
        assert_eq!(can, (Some(false), Some(true), Some(true)));
        assert_eq!(model.efforts, ["low", "high"]);
        let instance = &model.instances[0];
        assert_eq!((instance.id.as_str(), instance.parallel), ("openai/gpt-oss-20b:2", Some(4)));
        let second = &list.models[1];
        assert_eq!(
            (second.model_type, second.state),
            (ModelType::Embedding, ModelState::NotLoaded)
        );
        assert_eq!(second.context_length, None);
    }

    #[test]
    fn the_legacy_shape_is_read_whole() {
        let list = read_list(Kind::LmStudio03, LEGACY.as_bytes()).unwrap();
        let [first, second, third] = list.models.as_slice() else { panic!("three models") };
        assert_eq!((first.vision, first.tool_use), (Some(true), Some(true)));
        assert_eq!(first.state, ModelState::NotLoaded);
        assert_eq!((second.state, second.context_length), (ModelState::Loaded, Some(4096)));
        assert_eq!((third.state, third.model_type), (ModelState::Unknown, ModelType::Embedding));
    }

    #[test]
    fn the_compatible_shape_is_read_whole() {
        let list = read_list(Kind::OpenAiCompatible, COMPATIBLE.as_bytes()).unwrap();
        let [first, second] = list.models.as_slice() else { panic!("two models") };
        assert_eq!((first.context_length, first.max_context_length), (Some(512), Some(4096)));
        assert_eq!(first.state, ModelState::Unknown);
        assert_eq!(second.model_type, ModelType::Embedding);
    }

    #[test]
    fn what_llama_and_vllm_add_is_read() {
        use ModelState::{Loaded, Loading, NotLoaded};
        let list = read_list(Kind::LlamaCpp, COMPATIBLE.as_bytes()).unwrap();
        assert_eq!(list.models[0].state, Loaded);
        let router = r#"{"data":[{"id":"a","status":{"value":"loaded"}},
            {"id":"b","status":{"value":"unloaded"}},{"id":"c","status":{"value":"loading"}}]}"#;
        let list = read_list(Kind::LlamaRouter, router.as_bytes()).unwrap();
        let states: Vec<_> = list.models.iter().map(|model| model.state).collect();
        assert_eq!(states, [Loaded, NotLoaded, Loading]);
        let vllm = r#"{"data":[{"id":"a","owned_by":"vllm","max_model_len":4096}]}"#;
        let list = read_list(Kind::Vllm, vllm.as_bytes()).unwrap();
        assert_eq!((list.models[0].state, list.models[0].context_length), (Loaded, Some(4096)));
    }

    #[test]
    fn a_shape_is_not_taken_for_another() {
        for (kind, body) in [
            (Kind::LmStudio, LEGACY),
            (Kind::LmStudio, COMPATIBLE),
            (Kind::LmStudio03, NATIVE),
            (Kind::LmStudio03, COMPATIBLE),
            (Kind::OpenAiCompatible, NATIVE),
            (Kind::LmStudio, r#"{"error":"Unexpected endpoint or method. (GET /api/v1/models)"}"#),
            (Kind::OpenAiCompatible, "<html>"),
            (Kind::Ollama, NATIVE),
            (Kind::Ollama, LEGACY),
        ] {
            assert!(read_list(kind, body.as_bytes()).is_none(), "{kind} {body}");
        }
    }
}
