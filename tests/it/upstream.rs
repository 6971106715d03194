//! An upstream that answers, stalls and fails, seen through `Upstream` and the tools.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what a test expects and does not find fails it"
)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use local_llm_mcp::cancel::{Cancel, Reason};
use local_llm_mcp::mcp::{
    CallContext, CallToolResult, ClientFeatures, Content, Inputs, Outcome, Progress, Service,
    ToolCall, Unusable,
};
use local_llm_mcp::tools::{Defaults, Facts, Toolbox};
use local_llm_mcp::upstream::{
    BaseUrl, ChatAnswer, ChatEvent, ChatRequest, Finish, Fleet, Kind as UpstreamKind, Limit,
    Message, Role, Settings, Stage, Upstream, UpstreamError,
};
use serde_json::{Value, json};

use crate::scratch::eventually;
use crate::support::deaf::Deaf;
use crate::support::stand_in::{Delta, Fault, Kind, Script, Stall, StandIn};

const SOON: Duration = Duration::from_secs(20);
const MODEL: &str = "openai/gpt-oss-20b";

fn settings(url: &str) -> Settings {
    Settings::new(BaseUrl::parse(url).unwrap())
}

fn upstream(stand_in: &StandIn) -> Upstream {
    Upstream::new(settings(&stand_in.url())).unwrap()
}

fn fleet(stand_in: &StandIn) -> Fleet {
    Fleet::new(vec![settings(&stand_in.url())]).unwrap()
}

fn toolbox(stand_in: &StandIn) -> Toolbox {
    Toolbox::new(Arc::new(fleet(stand_in)), Defaults::default(), Facts::default())
}

fn question() -> ChatRequest {
    ChatRequest {
        model: Some(MODEL.to_owned()),
        messages: vec![Message { role: Role::User, content: "Capital of France?".to_owned() }],
        ..ChatRequest::default()
    }
}

fn ask(fleet: &Fleet) -> Result<ChatAnswer, UpstreamError> {
    fleet.chat(&question(), &Cancel::new(), &mut |_| ()).map_err(|failed| failed.error)
}

fn fleet_of(settings: Settings) -> Fleet {
    Fleet::new(vec![settings]).unwrap()
}

fn run(toolbox: &Toolbox, name: &str, arguments: Value) -> CallToolResult {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    let call = ToolCall { name: name.to_owned(), arguments };
    call_with(toolbox, &call, None).unwrap()
}

fn call_with(
    toolbox: &Toolbox,
    call: &ToolCall,
    progress: Option<&dyn Progress>,
) -> Result<CallToolResult, Unusable> {
    let context = CallContext {
        cancel: &Cancel::new(),
        progress,
        log: None,
        client: ClientFeatures::default(),
        principal: "home",
        session: None,
        inputs: &Inputs::default(),
    };
    toolbox.call(call, &context).map(|outcome| match outcome {
        Outcome::Done(result) => result,
        Outcome::Needs(needed) => panic!("it asks for {needed:?}"),
    })
}

fn text(result: &CallToolResult) -> &str {
    match &result.content[0] {
        Content::Text(text) => text,
        Content::Json(json) => json.json(),
        _ => panic!("{result:?}"),
    }
}

/// The data of a failure: text only, since clients hold structured content against the schema
/// of a success.
fn failure(result: &CallToolResult) -> Value {
    assert!(result.is_error && result.structured.is_none(), "{result:?}");
    let Content::Text(json) = &result.content[1] else { panic!("{result:?}") };
    serde_json::from_str(json).unwrap()
}

fn code(result: &CallToolResult) -> String {
    failure(result)["error"]["code"].as_str().unwrap().to_owned()
}

fn says(words: &[&str]) -> Vec<Delta> {
    words.iter().map(|word| Delta::Content((*word).to_owned())).collect()
}

fn chat_fault(fault: Fault) -> Script {
    Script { deltas: says(&["Par", "is"]), chat_fault: fault, ..Script::default() }
}

#[test]
fn each_kind_of_server_is_recognized_and_then_listed_with_one_request() {
    for (kind, expected, asked) in [
        (Kind::LmStudio, UpstreamKind::LmStudio, 2),
        (Kind::LmStudio03, UpstreamKind::LmStudio03, 3),
        (Kind::Generic, UpstreamKind::OpenAiCompatible, 5),
    ] {
        let stand_in = StandIn::start(Script { kind, ..Script::default() });
        let upstream = upstream(&stand_in);
        assert_eq!(upstream.state().reachable, None);
        let probe = upstream.probe(&Cancel::new()).unwrap();
        assert_eq!((probe.kind, probe.models), (expected, 3));
        assert_eq!(stand_in.counts().requests, asked);
        for _ in 0..10 {
            upstream.list_models(&Cancel::new()).unwrap();
        }
        assert_eq!(stand_in.counts().requests, asked + 10);
        assert_eq!(stand_in.counts().connections, 1);
        let state = upstream.state();
        assert_eq!((state.reachable, state.kind), (Some(true), Some(expected)));
        assert!(state.last_success_age.is_some() && state.last_error.is_none());
    }
}

