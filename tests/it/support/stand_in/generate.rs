//! What generates: `/v1/chat/completions`, `/v1/completions` and LM Studio's `/api/v1/chat`.

use std::io;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::{Value, json};

use super::wire::{Events, Request, pause, reset, send, send_with, stall};
use super::{Delta, Fault, Kind, MODEL, Script, Shared, Stall};

/// How a generation ended.
#[derive(PartialEq)]
enum Ended {
    Finished,
    Failed,
    Aborted,
}

/// Which API is spoken.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    Chat,
    Text,
    Native,
}

/// Answers a request to generate; says whether the connection can be used again.
pub(super) fn generate(
    stream: &TcpStream,
    shared: &Shared,
    script: &Script,
    request: &Request,
    style: Style,
) -> io::Result<bool> {
    {
        let mut state = shared.lock();
        state.counts.chats += 1;
        request.body.clone_into(&mut state.last_chat);
    }
    let body = request.json();
    let model = body["model"].as_str().unwrap_or_default();
    if let Some((status, refusal)) = refusal(shared, script, &body, model, style) {
        return send(stream, status, &refusal);
    }
    match &script.chat_fault {
        Fault::Body(status, body) => return send(stream, *status, body),
        Fault::Redirect(to) => {
            return send_with(stream, 307, &format!("Location: {to}\r\n"), "");
        }
        Fault::ResetBeforeHead => return reset(stream),
        _ => {}
    }
    shared.count(|counts| counts.started += 1);
    let play = Play { events: Events { stream, script }, shared, script, body: &body, model };
    let outcome = match style {
        Style::Native => play.native(),
        Style::Chat | Style::Text => play.compatible(style),
    };
    match &outcome {
        Ok(Ended::Finished) => shared.count(|counts| counts.finished += 1),
        Ok(Ended::Failed) => {}
        Ok(Ended::Aborted) | Err(_) => shared.count(|counts| counts.aborted += 1),
    }
    outcome.map(|ended| ended == Ended::Finished && !script.lingers)
}

/// Why a request is refused before anything is generated.
fn refusal(
    shared: &Shared,
    script: &Script,
    body: &Value,
    model: &str,
    style: Style,
) -> Option<(u16, String)> {
    let error = |message: String, code: &str| {
        json!({"error": {"message": message, "type": "invalid_request_error", "param": "model", "code": code}})
            .to_string()
    };
    if style == Style::Native {
        let known = |key: &String| NATIVE_KEYS.contains(&key.as_str());
        if let Some(key) = body.as_object().and_then(|all| all.keys().find(|key| !known(key))) {
            let message = format!("Unrecognized key(s) in object: '{key}'");
            return Some((400, error(message, "unrecognized_keys")));
        }
        if script.native_is_strict {
            let message = "Invalid discriminator value. Expected 'text' | 'image'".to_owned();
            return Some((400, error(message, "invalid_union")));
        }
    }
    if let Some(key) = script.refuses.iter().find(|key| body.get(**key).is_some()) {
        return Some((400, error(format!("Unknown parameter: {key}"), "invalid_request")));
    }
    if script.loaded_none(shared) && !script.jit {
        return Some((404, NOT_LOADED.to_owned()));
    }
    if !script.any_model && !script.has(model) {
        let message = match script.kind {
            Kind::Ollama => {
                return Some((
                    404,
                    json!({"error": format!("model '{model}' not found")}).to_string(),
                ));
            }
            _ => format!(
                "Invalid model identifier \"{model}\". Please specify a valid downloaded model."
            ),
        };
        return Some((400, error(message, "model_not_found")));
    }
    None
}

struct Play<'a> {
    events: Events<'a>,
    shared: &'a Shared,
    script: &'a Script,
    body: &'a Value,
    model: &'a str,
}

