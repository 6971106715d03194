//! Which endpoint a generation goes to, and what is sent there.
//!
//! LM Studio's own `/api/v1/chat` tells how far the loading of a model and the reading of a
//! prompt are, keeps conversations, and takes no other key than its own.
//! `/v1/chat/completions` takes everything else, at every upstream.

use crate::upstream::chat::{ChatRequest, Effort, Role};
use crate::upstream::json::{List, Object, quote};
use crate::upstream::models::{Kind, Model, ModelState};

/// An endpoint that generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/api/v1/chat`.
    Native,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

impl Route {
    /// The best one for a request to `model` at an upstream of this kind.
    pub(super) fn choose(kind: Option<Kind>, model: Option<&Model>, request: &ChatRequest) -> Self {
        if request.complete.is_some() {
            return Self::Text;
        }
        if kind != Some(Kind::LmStudio) || !request.is_native() {
            return Self::Chat;
        }
        let wants_conversation = request.store || request.conversation.is_some();
        let cold = model.is_some_and(|model| model.state != ModelState::Loaded);
        // Where the model is in memory both are alike, and the other one is older and better known.
        if wants_conversation || cold || !request.images.is_empty() {
            Self::Native
        } else {
            Self::Chat
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Native => "/api/v1/chat",
            Self::Chat => "/v1/chat/completions",
            Self::Text => "/v1/completions",
        }
    }
}

/// What an upstream was found to refuse, so that it is not sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Without {
    pub(super) stream_options: bool,
    pub(super) response_format: bool,
}