#[test]
fn a_server_that_was_replaced_by_another_kind_is_recognized_again() {
    let stand_in = StandIn::start(Script::default());
    let upstream = upstream(&stand_in);
    for (kind, expected) in [
        (Kind::LmStudio, UpstreamKind::LmStudio),
        (Kind::Generic, UpstreamKind::OpenAiCompatible),
        (Kind::LmStudio03, UpstreamKind::OpenAiCompatible),
        (Kind::LmStudio, UpstreamKind::OpenAiCompatible),
    ] {
        stand_in.play(Script { kind, ..Script::default() });
        assert_eq!(upstream.list_models(&Cancel::new()).unwrap().kind, expected);
    }
}

#[test]
fn list_models_shows_what_the_server_knows() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in);
    let result = run(&toolbox, "list_models", json!({}));
    let data = result.structured.clone().unwrap().value();
    assert_eq!(serde_json::from_str::<Value>(text(&result)).unwrap(), data);
    assert_eq!(data["defaultModel"], MODEL);
    let summary = json!({"total": 3, "llmCount": 2, "embeddingCount": 1, "loadedCount": 1});
    assert_eq!(data["summary"], summary);
    let model = &data["models"][0];
    assert_eq!(model["state"], "loaded");
    assert_eq!(model["contextWindow"], 8192);
    assert_eq!(model["quantization"], "MXFP4");
    assert_eq!(model["isDefault"], true);
    assert_eq!(data["models"][1]["contextWindow"], Value::Null);
    let only = run(&toolbox, "list_models", json!({"type": "embedding", "junk": 1}));
    let models = only.structured.unwrap().value()["models"].as_array().unwrap().len();
    assert_eq!(models, 1);
    let loaded = run(&toolbox, "list_models", json!({"loaded_only": true}));
    assert_eq!(loaded.structured.unwrap().value()["models"].as_array().unwrap().len(), 1);
}

#[test]
fn a_chat_is_answered_by_the_loaded_model_when_none_is_named() {
    for kind in [Kind::LmStudio, Kind::LmStudio03, Kind::Generic] {
        let stand_in =
            StandIn::start(Script { kind, deltas: says(&["Par", "is"]), ..Script::default() });
        let toolbox = toolbox(&stand_in);
        let result = run(&toolbox, "chat", json!({"message": "Capital of France?"}));
        assert!(!result.is_error, "{result:?}");
        assert_eq!(text(&result), "Paris");
        let data = result.structured.unwrap().value();
        assert_eq!(data["model"], MODEL);
        assert_eq!(data["finish_reason"], "stop");
        assert_eq!(data["usage"]["completion_tokens"], 14);
        assert_eq!(data["warnings"], json!([]));
        assert!(stand_in.last_chat().contains(r#""stream_options":{"include_usage":true}"#));
    }
}

#[test]
fn every_argument_of_chat_reaches_the_server() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in);
    let arguments = json!({
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "prompt": "c", "system": "d", "model": "google/gemma-4-e4b", "temperature": 0.5,
        "max_tokens": 7, "top_p": 0.9, "stop": ["x"], "seed": 3, "timeout_s": 60, "junk": {}
    });
    let result = run(&toolbox, "chat", arguments);
    assert!(!result.is_error, "{result:?}");
    let sent: Value = serde_json::from_str(&stand_in.last_chat()).unwrap();
    let expected = json!({
        "model": "google/gemma-4-e4b", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "d"}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}
        ],
        "temperature": 0.5, "max_tokens": 7, "top_p": 0.9, "stop": ["x"], "seed": 3
    });
    assert_eq!(sent, expected);
}

#[test]
fn unusable_arguments_are_told_with_their_path_and_nothing_is_asked() {
    let stand_in = StandIn::start(Script::default());
    let toolbox = toolbox(&stand_in);
    for (name, arguments, path) in [
        ("chat", json!({}), "$.message"),
        ("chat", json!({"message": 5}), "$.message"),
        ("chat", json!({"message": "a", "temperature": 3}), "$.temperature"),
        ("chat", json!({"messages": [{"role": "user"}]}), "$.messages[0].content"),
        ("chat", json!({"messages": [{"role": "x", "content": ""}]}), "$.messages[0].role"),
        ("chat", json!({"messages": "a"}), "$.messages"),
        ("chat", json!({"message": "a", "stop": ["b", 1]}), "$.stop[1]"),
        ("chat", json!({"message": "a", "timeout_s": 0}), "$.timeout_s"),
        ("chat", json!({"message": "a", "model": "local://models"}), "$.model"),
        ("list_models", json!({"type": "x"}), "$.type"),
    ] {
        let result = run(&toolbox, name, arguments.clone());
        assert_eq!(code(&result), "INVALID_ARGUMENT", "{arguments}");
        assert!(text(&result).contains(&format!("{path} ")), "{}", text(&result));
    }
    assert_eq!(stand_in.counts().requests, 0);
    let call = ToolCall { name: "none".to_owned(), arguments: serde_json::Map::new() };
    let unknown = call_with(&toolbox, &call, None).unwrap_err();
    assert_eq!(unknown, Unusable::Tool("none".to_owned()));
}

