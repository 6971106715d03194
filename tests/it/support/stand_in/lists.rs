//! What models there are, in each server's words.

use serde_json::{Value, json};

use super::{Kind, MODEL, Script};

/// The list of a path; `None` when this kind of server has no such path.
pub(super) fn list(script: &Script, loaded: &[String], target: &str) -> Option<String> {
    use Kind::{Generic, LlamaCpp, LlamaRouter, LmStudio, LmStudio03, Ollama, Vllm};
    let list = match (target, script.kind) {
        ("GET /api/v1/models", LmStudio) => native(loaded),
        ("GET /api/v0/models", LmStudio | LmStudio03) => legacy(loaded),
        ("GET /api/tags", Ollama) => json!({"models": [
            {"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 2_019_393_189_u64,
             "details": {"format": "gguf", "family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}},
            {"name": "nomic-embed-text:latest", "size": 274_302_450},
        ]}),
        ("GET /api/ps", Ollama) => {
            let running = loaded.iter().filter(|name| *name != MODEL);
            json!({"models": running.map(|name| json!({"name": name, "context_length": script.window})).collect::<Vec<_>>()})
        }
        ("GET /v1/models" | "GET /models", LlamaCpp) => json!({"object": "list", "data": [
            {"id": "tiny-bridge", "object": "model", "owned_by": "llamacpp",
             "meta": {"n_ctx": script.window, "n_ctx_train": 4096, "n_params": 487_360, "size": 1_949_440, "ftype": "all F32"}}
        ]}),
        ("GET /v1/models" | "GET /models", LlamaRouter) => {
            let entry = |name: &str| {
                let state =
                    if loaded.iter().any(|loaded| loaded == name) { "loaded" } else { "unloaded" };
                json!({"id": name, "object": "model", "owned_by": "llamacpp", "status": {"value": state}})
            };
            json!({"object": "list", "data": [entry("tiny-bridge"), entry("tiny-other")]})
        }
        ("GET /v1/models", Vllm) => json!({"object": "list", "data": [
            {"id": MODEL, "object": "model", "owned_by": "vllm", "max_model_len": script.window}
        ]}),
        ("GET /v1/models", LmStudio | LmStudio03 | Ollama | Generic) => compatible(),
        _ => return None,
    };
    Some(list.to_string())
}

fn native(loaded: &[String]) -> Value {
    let mut list: Value = serde_json::from_str(NATIVE).unwrap_or_default();
    for model in list["models"].as_array_mut().into_iter().flatten() {
        let key = model["key"].as_str().unwrap_or_default().to_owned();
        let is_loaded = loaded.contains(&key);
        let instances = model["loaded_instances"].as_array().cloned().unwrap_or_default();
        model["loaded_instances"] = match (is_loaded, instances.is_empty()) {
            (false, _) => json!([]),
            (true, false) => instances.into(),
            (true, true) => json!([{"id": key, "config": {"context_length": 4096}}]),
        };
    }
    list
}

fn legacy(loaded: &[String]) -> Value {
    let mut list: Value = serde_json::from_str(LEGACY).unwrap_or_default();
    for model in list["data"].as_array_mut().into_iter().flatten() {
        let is_loaded = loaded.iter().any(|loaded| model["id"] == loaded.as_str());
        model["state"] = json!(if is_loaded { "loaded" } else { "not-loaded" });
    }
    list
}

fn compatible() -> Value {
    let entry =
        |name: &str| json!({"id": name, "object": "model", "owned_by": "organization_owner"});
    let names = ["text-embedding-nomic-embed-text-v1.5", MODEL, "google/gemma-4-e4b"];
    json!({"data": names.map(entry), "object": "list"})
}

const NATIVE: &str = r#"{"models":[{"type":"llm","publisher":"openai","key":"openai/gpt-oss-20b","display_name":"GPT-OSS 20B","architecture":"gpt-oss","quantization":{"name":"MXFP4","bits_per_weight":4},"size_bytes":12109566560,"params_string":"20B","loaded_instances":[{"id":"openai/gpt-oss-20b","config":{"context_length":8192,"eval_batch_size":512,"parallel":4,"flash_attention":true}}],"max_context_length":131072,"format":"gguf","capabilities":{"vision":false,"trained_for_tool_use":true,"reasoning":{"allowed_options":["low","medium","high"],"default":"low"}},"description":null},{"type":"llm","publisher":"google","key":"google/gemma-4-e4b","display_name":"Gemma 4 E4B","architecture":"gemma4","quantization":{"name":"Q4_K_M","bits_per_weight":4},"size_bytes":6330000000,"params_string":"7.9B","loaded_instances":[],"max_context_length":131072,"format":"gguf","capabilities":{"vision":true,"trained_for_tool_use":true},"description":null},{"type":"embedding","publisher":"nomic-ai","key":"text-embedding-nomic-embed-text-v1.5","display_name":"Nomic Embed Text v1.5","quantization":{"name":"Q4_K_M","bits_per_weight":4},"size_bytes":84106624,"params_string":null,"loaded_instances":[],"max_context_length":2048,"format":"gguf"}]}"#;

const LEGACY: &str = r#"{"data":[{"id":"google/gemma-4-e4b","object":"model","type":"vlm","publisher":"google","arch":"gemma4","compatibility_type":"gguf","quantization":"Q4_K_M","state":"not-loaded","max_context_length":131072,"capabilities":["tool_use"]},{"id":"openai/gpt-oss-20b","object":"model","type":"llm","publisher":"openai","arch":"gpt-oss","compatibility_type":"gguf","quantization":"MXFP4","state":"loaded","max_context_length":131072,"loaded_context_length":8192,"capabilities":["tool_use"]},{"id":"text-embedding-nomic-embed-text-v1.5","object":"model","type":"embeddings","publisher":"nomic-ai","arch":"nomic-bert","compatibility_type":"gguf","quantization":"Q4_0","state":"not-loaded","max_context_length":2048}],"object":"list"}"#;