/// The body of a request to `/v1/chat/completions` or `/v1/completions`. Always streamed: only a
/// stream can be cut at a deadline with something in hand, and shows that a model still works.
pub(super) fn compatible(
    request: &ChatRequest,
    model: &str,
    kind: Option<Kind>,
    without: Without,
) -> Vec<u8> {
    let mut body = Object::with("model", model);
    match &request.complete {
        Some(text) => body.text("prompt", text),
        None => body.raw("messages", &messages(request)),
    }
    body.flag("stream", true);
    if !without.stream_options {
        body.raw("stream_options", br#"{"include_usage":true}"#);
    }
    if matches!(kind, Some(Kind::LlamaCpp | Kind::LlamaRouter)) {
        body.flag("return_progress", true);
    }
    body.integer("max_tokens", request.max_tokens.map(i64::from));
    body.number("temperature", request.temperature);
    body.number("top_p", request.top_p);
    if !request.stop.is_empty() {
        body.texts("stop", &request.stop);
    }
    body.integer("seed", request.seed);
    body.number("frequency_penalty", request.frequency_penalty);
    body.number("presence_penalty", request.presence_penalty);
    if let Some(effort) = request.effort {
        think(&mut body, effort, kind);
    }
    if let Some(schema) = &request.json_schema
        && !without.response_format
    {
        let mut named = Object::with("name", "answer");
        named.flag("strict", true);
        named.raw("schema", schema.as_bytes());
        let mut format = Object::with("type", "json_schema");
        format.raw("json_schema", &named.end());
        body.raw("response_format", &format.end());
    }
    body.end()
}

/// Not thinking at all is said in another way by each kind, and a way that a kind does not know
/// may be refused.
fn think(body: &mut Object, effort: Effort, kind: Option<Kind>) {
    match (effort, kind) {
        (Effort::Off, Some(Kind::LlamaCpp | Kind::LlamaRouter | Kind::Vllm)) => {
            body.raw("chat_template_kwargs", br#"{"enable_thinking":false}"#);
        }
        (Effort::Off, Some(Kind::LmStudio | Kind::LmStudio03 | Kind::Ollama)) => {
            body.text("reasoning_effort", "none");
        }
        (Effort::Off, _) => {}
        (effort, _) => body.text("reasoning_effort", effort.as_str()),
    }
}

fn messages(request: &ChatRequest) -> Vec<u8> {
    let mut list = List::new();
    let last = request.messages.len().saturating_sub(1);
    for (n, message) in request.messages.iter().enumerate() {
        let mut entry = Object::with("role", message.role.as_str());
        if n == last && !request.images.is_empty() {
            entry.raw("content", &parts(&message.content, &request.images));
        } else {
            entry.text("content", &message.content);
        }
        list.next().extend_from_slice(&entry.end());
    }
    list.end()
}

fn parts(text: &str, images: &[String]) -> Vec<u8> {
    let mut list = List::new();
    let mut part = Object::with("type", "text");
    part.text("text", text);
    list.next().extend_from_slice(&part.end());
    for image in images {
        let place = list.next();
        place.extend_from_slice(br#"{"type":"image_url","image_url":{"url":"#);
        quote(place, image);
        place.extend_from_slice(b"}}");
    }
    list.end()
}

/// The body of a request to `/api/v1/chat`, which refuses every key that it does not know.
pub(super) fn native(request: &ChatRequest, name: &str, model: Option<&Model>) -> Vec<u8> {
    let mut body = Object::with("model", name);
    let system = request.messages.iter().find(|message| message.role == Role::System);
    let question = request.messages.iter().find(|message| message.role == Role::User);
    let question = question.map(|message| message.content.as_str()).unwrap_or_default();
    if request.images.is_empty() {
        body.text("input", question);
    } else {
        let mut list = List::new();
        let mut part = Object::with("type", "text");
        part.text("content", question);
        list.next().extend_from_slice(&part.end());
        for image in &request.images {
            let mut part = Object::with("type", "image");
            part.text("data_url", image);
            list.next().extend_from_slice(&part.end());
        }
        body.raw("input", &list.end());
    }
    if let Some(system) = system {
        body.text("system_prompt", &system.content);
    }
    body.flag("stream", true);
    body.flag("store", request.store || request.conversation.is_some());
    if let Some(conversation) = &request.conversation {
        body.text("previous_response_id", conversation);
    }
    body.integer("max_output_tokens", request.max_tokens.map(i64::from));
    body.number("temperature", request.temperature);
    body.number("top_p", request.top_p);
    // An effort that the model does not have is refused.
    let effort = request.effort.map(Effort::as_str);
    let known = |effort: &&str| {
        model.is_some_and(|model| model.efforts.iter().any(|known| known == effort))
    };
    if let Some(effort) = effort.filter(known) {
        body.text("reasoning", effort);
    }
    body.end()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::upstream::chat::Message;
    use crate::upstream::models::ModelType;

    fn message(role: Role, content: &str) -> Message {
        Message { role, content: content.to_owned() }
    }

    fn question() -> ChatRequest {
        ChatRequest { messages: vec![message(Role::User, "a")], ..ChatRequest::default() }
    }

    fn model(state: ModelState) -> Model {
        Model::named("m".to_owned(), ModelType::Llm, state)
    }

    #[test]
    fn the_route_follows_what_each_api_can_do() {
        let (cold, warm) = (model(ModelState::NotLoaded), model(ModelState::Loaded));
        let studio = Some(Kind::LmStudio);
        let choose =
            |kind, model: &Model, request: &ChatRequest| Route::choose(kind, Some(model), request);
        assert_eq!(choose(studio, &cold, &question()), Route::Native);
        assert_eq!(choose(studio, &warm, &question()), Route::Chat);
        assert_eq!(choose(Some(Kind::LmStudio03), &cold, &question()), Route::Chat);
        assert_eq!(choose(Some(Kind::Ollama), &cold, &question()), Route::Chat);
        let stored = ChatRequest { store: true, ..question() };
        assert_eq!(choose(studio, &warm, &stored), Route::Native);
        let seen = ChatRequest { images: vec!["data:".to_owned()], ..question() };
        assert_eq!(choose(studio, &warm, &seen), Route::Native);
        let text = ChatRequest { complete: Some("a".to_owned()), ..question() };
        assert_eq!(choose(studio, &cold, &text), Route::Text);
        for needs in [
            ChatRequest { stop: vec!["x".to_owned()], ..question() },
            ChatRequest { seed: Some(1), ..question() },
            ChatRequest { temperature: Some(1.5), ..question() },
            ChatRequest { json_schema: Some("{}".to_owned()), ..question() },
            ChatRequest { frequency_penalty: Some(1.0), ..question() },
            ChatRequest { messages: vec![message(Role::Assistant, "b")], ..question() },
        ] {
            assert_eq!(choose(studio, &cold, &needs), Route::Chat, "{needs:?}");
        }
    }

    fn read(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn the_native_body_has_only_keys_that_the_server_knows() {
        let mut asked = question();
        asked.messages.insert(0, message(Role::System, "s"));
        asked.images = vec!["data:image/png;base64,AA".to_owned()];
        asked.effort = Some(Effort::Low);
        asked.max_tokens = Some(7);
        asked.conversation = Some("resp_1".to_owned());
        let mut thinks = model(ModelState::Loaded);
        thinks.efforts = vec!["low".to_owned()];
        let expected = json!({
            "model": "m", "stream": true, "store": true, "previous_response_id": "resp_1",
            "system_prompt": "s", "max_output_tokens": 7, "reasoning": "low",
            "input": [
                {"type": "text", "content": "a"},
                {"type": "image", "data_url": "data:image/png;base64,AA"}
            ]
        });
        assert_eq!(read(&native(&asked, "m", Some(&thinks))), expected);
        let plain = read(&native(
            &ChatRequest { effort: Some(Effort::High), ..question() },
            "m",
            Some(&thinks),
        ));
        assert_eq!(plain, json!({"model": "m", "input": "a", "stream": true, "store": false}));
    }

    #[test]
    fn the_compatible_body_says_what_each_kind_understands() {
        let asked = ChatRequest {
            json_schema: Some(r#"{"type":"object"}"#.to_owned()),
            effort: Some(Effort::Off),
            images: vec!["data:image/png;base64,AA".to_owned()],
            ..question()
        };
        let body = read(&compatible(&asked, "m", Some(Kind::LlamaCpp), Without::default()));
        assert_eq!(body["return_progress"], true);
        assert_eq!(body["chat_template_kwargs"], json!({"enable_thinking": false}));
        assert_eq!(body["response_format"]["json_schema"]["schema"], json!({"type": "object"}));
        assert_eq!(
            body["messages"][0]["content"][1],
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}})
        );
        let refused = Without { stream_options: true, response_format: true };
        let body = read(&compatible(&asked, "m", Some(Kind::LmStudio), refused));
        assert_eq!(body["reasoning_effort"], "none");
        assert_eq!((body.get("stream_options"), body.get("response_format")), (None, None));
        let text = ChatRequest { complete: Some("one".to_owned()), ..question() };
        let body = read(&compatible(&text, "m", None, Without::default()));
        assert_eq!((&body["prompt"], body.get("messages")), (&json!("one"), None));
    }
}