#[test]
fn a_server_that_does_not_run_is_told_with_what_to_type() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let fleet = Arc::new(Fleet::new(vec![settings(&url)]).unwrap());
    let toolbox = Toolbox::new(Arc::clone(&fleet), Defaults::default(), Facts::default());
    for (name, arguments) in [
        ("list_models", json!({})),
        ("chat", json!({"message": "a"})),
        ("chat", json!({"message": "a", "model": MODEL})),
    ] {
        let result = run(&toolbox, name, arguments);
        assert_eq!(code(&result), "UPSTREAM_UNREACHABLE");
        for part in [&url, "refused", "lms server start", "LM_STUDIO_URL=", "Serve on Local"] {
            assert!(text(&result).contains(part), "{}", text(&result));
        }
    }
    let state = fleet.main().state();
    assert_eq!(state.reachable, Some(false));
    assert_eq!(state.last_error.unwrap().code, "UPSTREAM_UNREACHABLE");
}

#[test]
fn what_to_do_next_is_said_for_the_server_that_is_there() {
    for (kind, written, reach, window) in [
        (Kind::LmStudio, "lmstudio", "lms server start", "in LM Studio"),
        (Kind::Ollama, "ollama", "OLLAMA_HOST", "OLLAMA_CONTEXT_LENGTH"),
        (Kind::LlamaCpp, "llamacpp", "llama-server", "--ctx-size"),
        (Kind::LlamaRouter, "llamacpp", "llama-server", "--ctx-size"),
        (Kind::Vllm, "vllm", "serve the network", "--max-model-len"),
        (Kind::Generic, "generic", "serve the network", "larger context window"),
    ] {
        let said = r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#;
        let chat_fault = Fault::Body(400, said.to_owned());
        let stand_in = StandIn::start(Script { kind, chat_fault, ..Script::default() });
        let (url, toolbox) = (stand_in.url(), toolbox(&stand_in));
        let overflow = run(&toolbox, "chat", json!({"message": "a"}));
        assert_eq!(code(&overflow), "CONTEXT_OVERFLOW");
        assert!(text(&overflow).contains(window), "{}", text(&overflow));
        drop(stand_in);
        // As the settings say, and as it was found before it went.
        let kind = UpstreamKind::parse(written);
        let told = fleet_of(Settings { kind, ..settings(&url) });
        let told = Toolbox::new(Arc::new(told), Defaults::default(), Facts::default());
        for toolbox in [toolbox, told] {
            let off = run(&toolbox, "list_models", json!({}));
            assert_eq!(code(&off), "UPSTREAM_UNREACHABLE");
            assert!(text(&off).contains(reach), "{}", text(&off));
            let is_lm_studio = written == "lmstudio";
            assert_eq!(text(&off).contains("LM Studio"), is_lm_studio, "{}", text(&off));
        }
    }
}

#[test]
fn an_answer_to_a_name_that_the_server_does_not_list_comes_with_a_warning() {
    for kind in [Kind::LmStudio, Kind::LlamaCpp, Kind::Generic] {
        let stand_in = StandIn::start(Script { kind, any_model: true, ..Script::default() });
        let request = ChatRequest { model: Some("nobody-7b".to_owned()), ..question() };
        let answer = fleet(&stand_in).chat(&request, &Cancel::new(), &mut |_| ()).unwrap();
        let [warning] = answer.warnings.as_slice() else { panic!("{kind:?} {answer:?}") };
        assert!(warning.contains("lists no \"nobody-7b\""), "{warning}");
    }
}

#[test]
fn what_has_to_be_known_of_an_answer_is_a_block_behind_it() {
    for (script, remark) in [
        (Script::default(), None),
        (
            Script { finish: Some("length"), ..Script::default() },
            Some("(Note: the answer is cut off"),
        ),
        (
            Script { answers_as: Some("qwen3".to_owned()), ..Script::default() },
            Some("(Note: answered by \"qwen3\""),
        ),
    ] {
        let stand_in = StandIn::start(Script { deltas: says(&["Paris"]), ..script });
        let result = run(&toolbox(&stand_in), "chat", json!({"message": "a"}));
        assert_eq!(text(&result), "Paris");
        let behind = result.content.get(1);
        assert_eq!(behind.is_some(), remark.is_some(), "{result:?}");
        if let (Some(Content::Text(behind)), Some(remark)) = (behind, remark) {
            assert!(behind.starts_with(remark) && behind.ends_with(".)"), "{behind}");
        }
        let rewritten = json!({"content": "He lives in Paris.", "style": "plain"});
        let rewritten = run(&toolbox(&stand_in), "secure_rewrite", rewritten);
        assert_eq!(rewritten.content.get(1), result.content.get(1), "{rewritten:?}");
    }
}

#[test]
fn a_server_without_an_embedding_model_is_told_as_one() {
    for (kind, next) in [(Kind::LlamaCpp, "--embeddings"), (Kind::Vllm, "an embedding model")] {
        let stand_in = StandIn::start(Script { kind, ..Script::default() });
        let result = run(&toolbox(&stand_in), "embed", json!({"input": ["a"]}));
        assert_eq!(code(&result), "NO_MODEL_LOADED");
        assert!(
            text(&result).starts_with("The model server has no embedding model."),
            "{result:?}"
        );
        assert!(text(&result).contains(next), "{}", text(&result));
    }
}

