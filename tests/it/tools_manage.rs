//! The tools around models: which there are, which is the default, what is in memory and on disk,
//! and how the model servers are.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects and does not find fails it"
)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use local_llm_mcp::server::Server;

use crate::scratch::eventually;
use crate::support::client::{SOON, Session};
use crate::support::deaf::Deaf;
use crate::support::house::{House, Plan};
use crate::support::stand_in::{Kind, MODEL, Script, Stall, StandIn};

const COLD: &str = "google/gemma-4-e4b";

fn full(script: Script) -> (House, Session) {
    let house = Plan::new().set("MCP_PROFILE", "full").script(script).start();
    let session = open(&house);
    (house, session)
}

fn open(house: &House) -> Session {
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    // The log would come between a call and its result.
    session.ask("logging/setLevel", &json!({ "level": "error" }));
    session
}

fn ollama() -> Script {
    Script { kind: Kind::Ollama, ..Script::default() }
}

/// A house with two model servers, `default` and `nas`, each with the model that its settings name.
fn two(
    plan: Plan,
    desk: (Script, Option<&str>),
    nas: (Script, Option<&str>),
) -> (House, StandIn, StandIn) {
    let mut config = plan.config("http://127.0.0.1:1");
    let first = config.upstreams.remove(0);
    let [desk, nas] = [("default", desk), ("nas", nas)].map(|(name, (script, model))| {
        let stand_in = StandIn::start(script);
        let mut upstream = first.clone();
        upstream.name = name.to_owned();
        upstream.url = stand_in.url();
        upstream.default_model = model.map(str::to_owned);
        config.upstreams.push(upstream);
        stand_in
    });
    let server = Server::start(&config).unwrap();
    (House { server, stand_in: None, scratch: plan.scratch }, desk, nas)
}

fn data(session: &mut Session, tool: &str, arguments: &Value) -> Value {
    let result = session.call(tool, arguments);
    assert!(result.get("isError").is_none(), "{result}");
    result["structuredContent"].clone()
}

fn error(result: &Value) -> Value {
    assert_eq!(result["isError"], true, "{result}");
    serde_json::from_str(result["content"][1]["text"].as_str().unwrap()).unwrap()
}

#[test]
fn a_model_is_told_whole_and_an_unknown_one_with_the_known() {
    let (_house, mut session) = full(Script::default());
    let model = data(&mut session, "get_model_info", &json!({ "model": MODEL }))["model"].clone();
    for (name, value) in [
        ("id", json!(MODEL)),
        ("state", json!("loaded")),
        ("upstream", json!("default")),
        ("isDefault", json!(true)),
        ("maxTokens", model["contextWindow"].clone()),
    ] {
        assert_eq!(model[name], value, "{name}");
    }
    assert_eq!(model["usage"]["purpose"], "text generation");
    let unknown = error(&session.call("get_model_info", &json!({ "model": "gpt-4" })));
    assert_eq!(unknown["error"]["code"], "MODEL_NOT_FOUND");
    assert_eq!(unknown["error"]["details"]["requestedModel"], "gpt-4");
    assert_eq!(unknown["availableModels"].as_array().unwrap().len(), 3);
}

#[test]
fn a_default_model_is_the_sessions_own_or_everybodys() {
    let plan = Plan::new().limits(|limits| limits.session_models_max = 1);
    let house = plan.script(Script { any_model: true, ..Script::default() }).start();
    let (mut one, mut other) = (open(&house), open(&house));
    let chosen = data(&mut one, "set_default_model", &json!({ "model": "gemma-4-e4b" }));
    assert_eq!((&chosen["success"], &chosen["scope"]), (&json!(true), &json!("session")));
    assert_eq!(
        (&chosen["defaultModel"], &chosen["previousDefault"]),
        (&json!(COLD), &json!(MODEL))
    );
    let default =
        |session: &mut Session| data(session, "list_models", &json!({}))["defaultModel"].clone();
    assert_eq!((default(&mut one), default(&mut other)), (json!(COLD), json!(MODEL)));
    let chat = json!({ "message": "Who?" });
    assert_eq!(data(&mut one, "chat", &chat)["requested_model"], COLD);
    assert_eq!(data(&mut other, "chat", &chat)["requested_model"], MODEL);
    // One more than session_models_max: the older choice is forgotten.
    data(&mut other, "set_default_model", &json!({ "model": MODEL }));
    assert_eq!(default(&mut one), json!(MODEL));
    data(&mut other, "set_default_model", &json!({ "model": COLD, "scope": "server" }));
    assert_eq!((default(&mut one), default(&mut other)), (json!(COLD), json!(MODEL)));
    let unknown = error(&one.call("set_default_model", &json!({ "model": "probe" })));
    assert_eq!(unknown["error"]["code"], "MODEL_NOT_FOUND");
}

