//! Loading, unloading, downloading, embedding and counting tokens.

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use super::wire::{Events, Request, pause, send, stall};
use super::{Kind, Script, Shared, Stall};

/// Answers what is neither a list nor a generation; `None` when it is none of this kind's paths.
pub(super) fn manage(
    stream: &TcpStream,
    shared: &Shared,
    script: &Script,
    request: &Request,
) -> Option<io::Result<bool>> {
    use Kind::{LlamaCpp, LlamaRouter, LmStudio, Ollama};
    let body = request.json();
    if request.target.starts_with("POST ") && !waits(stream, shared, script) {
        return Some(Ok(false));
    }
    let answer = match (request.target.as_str(), script.kind) {
        ("GET /api/version", Ollama) => json!({"version": "0.35.1"}),
        ("GET /version", Kind::Vllm) => json!({"version": "0.11.0"}),
        ("GET /props", LlamaCpp) => {
            json!({"default_generation_settings": {"n_ctx": script.window}, "build_info": "b9999"})
        }
        ("GET /props", LlamaRouter) => json!({
            "role": "router", "default_generation_settings": {"n_ctx": 0}, "build_info": "b9999",
        }),
        ("POST /tokenize", LlamaCpp) => {
            let text = body["content"].as_str().unwrap_or_default();
            json!({"tokens": text.split_whitespace().map(str::len).collect::<Vec<_>>()})
        }
        ("POST /v1/embeddings", LlamaCpp) => {
            let error = json!({"code": 501, "message": "This server does not support embeddings. Start it with `--embeddings`", "type": "not_supported_error"});
            return Some(send(stream, 501, &json!({"error": error}).to_string()));
        }
        ("POST /api/embed", Ollama) => json!({
            "model": body["model"], "embeddings": vectors(&body), "prompt_eval_count": 7,
        }),
        ("POST /v1/embeddings", _) => {
            let data = vectors(&body).into_iter().enumerate();
            let data = data
                .rev()
                .map(|(n, vector)| json!({"object": "embedding", "embedding": vector, "index": n}));
            json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": body["model"], "usage": {"prompt_tokens": 0, "total_tokens": 0}})
        }
        ("POST /api/v1/models/load", LmStudio) => {
            return Some(load(stream, shared, script, &body));
        }
        ("POST /models/load", LlamaRouter) => {
            change(shared, &body["model"], true);
            json!({"success": true})
        }
        ("POST /api/v1/models/unload", LmStudio) => {
            change(shared, &body["instance_id"], false);
            json!({"instance_id": body["instance_id"]})
        }
        ("POST /models/unload", LlamaRouter) => {
            change(shared, &body["model"], false);
            json!({"success": true})
        }
        ("POST /api/chat", Ollama) => {
            let unloads = body["keep_alive"] == 0;
            change(shared, &body["model"], !unloads);
            let reason = if unloads { "unload" } else { "load" };
            json!({"model": body["model"], "done": true, "done_reason": reason})
        }
        ("POST /api/v1/models/download", LmStudio) => json!({
            "job_id": "job_493c7c9ded", "status": "downloading", "total_size_bytes": 2_279_145_003_u64,
            "started_at": "2025-10-03T15:33:23.496Z",
        }),
        ("GET /api/v1/models/download/status/job_493c7c9ded", LmStudio) => json!({
            "job_id": "job_493c7c9ded", "status": "completed", "bytes_per_second": 18_400_000,
            "total_size_bytes": 2_279_145_003_u64, "downloaded_bytes": 2_279_145_003_u64,
        }),
        ("POST /api/pull", Ollama) => return Some(pull(stream, shared, script)),
        _ => return None,
    };
    Some(send(stream, 200, &answer.to_string()))
}

/// Waits as the script says before the answer; says whether the client is still there.
fn waits(stream: &TcpStream, shared: &Shared, script: &Script) -> bool {
    let due = script.pace.map(|pace| Instant::now() + pace);
    (!script.stalls_head() || stall(stream, shared)) && pause(stream, shared, due)
}

fn load(stream: &TcpStream, shared: &Shared, script: &Script, body: &Value) -> io::Result<bool> {
    if let Some(said) = &script.load_fault {
        let error = json!({"error": {"message": said, "type": "invalid_request_error"}});
        return send(stream, 404, &error.to_string());
    }
    change(shared, &body["model"], true);
    let loaded = json!({
        "type": "llm", "instance_id": body["model"], "load_time_seconds": 9.099, "status": "loaded",
    });
    send(stream, 200, &loaded.to_string())
}

fn change(shared: &Shared, model: &Value, loads: bool) {
    let model = model.as_str().unwrap_or_default();
    {
        let mut state = shared.lock();
        state.loaded.retain(|name| name != model);
        if loads {
            state.loaded.push(model.to_owned());
        }
    }
    shared.count(|counts| if loads { counts.loads += 1 } else { counts.unloads += 1 });
}

fn vectors(body: &Value) -> Vec<Value> {
    let input = body["input"].as_array().cloned().unwrap_or_default();
    input.iter().map(|text| json!([text.as_str().unwrap_or_default().len(), 0.5])).collect()
}

/// A line of JSON for each step, as long as somebody listens.
fn pull(stream: &TcpStream, shared: &Shared, script: &Script) -> io::Result<bool> {
    let events = Events { stream, script };
    events.head()?;
    for line in [
        json!({"status": "pulling manifest"}),
        json!({"status": "pulling a", "digest": "a", "total": 1000, "completed": 400}),
    ] {
        events.raw(&format!("{line}\n"))?;
    }
    if script.stall == Stall::After(1) && !stall(stream, shared) {
        return Ok(false);
    }
    if !pause(stream, shared, script.pace.map(|pace| Instant::now() + pace)) {
        return Ok(false);
    }
    if let Some(said) = &script.load_fault {
        events.raw(&format!("{}\n", json!({"error": said})))?;
    } else {
        events.raw(&format!(
            "{}\n",
            json!({"status": "pulling a", "digest": "a", "total": 1000, "completed": 1000})
        ))?;
        events.raw(&format!("{}\n", json!({"status": "success"})))?;
    }
    events.end()?;
    Ok(true)
}