#[test]
fn a_missing_or_wrong_token_stops_the_search_and_says_which() {
    let stand_in =
        StandIn::start(Script { token: Some("sk-lm-right".to_owned()), ..Script::default() });
    for (token, word) in [(None, "wants an API token"), (Some("sk-lm-no"), "does not accept")] {
        let before = stand_in.counts().requests;
        let mut settings = settings(&stand_in.url());
        settings.api_token = token.map(str::to_owned);
        let fleet = fleet_of(settings);
        let error = fleet.main().list_models(&Cancel::new()).unwrap_err();
        assert_eq!(error.code(), "UPSTREAM_AUTH");
        assert!(error.to_string().contains(word), "{error}");
        // LM_API_TOKEN is for the server of LM_STUDIO_URL alone.
        for place in ["LM_API_TOKEN", "token_file under its [[upstream]]", "--api-key"] {
            assert!(error.next_step(None).contains(place), "{}", error.next_step(None));
        }
        assert_eq!(ask(&fleet).unwrap_err().code(), "UPSTREAM_AUTH");
        // The greeting needs no token, so each look asks that and the list.
        assert_eq!(stand_in.counts().requests, before + 4);
    }
    let mut settings = settings(&stand_in.url());
    settings.api_token = Some("sk-lm-right".to_owned());
    let fleet = fleet_of(settings);
    assert_eq!(fleet.main().list_models(&Cancel::new()).unwrap().models.len(), 3);
    ask(&fleet).unwrap();
}

#[test]
fn without_a_loaded_model_the_result_says_how_to_load_one() {
    let stand_in = StandIn::start(Script { loaded: false, ..Script::default() });
    let toolbox = toolbox(&stand_in);
    let result = run(&toolbox, "chat", json!({"message": "a"}));
    assert_eq!(code(&result), "NO_MODEL_LOADED");
    assert!(text(&result).contains("lms load"), "{}", text(&result));
    let list = run(&toolbox, "list_models", json!({})).structured.unwrap().value();
    assert_eq!(list["summary"]["loadedCount"], 0);
}

#[test]
fn a_server_without_language_models_has_none_to_choose() {
    let list = r#"{"models":[{"type":"embedding","key":"nomic","loaded_instances":[]}]}"#;
    let fault = Fault::Body(200, list.to_owned());
    let stand_in = StandIn::start(Script { list_fault: fault, ..Script::default() });
    let result = run(&toolbox(&stand_in), "chat", json!({"message": "a"}));
    assert_eq!(code(&result), "NO_MODEL_LOADED");
    assert_eq!(stand_in.counts().chats, 0);
}

#[test]
fn an_unknown_model_is_answered_with_the_near_ones() {
    let stand_in = StandIn::start(Script::default());
    let result = run(&toolbox(&stand_in), "chat", json!({"message": "a", "model": "gpt-os-20b"}));
    assert_eq!(code(&result), "MODEL_NOT_FOUND");
    assert!(text(&result).contains("Did you mean \"openai/gpt-oss-20b\"?"), "{}", text(&result));
    let data = failure(&result);
    assert_eq!(data["availableModels"].as_array().unwrap().len(), 3);
}

#[test]
fn an_answer_by_another_model_comes_with_a_warning() {
    let stand_in = StandIn::start(Script {
        any_model: true,
        answers_as: Some(MODEL.to_owned()),
        ..Script::default()
    });
    let result = run(&toolbox(&stand_in), "chat", json!({"message": "a", "model": "gpt-4"}));
    let data = result.structured.unwrap().value();
    assert_eq!((&data["model"], &data["requested_model"]), (&json!(MODEL), &json!("gpt-4")));
    assert!(data["warnings"][0].as_str().unwrap().contains("gpt-4"), "{data}");
}

#[test]
fn every_shape_of_an_error_is_understood() {
    let overflow = "Context size has been exceeded.";
    for fault in [
        Fault::Body(400, json!({"error": overflow}).to_string()),
        Fault::Body(400, json!({"error": {"message": overflow, "code": null}}).to_string()),
        Fault::Body(200, json!({"error": {"message": overflow}, "message": overflow}).to_string()),
        Fault::Event {
            after: 1,
            named: true,
            data: json!({"error": {"message": overflow}, "message": overflow}).to_string(),
        },
        Fault::Event { after: 1, named: false, data: json!({"error": overflow}).to_string() },
    ] {
        let stand_in = StandIn::start(chat_fault(fault.clone()));
        let error = ask(&fleet(&stand_in)).unwrap_err();
        assert_eq!(error.code(), "CONTEXT_OVERFLOW", "{fault:?}: {error}");
        assert_eq!(stand_in.counts().chats, 1);
    }
}

#[test]
fn answers_that_are_no_answers_are_told_apart() {
    let crashed = "The model has crashed without additional information. (Exit code: 1)";
    for (fault, expected) in [
        (Fault::Body(500, "boom".to_owned()), "UPSTREAM_ERROR"),
        (Fault::Body(502, "<html>Bad gateway</html>".to_owned()), "UPSTREAM_ERROR"),
        (Fault::Body(302, String::new()), "UPSTREAM_ERROR"),
        (Fault::Body(200, "<html>hello</html>".to_owned()), "UPSTREAM_ERROR"),
        (Fault::Body(200, "{}".to_owned()), "UPSTREAM_ERROR"),
        (Fault::Body(400, json!({"error": "no"}).to_string()), "BAD_REQUEST"),
        (Fault::Event { after: 1, named: true, data: crashed.to_owned() }, "MODEL_CRASHED"),
        (
            Fault::Body(
                404,
                json!({"error": {"message": "Failed to load model \"a\""}}).to_string(),
            ),
            "MODEL_LOAD_FAILED",
        ),
    ] {
        let stand_in = StandIn::start(chat_fault(fault.clone()));
        let error = ask(&fleet(&stand_in)).unwrap_err();
        assert_eq!(error.code(), expected, "{fault:?}: {error}");
        assert_eq!(stand_in.counts().chats, 1, "{fault:?}");
    }
}