#[test]
fn texts_become_vectors_that_do_not_flood_the_text() {
    let (house, mut session) = full(Script::default());
    let texts: Vec<String> = (1..=70).map(|length| "a".repeat(length)).collect();
    let params = json!({
        "name": "embed", "arguments": { "input": texts }, "_meta": { "progressToken": 1 },
    });
    let id = session.begin("tools/call", &params);
    let mut progress = Vec::new();
    let reply = loop {
        let message = session.message();
        if message["id"] == id {
            break message;
        }
        progress.push(message["params"].clone());
    };
    let said: Vec<_> = progress.iter().map(|it| it["message"].as_str().unwrap()).collect();
    assert_eq!(said, ["accepted", "32 of 70 texts", "64 of 70 texts", "70 of 70 texts"]);
    assert_eq!((&progress[3]["progress"], &progress[3]["total"]), (&json!(70), &json!(70)));
    let result = &reply["result"];
    let data = &result["structuredContent"];
    assert_eq!(data["embeddings"].as_array().unwrap().len(), 70);
    assert_eq!((&data["embeddings"][69], &data["dimensions"]), (&json!([70.0, 0.5]), &json!(2)));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("70 vectors of 2 dimensions from ") && text.len() < 200, "{text}");
    let single = self::data(&mut session, "embed", &json!({ "input": "abc" }));
    assert_eq!(single["embeddings"], json!([[3.0, 0.5]]));
    for input in [json!([]), json!(vec!["a"; 257]), json!(["a", 1]), Value::Null] {
        let refused = error(&session.call("embed", &json!({ "input": input })));
        assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT");
    }
    drop(house);
}

#[test]
fn a_model_is_loaded_once_and_unloaded_once() {
    let (house, mut session) = full(Script::default());
    let load = json!({ "model": COLD, "context_length": 8192 });
    let loaded = data(&mut session, "load_model", &load);
    assert_eq!((&loaded["model"], &loaded["already_loaded"]), (&json!(COLD), &json!(false)));
    let again = data(&mut session, "load_model", &json!({ "model": COLD }));
    assert_eq!(again["already_loaded"], true);
    assert_eq!(house.stand_in().loaded().iter().filter(|id| *id == COLD).count(), 1);
    let unload = json!({ "model": COLD });
    assert_eq!(data(&mut session, "unload_model", &unload)["unloaded"], json!([COLD]));
    assert_eq!(data(&mut session, "unload_model", &unload)["unloaded"], json!([]));
    assert!(!house.stand_in().loaded().contains(&COLD.to_owned()));
    assert_eq!(session.call("unload_model", &json!({}))["isError"], true);
    let said = "Failed to load model \"x\". Error: insufficient system resources.";
    house.stand_in().play(Script { load_fault: Some(said.to_owned()), ..Script::default() });
    let failed = error(&session.call("load_model", &load));
    assert_eq!(failed["error"]["code"], "MODEL_LOAD_FAILED");
    assert!(
        failed["error"]["message"].as_str().unwrap().contains("insufficient system"),
        "{failed}"
    );
}

/// What takes long at a model server: tool, arguments, and what it asks for.
fn long_calls() -> [(&'static str, Value, &'static str); 6] {
    [
        ("complete", json!({ "prompt": "a" }), "POST /v1/completions"),
        ("embed", json!({ "input": "a" }), "POST /v1/embeddings"),
        ("load_model", json!({ "model": COLD }), "POST /api/v1/chat"),
        (
            "load_model",
            json!({ "model": COLD, "context_length": 8192 }),
            "POST /api/v1/models/load",
        ),
        ("unload_model", json!({ "model": MODEL }), "POST /api/v1/models/unload"),
        ("download_model", json!({ "model": "a/b" }), "POST /api/v1/models/download"),
    ]
}