impl Play<'_> {
    fn compatible(&self, style: Style) -> io::Result<Ended> {
        let (script, stream) = (self.script, self.events.stream);
        if script.stalls_head() && !stall(stream, self.shared) {
            return Ok(Ended::Aborted);
        }
        let model = script.answers_as.as_deref().unwrap_or(self.model);
        let deltas = self.deltas(style);
        if self.body["stream"] != true || !script.streams {
            let text: String = deltas.iter().filter_map(content).collect();
            let choice = match style {
                Style::Text => json!({"text": text, "finish_reason": "stop"}),
                _ => {
                    json!({"message": {"role": "assistant", "content": text}, "finish_reason": "stop"})
                }
            };
            let whole = json!({"model": model, "usage": usage(), "choices": [choice]});
            return send(stream, 200, &whole.to_string()).map(|_| Ended::Finished);
        }
        self.events.head()?;
        if script.stall == Stall::BeforeFirst && !stall(stream, self.shared) {
            return Ok(Ended::Aborted);
        }
        if self.body["return_progress"] == true {
            let progress = json!({"total": 40, "cache": 0, "processed": 20, "time_ms": 2});
            let chunk =
                json!({"choices": [{"delta": {"content": null}}], "prompt_progress": progress});
            self.events.event("", &chunk.to_string())?;
        }
        if style == Style::Chat {
            let opening = json!({"model": model, "choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]});
            self.events.event("", &opening.to_string())?;
        }
        let piece = |delta: &Delta| piece(model, delta, style);
        if let Some(ended) =
            self.pieces(&deltas, &mut |delta| self.events.event("", &piece(delta)))?
        {
            return Ok(ended);
        }
        if let Some(finish) = script.finish {
            let last = json!({"choices": [{"delta": {}, "finish_reason": finish}]});
            self.events.event("", &last.to_string())?;
        }
        if script.usage && self.body.get("stream_options").is_some() {
            let last = json!({"choices": [], "usage": usage()});
            self.events.event("", &last.to_string())?;
        }
        if script.done {
            self.events.event("", "[DONE]")?;
        }
        self.close()
    }

    fn native(&self) -> io::Result<Ended> {
        let (script, stream, events) = (self.script, self.events.stream, &self.events);
        if script.stalls_head() && !stall(stream, self.shared) {
            return Ok(Ended::Aborted);
        }
        events.head()?;
        let model = script.answers_as.as_deref().unwrap_or(self.model);
        let named = |kind: &str| json!({"type": kind, "model_instance_id": model});
        events.named(&named("chat.start"))?;
        let loads = !self.shared.lock().loaded.iter().any(|loaded| loaded == self.model);
        if loads {
            events.named(&named("model_load.start"))?;
            for step in [0.25, 0.65] {
                let due = script.load_pace.map(|pace| Instant::now() + pace);
                if !pause(stream, self.shared, due) {
                    return Ok(Ended::Aborted);
                }
                let progress = json!({"type": "model_load.progress", "model_instance_id": model, "progress": step});
                events.named(&progress)?;
            }
            if let Some(said) = &script.load_fault {
                let error = json!({"type": "error", "error": {"type": "unknown", "message": said}});
                events.named(&error)?;
                events.end()?;
                return Ok(Ended::Failed);
            }
            events.named(&json!({"type": "model_load.end", "model_instance_id": model, "load_time_seconds": 1.5}))?;
            self.shared.lock().loaded.push(self.model.to_owned());
        }
        events.named(&json!({"type": "prompt_processing.start"}))?;
        if script.stall == Stall::BeforeFirst && !stall(stream, self.shared) {
            return Ok(Ended::Aborted);
        }
        events.named(&json!({"type": "prompt_processing.progress", "progress": 0.5}))?;
        events.named(&json!({"type": "prompt_processing.end"}))?;
        let deltas = self.deltas(Style::Native);
        let ended = self.pieces(&deltas, &mut |delta| {
            let (kind, text) = match delta {
                Delta::Content(text) => ("message.delta", text),
                Delta::Reasoning(text) | Delta::ReasoningContent(text) => ("reasoning.delta", text),
            };
            events.named(&json!({"type": kind, "content": text}))
        })?;
        if let Some(ended) = ended {
            return Ok(ended);
        }
        let text: String = deltas.iter().filter_map(content).collect();
        let mut stats = json!({
            "input_tokens": 29, "total_output_tokens": 14, "reasoning_output_tokens": 9,
            "tokens_per_second": 43.73, "time_to_first_token_seconds": 0.781,
        });
        if loads {
            stats["model_load_time_seconds"] = json!(1.5);
        }
        let mut result = json!({
            "model_instance_id": model, "output": [{"type": "message", "content": text}], "stats": stats,
        });
        if self.body["store"] != false {
            result["response_id"] = json!("resp_02b2017dbc06");
        }
        events.named(&json!({"type": "chat.end", "result": result}))?;
        self.close()
    }

    /// The pieces of the answer, with what the script has happen between them.
    fn pieces(
        &self,
        deltas: &[Delta],
        write: &mut dyn FnMut(&Delta) -> io::Result<()>,
    ) -> io::Result<Option<Ended>> {
        let stream = self.events.stream;
        // By the clock, so that what a piece costs does not slow the pace.
        let mut due = self.script.pace.map(|_| Instant::now());
        for (n, delta) in deltas.iter().enumerate() {
            if self.script.stall == Stall::After(n) && !stall(stream, self.shared) {
                return Ok(Some(Ended::Aborted));
            }
            if let Some(ended) = self.fail(n)? {
                return Ok(Some(ended));
            }
            due = due.zip(self.script.pace).map(|(due, pace)| due + pace);
            if !pause(stream, self.shared, due) {
                return Ok(Some(Ended::Aborted));
            }
            write(delta)?;
        }
        if let Some(ended) = self.fail(deltas.len())? {
            return Ok(Some(ended));
        }
        let stays = self.script.stall != Stall::After(deltas.len()) || stall(stream, self.shared);
        Ok((!stays).then_some(Ended::Aborted))
    }

    /// Fails as the script says, when it says so for this place.
    fn fail(&self, at: usize) -> io::Result<Option<Ended>> {
        match &self.script.chat_fault {
            Fault::Event { after, named, data } if *after == at => {
                self.events.event(if *named { "error" } else { "" }, data)?;
                self.events.end()?;
                Ok(Some(Ended::Failed))
            }
            Fault::Reset { after } if *after == at => {
                reset(self.events.stream).map(|_| Some(Ended::Failed))
            }
            Fault::Truncate { after } if *after == at => Ok(Some(Ended::Failed)),
            _ => Ok(None),
        }
    }

    fn close(&self) -> io::Result<Ended> {
        if self.script.chat_fault == Fault::ResetAfterDone {
            return reset(self.events.stream).map(|_| Ended::Finished);
        }
        if self.script.lingers {
            // It never ends the stream; only the client's leaving does.
            let _left = stall(self.events.stream, self.shared);
            return Ok(Ended::Finished);
        }
        self.events.end()?;
        Ok(Ended::Finished)
    }

    /// The pieces of the script, or the words of the last question, one a piece.
    fn deltas(&self, style: Style) -> Vec<Delta> {
        if !self.script.deltas.is_empty() || self.script.says_nothing {
            return self.script.deltas.clone();
        }
        let asked = match style {
            Style::Text => &self.body["prompt"],
            Style::Native => &self.body["input"],
            Style::Chat => {
                let last = self.body["messages"].as_array().and_then(|all| all.last());
                last.map_or(&Value::Null, |last| &last["content"])
            }
        };
        let asked = asked.as_str().unwrap_or_default();
        let answer = format!("This is the stand-in, not a model. You said: {asked}");
        answer.split_inclusive(' ').map(|word| Delta::Content(word.to_owned())).collect()
    }
}

fn content(delta: &Delta) -> Option<&str> {
    match delta {
        Delta::Content(text) => Some(text),
        Delta::ReasoningContent(_) | Delta::Reasoning(_) => None,
    }
}

fn piece(model: &str, delta: &Delta, style: Style) -> String {
    let (name, text) = match delta {
        Delta::Content(text) => ("content", text),
        Delta::ReasoningContent(text) => ("reasoning_content", text),
        Delta::Reasoning(text) => ("reasoning", text),
    };
    match style {
        Style::Text => json!({"model": model, "choices": [{"text": text}]}).to_string(),
        Style::Chat | Style::Native => {
            json!({"model": model, "choices": [{"delta": {name: text}}]}).to_string()
        }
    }
}

fn usage() -> Value {
    json!({"prompt_tokens": 29, "completion_tokens": 14, "total_tokens": 43})
}

impl Script {
    fn loaded_none(&self, shared: &Shared) -> bool {
        matches!(self.kind, Kind::LmStudio | Kind::LmStudio03) && shared.lock().loaded.is_empty()
    }

    fn has(&self, model: &str) -> bool {
        match self.kind {
            // One model serves whatever it is called.
            Kind::LlamaCpp => true,
            Kind::Ollama => ["llama3.2:latest", "llama3.2"].contains(&model),
            Kind::LlamaRouter => ["tiny-bridge", "tiny-other"].contains(&model),
            _ => [MODEL, "google/gemma-4-e4b"].contains(&model),
        }
    }
}

/// All that the native API knows; anything else is refused.
const NATIVE_KEYS: [&str; 15] = [
    "model",
    "input",
    "system_prompt",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "max_output_tokens",
    "reasoning",
    "context_length",
    "store",
    "previous_response_id",
    "integrations",
];

const NOT_LOADED: &str = r#"{"error":{"message":"No models loaded. Please load a model in the developer page or use the 'lms load' command.","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#;