#[test]
fn a_list_that_fails_says_so_and_a_broken_one_is_not_taken_for_empty() {
    for (fault, expected) in [
        (Fault::Body(500, "boom".to_owned()), "UPSTREAM_ERROR"),
        (Fault::Body(200, "<html>".to_owned()), "UPSTREAM_ERROR"),
        (Fault::ResetBeforeHead, "UPSTREAM_DIED"),
        (Fault::Reset { after: 0 }, "UPSTREAM_DIED"),
        (Fault::Truncate { after: 0 }, "UPSTREAM_DIED"),
    ] {
        let script = Script { list_fault: fault.clone(), ..Script::default() };
        let stand_in = StandIn::start(script);
        let error = upstream(&stand_in).list_models(&Cancel::new()).unwrap_err();
        assert_eq!(error.code(), expected, "{fault:?}: {error}");
    }
}

#[test]
fn a_server_that_dies_before_it_answers_is_not_asked_twice() {
    let stand_in = StandIn::start(chat_fault(Fault::ResetBeforeHead));
    let fleet = fleet(&stand_in);
    let error = ask(&fleet).unwrap_err();
    assert_eq!(error.code(), "UPSTREAM_DIED");
    assert_eq!(error.partial(), None);
    assert_eq!(stand_in.counts().chats, 1);
}

#[test]
fn a_server_that_dies_in_the_middle_leaves_what_had_come() {
    for fault in [Fault::Reset { after: 1 }, Fault::Truncate { after: 1 }] {
        let stand_in = StandIn::start(chat_fault(fault.clone()));
        let result = run(&toolbox(&stand_in), "chat", json!({"message": "a"}));
        assert_eq!(code(&result), "UPSTREAM_DIED", "{fault:?}");
        let data = failure(&result);
        // A reset may overtake the bytes before it.
        let partial = data["error"]["details"]["partialText"].as_str().unwrap_or_default();
        let certain = matches!(fault, Fault::Truncate { .. });
        assert!(partial == "Par" || (!certain && partial.is_empty()), "{fault:?}: {data}");
        assert_eq!(stand_in.counts().chats, 1);
    }
}

#[test]
fn a_stream_that_only_forgets_to_say_goodbye_is_whole() {
    for (finish, usage, done) in [
        (Some("stop"), true, false),
        (Some("stop"), false, false),
        (None, true, false),
        (None, false, true),
    ] {
        let deltas = says(&["Par", "is"]);
        let stand_in = StandIn::start(Script { deltas, finish, usage, done, ..Script::default() });
        let answer = ask(&fleet(&stand_in)).unwrap();
        assert_eq!((answer.text.as_str(), answer.partial), ("Paris", false));
    }
    let deltas = says(&["Par"]);
    let stand_in = StandIn::start(Script {
        deltas,
        finish: None,
        usage: false,
        done: false,
        ..Script::default()
    });
    assert_eq!(ask(&fleet(&stand_in)).unwrap_err().code(), "UPSTREAM_DIED");
}

#[test]
fn thinking_stays_out_of_the_answer_wherever_it_comes() {
    let reasoning = vec![Delta::Reasoning("hm".to_owned()), Delta::Content("Yes €".to_owned())];
    let content =
        vec![Delta::ReasoningContent("hm".to_owned()), Delta::Content("Yes €".to_owned())];
    let inline = says(&["<th", "ink>h", "m</thi", "nk>\n\n", "Yes €"]);
    for deltas in [reasoning, content, inline] {
        for cut in [None, Some(1), Some(3), Some(7)] {
            let script =
                Script { deltas: deltas.clone(), cut, windows: cut.is_some(), ..Script::default() };
            let stand_in = StandIn::start(script);
            let toolbox = toolbox(&stand_in);
            let arguments = json!({"message": "a", "include_reasoning": true});
            let result = run(&toolbox, "chat", arguments);
            assert_eq!(text(&result), "Yes €", "{deltas:?} {cut:?}");
            assert_eq!(result.structured.unwrap().value()["reasoning"], "hm");
        }
    }
    let stand_in = StandIn::start(Script::default());
    let result = run(&toolbox(&stand_in), "chat", json!({"message": "a"}));
    assert!(result.structured.unwrap().value().get("reasoning").is_none());
}

#[test]
fn an_empty_answer_is_an_error_that_says_why() {
    for (deltas, word) in [(says(&["<think>hm"]), "Raise max_tokens"), (says(&[""]), "window")] {
        let stand_in = StandIn::start(Script { deltas, ..Script::default() });
        let result = run(&toolbox(&stand_in), "chat", json!({"message": "a"}));
        assert_eq!(code(&result), "EMPTY_OUTPUT");
        assert!(text(&result).contains(word), "{}", text(&result));
    }
}