fn begin(session: &mut Session, tool: &str, arguments: &Value) -> u64 {
    let token = json!({ "progressToken": 1 });
    session.begin("tools/call", &json!({ "name": tool, "arguments": arguments, "_meta": token }))
}

fn progress(session: &mut Session) -> String {
    let told = session.message();
    assert_eq!(told["method"], "notifications/progress", "{told}");
    told["params"]["message"].as_str().unwrap().to_owned()
}

fn stalling() -> Plan {
    let script = Script { stall: Stall::BeforeChatHead, ..Script::default() };
    Plan::new().set("MCP_PROFILE", "full").script(script)
}

#[test]
fn a_cancel_closes_the_socket_of_every_long_call_whether_it_waits_or_is_asked() {
    for (tool, arguments, target) in long_calls() {
        let house = stalling().alone().start();
        let asked = || house.stand_in().targets().iter().filter(|it| *it == target).count();
        let mut session = open(&house);
        // A model server that does not answer.
        let silent = begin(&mut session, tool, &arguments);
        assert_eq!(progress(&mut session), "accepted");
        assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON), "{target}");
        assert_eq!(asked(), 1, "{target}");
        session.cancel(silent);
        let second = Duration::from_secs(1);
        assert!(house.stand_in().wait_for(|counts| counts.stalled == 0, second), "{target}");
        // The line before the only thread for such calls.
        let running = session.begin_chat("runs");
        assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON), "{target}");
        let waiting = begin(&mut session, tool, &arguments);
        eventually("it waits", || house.health()["calls"]["started"] == 3);
        session.cancel(waiting);
        house.stand_in().release();
        assert_eq!(session.message()["id"], running, "{target}");
        assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
        assert_eq!(asked(), 1, "{target}");
    }
}

#[test]
fn a_cancel_ends_every_long_call_that_cannot_reach_its_model_server() {
    let deaf = Deaf::start();
    let plan = stalling().alone().with(|config| {
        config.upstreams[0].connect_timeout = Duration::from_secs(600);
    });
    let server = Server::start(&plan.config(&deaf.url())).unwrap();
    let house = House { server, stand_in: None, scratch: plan.scratch };
    let mut session = open(&house);
    for (tool, arguments, _) in long_calls() {
        // Each runs on the only thread for such calls, so the one before it is over.
        let id = begin(&mut session, tool, &arguments);
        assert_eq!(progress(&mut session), "accepted", "{tool}");
        session.cancel(id);
    }
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
}

#[test]
fn whatever_takes_long_is_heard_of_at_once_and_within_eight_seconds() {
    let (house, deaf) = (&stalling().start(), Deaf::start());
    let plan = Plan::new().with(|config| {
        config.upstreams[0].connect_timeout = Duration::from_secs(600);
    });
    let server = Server::start(&plan.config(&deaf.url())).unwrap();
    let unreachable = House { server, stand_in: None, scratch: plan.scratch };
    let hear = &|house: &House, tool: &str, arguments: &Value| {
        let mut session = open(house);
        let id = begin(&mut session, tool, arguments);
        assert_eq!(progress(&mut session), "accepted");
        let accepted = Instant::now();
        progress(&mut session);
        assert!(accepted.elapsed() < Duration::from_secs(8), "{tool} {arguments}");
        (session, id)
    };
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| hear(&unreachable, "chat", &json!({ "message": "a" })));
        let held: Vec<_> = long_calls()
            .into_iter()
            .map(|(tool, arguments, _)| scope.spawn(move || hear(house, tool, &arguments)))
            .collect();
        // A panic in one ends the others' wait as well.
        let held: Vec<_> = held.into_iter().map(|one| one.join().unwrap()).collect();
        house.stand_in().release();
        for (mut session, id) in held {
            let mut last = session.message();
            while last.get("id").is_none() {
                last = session.message();
            }
            assert_eq!(last["id"], id);
            assert!(last["result"].get("isError").is_none(), "{last}");
        }
        let (mut session, id) = connecting.join().unwrap();
        session.cancel(id);
    });
}