#[test]
fn an_answer_over_the_limit_is_refused_with_its_name() {
    let deltas = vec![Delta::Content("x".repeat(1024)); 32 * 1024];
    let stand_in = StandIn::start(Script { deltas, ..Script::default() });
    let mut settings = settings(&stand_in.url());
    settings.reply_bytes_max = 1024 * 1024;
    let error = ask(&fleet_of(settings.clone())).unwrap_err();
    assert_eq!(error.code(), "REPLY_TOO_LARGE");
    assert!(error.to_string().contains("1048576 bytes (reply_bytes_max)"), "{error}");
    assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON));
    settings.reply_bytes_max = 512;
    let upstream = Upstream::new(settings).unwrap();
    assert_eq!(upstream.list_models(&Cancel::new()).unwrap_err().code(), "REPLY_TOO_LARGE");
}

#[test]
fn every_timeout_has_a_name_and_ends_the_generation() {
    let short = Duration::from_millis(60);
    for (stall, limit) in [
        (Stall::BeforeChatHead, Limit::Prefill),
        (Stall::BeforeFirst, Limit::Prefill),
        (Stall::After(0), Limit::Prefill),
        (Stall::After(1), Limit::Idle),
        (Stall::BeforeChatHead, Limit::Call),
    ] {
        let script = Script { deltas: says(&["Par", "is"]), stall, ..Script::default() };
        let stand_in = StandIn::start(script);
        let mut settings = settings(&stand_in.url());
        match limit {
            Limit::Prefill => settings.limits.prefill = short,
            Limit::Idle => settings.limits.idle = short,
            Limit::Call | Limit::Connect => settings.limits.call = short,
        }
        let error = ask(&fleet_of(settings)).unwrap_err();
        match &error {
            UpstreamError::Deadline { length, during: Stage::Reading } if limit == Limit::Call => {
                assert_eq!((*length, error.code()), (short, "DEADLINE_NO_OUTPUT"));
                assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON));
                continue;
            }
            UpstreamError::Timeout { limit: fired, length, partial } => {
                assert_eq!((*fired, *length), (limit, short));
                assert_eq!(partial, if limit == Limit::Idle { "Par" } else { "" });
            }
            other => panic!("{stall:?}: {other:?}"),
        }
        assert!(error.to_string().contains(&format!("({limit} timeout)")), "{error}");
        assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON), "{stall:?}");
    }
}

#[test]
fn a_deadline_of_our_own_returns_what_has_come() {
    let script =
        Script { deltas: says(&["Par", "is"]), stall: Stall::After(1), ..Script::default() };
    let stand_in = StandIn::start(script);
    let result = run(&toolbox(&stand_in), "chat", json!({"message": "a", "timeout_s": 1}));
    assert!(!result.is_error, "{result:?}");
    assert_eq!(text(&result), "Par");
    let Content::Text(remark) = &result.content[1] else { panic!("{result:?}") };
    assert!(remark.contains("cut off") && remark.contains("timeout_s"), "{remark}");
    let data = result.structured.unwrap().value();
    assert_eq!((&data["partial"], &data["finish_reason"]), (&json!(true), &json!("deadline")));
    assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON));
    let answer = ChatRequest { deadline: Some(Duration::from_millis(50)), ..question() };
    let answer = fleet(&stand_in).chat(&answer, &Cancel::new(), &mut |_| ()).unwrap();
    assert_eq!((answer.partial, answer.finish), (true, Finish::Deadline));
}

#[test]
fn a_connect_that_hangs_ends_with_its_limit_or_its_cancel() {
    let deaf = Deaf::start();
    let mut settings = settings(&deaf.url());
    settings.limits.connect = Duration::from_millis(80);
    let error = Upstream::new(settings.clone()).unwrap().list_models(&Cancel::new()).unwrap_err();
    match &error {
        UpstreamError::Timeout { limit, .. } => assert_eq!(*limit, Limit::Connect),
        other => panic!("{other:?}"),
    }
    assert!(error.next_step(None).contains("LM_STUDIO_URL="));
    settings.limits.connect = Duration::from_secs(600);
    let upstream = Upstream::new(settings).unwrap();
    // Fired earlier and later, since from outside a hanging connect looks like none.
    for round in 0..8 {
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| upstream.list_models(&cancel));
            (0..round * 1000).for_each(|_| std::thread::yield_now());
            cancel.fire(Reason::Requested);
            assert_eq!(call.join().unwrap().unwrap_err().code(), "CANCELLED");
        });
    }
}

#[test]
fn a_connect_that_hangs_is_no_silence() {
    let deaf = Deaf::start();
    let mut settings = settings(&deaf.url());
    settings.limits.connect = SOON;
    let cancel = Cancel::new();
    let request = ChatRequest { beat: Some(Duration::from_millis(10)), ..question() };
    let mut beats = 0;
    let mut on = |event: ChatEvent<'_>| {
        beats += usize::from(event == ChatEvent::Waiting);
        if beats == 5 {
            cancel.fire(Reason::Requested);
        }
    };
    let error = fleet_of(settings).chat(&request, &cancel, &mut on).unwrap_err();
    assert_eq!((error.code(), beats), ("CANCELLED", 5));
}

#[test]
fn https_to_a_server_that_does_not_speak_it_says_so() {
    let stand_in = StandIn::start(Script::default());
    let url = stand_in.url().replace("http:", "https:");
    let error = Upstream::new(settings(&url)).unwrap().list_models(&Cancel::new()).unwrap_err();
    assert_eq!(error.code(), "UPSTREAM_UNREACHABLE");
    assert!(error.next_step(None).contains("http://"), "{error}: {}", error.next_step(None));
    assert!(!error.next_step(None).contains("Start LM Studio"), "{}", error.next_step(None));
    let unknown =
        io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer");
    let error = UpstreamError::Unreachable { url, cause: unknown };
    assert!(error.next_step(None).contains("ca_file"), "{}", error.next_step(None));
}