#[test]
fn a_download_is_begun_or_waited_for() {
    let (_house, mut session) = full(Script::default());
    let model = json!({ "model": "ibm/granite-4-micro" });
    let begun = data(&mut session, "download_model", &model);
    assert_eq!(
        (&begun["status"], &begun["job_id"]),
        (&json!("downloading"), &json!("job_493c7c9ded"))
    );
    let status = data(&mut session, "download_status", &json!({ "job_id": begun["job_id"] }));
    assert_eq!((&status["status"], &status["percent"]), (&json!("completed"), &json!(100.0)));
    let wait = json!({ "model": "ibm/granite-4-micro", "wait": true });
    assert_eq!(data(&mut session, "download_model", &wait)["status"], "completed");
    let unknown = session.call("download_status", &json!({ "job_id": "nothing" }));
    assert_eq!(unknown["isError"], true);
}

#[test]
fn several_model_servers_are_one_list_and_each_call_goes_to_the_right_one() {
    let (house, desk, nas) = two(Plan::new(), (Script::default(), None), (ollama(), None));
    let mut session = open(&house);
    let listed = data(&mut session, "list_models", &json!({}));
    let at = |name: &str| {
        let models = listed["models"].as_array().unwrap().iter();
        models.filter(|model| model["upstream"] == name).count()
    };
    assert_eq!((at("default"), listed["defaultModel"].as_str()), (3, Some(MODEL)));
    assert!(at("nas") > 0);
    let answer = data(&mut session, "chat", &json!({ "message": "a", "model": "llama3.2:latest" }));
    assert_eq!(
        (&answer["upstream"], desk.counts().chats, nas.counts().chats),
        (&json!("nas"), 0, 1)
    );
    // Who names an upstream means its own model.
    let answer = data(&mut session, "chat", &json!({ "message": "a", "upstream": "nas" }));
    assert_eq!(answer["upstream"], "nas");
    let tools = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
    for tool in tools.as_array().unwrap() {
        let has = tool["inputSchema"]["properties"].get("upstream").is_some();
        assert_eq!(has, tool["name"] != "set_default_model", "{}", tool["name"]);
    }
    let unknown = error(&session.call("chat", &json!({ "message": "a", "upstream": "cellar" })));
    assert_eq!(unknown["error"]["code"], "INVALID_ARGUMENT");
    drop(nas);
    let listed = data(&mut session, "list_models", &json!({}));
    assert_eq!(listed["models"].as_array().unwrap().len(), 3);
    assert_eq!(listed["unavailable"][0]["upstream"], "nas");
    assert_eq!(listed["unavailable"][0]["code"], "UPSTREAM_UNREACHABLE");
    let status = data(&mut session, "server_status", &json!({}));
    let reachable: Vec<_> =
        status["upstreams"].as_array().unwrap().iter().map(|it| &it["reachable"]).collect();
    assert_eq!(reachable, [true, false]);
    assert_eq!(status["upstreams"][0]["loaded"], json!([MODEL]));
    assert_eq!(status["upstreams"][1]["last_error"]["code"], "UPSTREAM_UNREACHABLE");
    let next = |at: usize| status["upstreams"][at]["next_step"].as_str();
    assert!(next(0).is_none() && next(1).unwrap().contains("ollama serve"), "{status}");
    let one = data(&mut session, "server_status", &json!({ "upstream": "default" }));
    assert_eq!(one["upstreams"].as_array().unwrap().len(), 1);
    drop(desk);
    let failed = error(&session.call("list_models", &json!({})));
    assert_eq!(failed["error"]["upstream"], "default");
}