#[test]
fn a_name_that_nobody_has_is_unreachable() {
    let upstream = Upstream::new(settings("http://nobody.invalid:1234")).unwrap();
    let error = upstream.list_models(&Cancel::new()).unwrap_err();
    // The look-up itself may hang where no name server answers.
    assert!(matches!(error.code(), "UPSTREAM_UNREACHABLE" | "UPSTREAM_TIMEOUT"), "{error}");
    assert!(error.next_step(None).contains("LM_STUDIO_URL="));
}

#[test]
fn a_cancel_ends_a_generation_at_every_stage_and_the_server_sees_it() {
    for stall in [Stall::BeforeChatHead, Stall::BeforeFirst, Stall::After(1)] {
        let script = Script { deltas: says(&["Par", "is"]), stall, ..Script::default() };
        let stand_in = StandIn::start(script);
        let fleet = fleet(&stand_in);
        fleet.main().list_models(&Cancel::new()).unwrap();
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| fleet.chat(&question(), &cancel, &mut |_| ()));
            assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
            cancel.fire(Reason::Requested);
            assert_eq!(call.join().unwrap().unwrap_err().code(), "CANCELLED", "{stall:?}");
        });
        assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON), "{stall:?}");
        assert_eq!((stand_in.counts().finished, stand_in.counts().chats), (0, 1));
        assert!(fleet.main().state().last_error.is_none());
    }
}

#[test]
fn a_cancel_ends_a_list_that_hangs_and_the_next_list_works() {
    let stand_in = StandIn::start(Script { stall: Stall::BeforeHead, ..Script::default() });
    let upstream = upstream(&stand_in);
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| upstream.list_models(&cancel));
        assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
        cancel.fire(Reason::ClientLeft);
        assert_eq!(call.join().unwrap().unwrap_err().code(), "CANCELLED");
    });
    assert_eq!(upstream.list_models(&cancel).unwrap_err().code(), "CANCELLED");
    stand_in.release();
    upstream.list_models(&Cancel::new()).unwrap();
}

#[test]
fn a_late_cancel_never_harms_a_reused_connection() {
    let stand_in = StandIn::start(Script::default());
    let upstream = upstream(&stand_in);
    upstream.list_models(&Cancel::new()).unwrap();
    for _ in 0..200 {
        let cancel = Cancel::new();
        upstream.list_models(&cancel).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| cancel.fire(Reason::Requested));
            upstream.list_models(&Cancel::new()).unwrap();
        });
    }
    assert_eq!(stand_in.counts().connections, 1);
    // And when it comes while the connection goes back and is taken again.
    for _ in 0..300 {
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            scope.spawn(|| cancel.fire(Reason::Requested));
            let raced = upstream.list_models(&cancel);
            assert!(matches!(raced, Ok(_) | Err(UpstreamError::Cancelled)), "{raced:?}");
            for _ in 0..3 {
                upstream.list_models(&Cancel::new()).unwrap();
            }
        });
    }
}

#[test]
fn a_connection_that_the_server_closed_is_replaced_without_a_word() {
    let stand_in = StandIn::start(Script::default());
    let upstream = upstream(&stand_in);
    for round in 1..=20 {
        upstream.list_models(&Cancel::new()).unwrap();
        assert_eq!(stand_in.counts().connections, round);
        stand_in.close_connections();
    }
}

/// Reads requests from a connection and answers the first `answers` of them with an empty list;
/// hangs up on the next one.
fn serve_lists(listener: &TcpListener, answers: usize) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    for n in 0..=answers {
        if stream.read(&mut request).unwrap() == 0 || n == answers {
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"models\":[]}";
        stream.write_all(answer).unwrap();
    }
}

#[test]
fn a_list_is_asked_once_more_when_a_kept_connection_dies_under_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = settings(&format!("http://{address}"));
    settings.kind = Some(UpstreamKind::LmStudio);
    let upstream = Upstream::new(settings).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            serve_lists(&listener, 2);
            serve_lists(&listener, 1);
            // A fresh connection that dies says something about the server.
            serve_lists(&listener, 0);
        });
        let outcomes: Vec<_> = (0..4).map(|_| upstream.list_models(&Cancel::new())).collect();
        // Whatever the server still waits for, it ends before anything is judged.
        drop(upstream);
        while !server.is_finished() {
            drop(TcpStream::connect(address));
        }
        let [first, second, third, fourth] = outcomes.as_slice() else { panic!("four") };
        assert!(first.is_ok() && second.is_ok() && third.is_ok(), "{outcomes:?}");
        assert_eq!(fourth.as_ref().unwrap_err().code(), "UPSTREAM_DIED");
    });
}

#[test]
fn sixteen_callers_keep_sixteen_connections_at_most() {
    let stand_in = StandIn::start(Script::default());
    let upstream = upstream(&stand_in);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    upstream.list_models(&Cancel::new()).unwrap();
                }
            });
        }
    });
    // One that was made while another came back from a caller is closed again.
    eventually("sixteen are left", || stand_in.open() <= 16);
    assert!(stand_in.counts().connections <= 40, "{:?}", stand_in.counts());
    assert_eq!(stand_in.counts().lists, 320);
}

#[test]
fn a_question_right_behind_another_takes_its_connection_unless_that_has_ended() {
    for keep_alive in [None, Some(Duration::from_millis(5))] {
        let stand_in = StandIn::start(Script { keep_alive, ..Script::default() });
        let fleet = fleet(&stand_in);
        for asked in 1..=3 {
            let answer = fleet.chat(&question(), &Cancel::new(), &mut |_| ()).unwrap();
            assert!(!answer.text.is_empty());
            assert!(stand_in.wait_for(|counts| counts.finished == asked, SOON));
            if keep_alive.is_some() {
                eventually("the upstream has closed them", || stand_in.open() == 0);
            }
        }
        let counts = stand_in.counts();
        assert_eq!(counts.chats, 3, "each is asked once");
        if keep_alive.is_none() {
            // One for the list, and one for the generations; a busy machine may take too long between two.
            assert!(counts.connections < 4, "{counts:?}");
        }
    }
}

#[test]
fn silence_is_broken_by_beats_and_the_question_is_still_asked_once() {
    for stall in [Stall::BeforeChatHead, Stall::BeforeFirst, Stall::After(1)] {
        let script = Script { deltas: says(&["Par", "is"]), stall, ..Script::default() };
        let stand_in = StandIn::start(script);
        let request = ChatRequest { beat: Some(Duration::from_millis(10)), ..question() };
        let mut beats = 0;
        let mut on = |event: ChatEvent<'_>| {
            if event == ChatEvent::Waiting {
                beats += 1;
                if beats == 12 {
                    stand_in.release();
                }
            }
        };
        let answer = fleet(&stand_in).chat(&request, &Cancel::new(), &mut on).unwrap();
        assert_eq!(answer.text, "Paris", "{stall:?}");
        assert!(beats >= 12);
        // The stand-in counts a generation as finished when it has sent the last of it.
        assert!(stand_in.wait_for(|counts| counts.finished == 1, SOON), "{stall:?}");
        let counts = stand_in.counts();
        // One for the list, one for the generation.
        assert_eq!((counts.chats, counts.connections), (1, 2));
    }
}

/// Answers a list and then a chat, whose stream is comments alone until it is `heard`.
fn serve_comments(listener: &TcpListener, heard: &Receiver<()>) {
    let mut request = [0; 4096];
    let (mut lists, _) = listener.accept().unwrap();
    assert!(lists.read(&mut request).unwrap() > 0);
    let list = r#"{"data":[{"id":"a"}]}"#;
    let length = list.len();
    write!(lists, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{list}").unwrap();
    let (mut chat, _) = listener.accept().unwrap();
    assert!(chat.read(&mut request).unwrap() > 0);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    chat.write_all(head.as_bytes()).unwrap();
    for _ in 0..1000 {
        chat.write_all(b": still here\n\n").unwrap();
        if heard.recv_timeout(Duration::from_millis(5)).is_ok() {
            break;
        }
    }
    let piece = r#"{"choices":[{"delta":{"content":"Paris"},"finish_reason":"stop"}]}"#;
    write!(chat, "data: {piece}\n\ndata: [DONE]\n\n").unwrap();
}

#[test]
fn comments_of_a_server_that_works_are_beats() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(&format!("http://{}", listener.local_addr().unwrap()));
    settings.kind = Some(UpstreamKind::OpenAiCompatible);
    let (tell, heard) = bounded(1);
    std::thread::scope(|scope| {
        scope.spawn(|| serve_comments(&listener, &heard));
        let request = ChatRequest { model: None, beat: Some(SOON), ..question() };
        let mut beats = 0;
        let mut on = |event: ChatEvent<'_>| {
            beats += usize::from(event == ChatEvent::Waiting);
            // One as the list is asked for, one as the chat is.
            if beats == 5 {
                tell.send(()).unwrap();
            }
        };
        let answer = fleet_of(settings).chat(&request, &Cancel::new(), &mut on).unwrap();
        assert_eq!(answer.text, "Paris");
        assert!(beats >= 5, "{beats}");
    });
}

#[derive(Default)]
struct Heard(Mutex<Vec<(f64, String)>>);

impl Progress for Heard {
    fn report(&self, progress: f64, _: Option<f64>, message: &str) {
        self.0.lock().unwrap().push((progress, message.to_owned()));
    }
}

#[test]
fn a_chat_reports_progress_at_once_and_rising() {
    let stand_in = StandIn::start(Script {
        deltas: vec![Delta::Content("a ".to_owned()); 25],
        pace: Some(Duration::from_millis(50)),
        ..Script::default()
    });
    let toolbox = toolbox(&stand_in);
    let heard = Heard::default();
    let arguments = json!({"message": "a"}).as_object().unwrap().clone();
    let call = ToolCall { name: "chat".to_owned(), arguments };
    let begun = Instant::now();
    let result = call_with(&toolbox, &call, Some(&heard));
    assert!(!result.unwrap().is_error);
    let heard = heard.0.into_inner().unwrap();
    assert_eq!(heard[0].1, "accepted");
    assert!(heard.windows(2).all(|pair| pair[0].0 < pair[1].0), "{heard:?}");
    assert!(heard.iter().any(|(_, message)| message.starts_with("writing, ")), "{heard:?}");
    assert!(heard.len() as u128 <= 2 + begun.elapsed().as_millis() / 500, "{heard:?}");
}