#[test]
fn the_model_shown_as_the_default_is_the_one_that_answers() {
    let cold = || Script { loaded: false, jit: true, ..Script::default() };
    for (desk, nas, expected) in [
        ((Script::default(), None), (ollama(), None), ("default", MODEL)),
        // In memory there, only on disk here.
        ((cold(), None), (ollama(), None), ("nas", "llama3.2:latest")),
        // The same model twice.
        ((cold(), None), (Script::default(), None), ("nas", MODEL)),
        // One that its settings name, and not by its whole name.
        ((Script::default(), None), (ollama(), Some("llama3.2")), ("nas", "llama3.2:latest")),
        ((Script::default(), Some("gemma-4-e4b")), (ollama(), None), ("default", COLD)),
    ] {
        let plan =
            Plan::new().with(|config| config.tools.aliases = vec!["lmstudio-mcp".to_owned()]);
        let (house, _desk, _nas) = two(plan, desk, nas);
        let mut session = open(&house);
        let (upstream, model) = (json!(expected.0), json!(expected.1));
        let listed = data(&mut session, "list_models", &json!({}));
        assert_eq!(listed["defaultModel"], model, "{listed}");
        let models = listed["models"].as_array().unwrap().iter();
        let marked: Vec<_> = models.filter(|it| it["isDefault"] == true).collect();
        assert_eq!(marked.len(), 1, "{listed}");
        assert_eq!((&marked[0]["upstream"], &marked[0]["id"]), (&upstream, &model));
        let current = data(&mut session, "get_current_model", &json!({}))["model"].clone();
        assert_eq!((&current["upstream"], &current["id"]), (&upstream, &model));
        let answer = data(&mut session, "chat", &json!({ "message": "a" }));
        assert_eq!((&answer["upstream"], &answer["model"]), (&upstream, &model), "{answer}");
        // Of one upstream it is that one's own.
        for name in ["default", "nas"] {
            let listed = data(&mut session, "list_models", &json!({ "upstream": name }));
            let asked = json!({ "message": "a", "upstream": name });
            let answer = data(&mut session, "chat", &asked);
            assert_eq!(listed["defaultModel"], answer["model"], "{name}: {listed}");
        }
    }
}

#[test]
fn the_names_of_lmstudio_mcp_work_on_request() {
    let plan = Plan::new().with(|config| {
        config.tools.aliases = vec!["lmstudio-mcp".to_owned()];
        config.generation.conversations = true;
    });
    let house = plan.start();
    let mut session = open(&house);
    let tools = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let names: Vec<_> =
        tools.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names[13..],
        [
            "health_check",
            "chat_completion",
            "text_completion",
            "generate_embeddings",
            "get_current_model",
            "start_conversation"
        ]
    );
    assert_eq!(data(&mut session, "health_check", &json!({}))["upstreams"][0]["reachable"], true);
    let chat = json!({ "prompt": "a", "system_prompt": "b", "temperature": 0.7, "max_tokens": 10 });
    assert_eq!(data(&mut session, "chat_completion", &chat)["finish_reason"], "stop");
    assert_eq!(data(&mut session, "text_completion", &json!({ "prompt": "a" }))["partial"], false);
    assert_eq!(data(&mut session, "generate_embeddings", &json!({ "text": "a" }))["dimensions"], 2);
    assert_eq!(data(&mut session, "get_current_model", &json!({}))["model"]["id"], MODEL);
    let begun = data(&mut session, "start_conversation", &json!({ "message": "a" }));
    assert!(begun["conversation_id"].is_string(), "{begun}");
}

#[test]
fn models_that_come_and_go_are_announced() {
    let mut house = Plan::new().start();
    let mut session = open(&house);
    session.ask("resources/read", &json!({ "uri": "local://models" }));
    session.ask("resources/subscribe", &json!({ "uri": "local://usage" }));
    drop(house.stand_in.take());
    // The next look is a few seconds away, and the stream has a comment at most before it.
    let told = session.message();
    assert_eq!(told["method"], "notifications/resources/list_changed", "{told}");
}

#[test]
fn what_was_generated_is_counted() {
    let (_house, mut session) = full(Script::default());
    session.call("chat", &json!({ "message": "a" }));
    session.call("chat", &json!({ "message": "a", "model": "nothing" }));
    let read = session.ask("resources/read", &json!({ "uri": "local://usage" }));
    let text = read["result"]["contents"][0]["text"].as_str().unwrap();
    let usage: Value = serde_json::from_str(text).unwrap();
    assert_eq!((&usage["calls"], &usage["failed"]), (&json!(2), &json!(1)), "{usage}");
    let model = &usage["models"][MODEL];
    assert_eq!((&model["calls"], &model["failed"]), (&json!(1), &json!(0)), "{usage}");
    assert!(model["promptTokens"].as_u64().unwrap() > 0, "{usage}");
}
