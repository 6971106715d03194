//! The tools that generate, as people see them: what they ask a model for, and what they make of
//! its answer.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects and does not find fails it"
)]

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{SOON, Session};
use crate::support::house::{House, Plan};
use crate::support::stand_in::{Delta, Fault, Kind, MODEL, Script, Stall, StandIn};

/// One pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn says(text: &str) -> Script {
    Script { deltas: vec![Delta::Content(text.to_owned())], ..Script::default() }
}

fn full(script: Script) -> (House, Session) {
    let house = Plan::new().set("MCP_PROFILE", "full").script(script).start();
    let session = open(&house);
    (house, session)
}

fn asked(stand_in: &StandIn) -> Value {
    serde_json::from_str(&stand_in.last_chat()).unwrap()
}

/// The data of a call that failed.
fn error(result: &Value) -> Value {
    assert_eq!(result["isError"], true, "{result}");
    serde_json::from_str(result["content"][1]["text"].as_str().unwrap()).unwrap()
}

#[test]
fn reasoning_takes_the_arguments_of_the_node_server_and_single_ones_win() {
    let (house, mut session) = full(says("It is in the second."));
    let result = session.call(
        "local_reasoning",
        &json!({
            "prompt": "Where?", "system_prompt": "Think.", "max_tokens": 50, "include_reasoning": true,
            "model_params": {
                "temperature": 0.5, "max_tokens": 99, "top_p": 0.9, "frequency_penalty": 0.1,
                "presence_penalty": 0.2, "stop": ["END"],
            },
        }),
    );
    assert_eq!(result["content"][0]["text"], "It is in the second.");
    let told = &result["structuredContent"];
    assert_eq!((&told["model"], &told["finish_reason"]), (&json!(MODEL), &json!("stop")));
    assert_eq!((&told["upstream"], &told["reasoning"]), (&json!("default"), &json!("")));
    let sent = asked(house.stand_in());
    for (name, value) in [
        ("temperature", json!(0.5)),
        ("max_tokens", json!(50)),
        ("top_p", json!(0.9)),
        ("frequency_penalty", json!(0.1)),
        ("presence_penalty", json!(0.2)),
        ("stop", json!(["END"])),
    ] {
        assert_eq!(sent[name], value, "{name}: {sent}");
    }
    let resource = json!({ "prompt": "Where?", "model": "local://models" });
    let refused = error(&session.call("local_reasoning", &resource));
    assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT");
    assert!(refused["error"]["message"].as_str().unwrap().contains("list_models"), "{refused}");
}

#[test]
fn a_text_is_completed_as_it_stands() {
    let (house, mut session) = full(says(" a time."));
    let arguments = json!({ "prompt": "Once upon", "echo": true });
    let result = session.call("complete", &arguments);
    assert_eq!(result["content"][0]["text"], "Once upon a time.");
    assert_eq!(asked(house.stand_in())["prompt"], "Once upon");
}

#[test]
fn images_are_checked_before_a_model_sees_them() {
    let (house, mut session) = full(says("A dot."));
    let url = format!("data:image/png;base64,{PNG}");
    let part = json!({ "data": PNG, "mimeType": "image/png" });
    let arguments =
        json!({ "message": "What is it?", "images": [url, part], "model": "google/gemma-4-e4b" });
    let result = session.call("chat", &arguments);
    assert_eq!(result["content"][0]["text"], "A dot.", "{result}");
    assert_eq!(house.stand_in().last_chat().matches(&url).count(), 2);
    let chats = house.stand_in().counts().chats;
    for (images, said) in [
        (json!(["https://example.org/a.png"]), "$.images[0] must be a data URL"),
        (json!([url, "data:image/tiff;base64,AAAA"]), "$.images[1] must be one of image/png"),
        (json!([format!("data:image/jpeg;base64,{PNG}")]), "an image of the type that it names"),
        (json!(["data:image/png;base64,!!!!"]), "base64"),
        (json!(vec![&url; 9]), "at most 8"),
        (json!([{ "mimeType": "image/png", "data": "A".repeat(23_000_000) }]), "16777216 bytes"),
    ] {
        let refused = error(&session.call("chat", &json!({ "message": "?", "images": images })));
        assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(house.stand_in().counts().chats, chats, "nothing was asked");
}

#[test]
fn an_answer_by_a_schema_is_read_and_asked_for_once_more_when_it_is_none() {
    let schema = json!({
        "type": "object", "properties": { "mood": { "type": "string" } }, "required": ["mood"],
    });
    let arguments = json!({ "message": "How?", "json_schema": schema });
    let (house, mut session) = full(says("```json\n{\"mood\": \"good\"}\n```"));
    let result = session.call("chat", &arguments);
    assert_eq!(result["structuredContent"]["json"], json!({ "mood": "good" }), "{result}");
    let sent = asked(house.stand_in());
    assert_eq!(sent["response_format"]["json_schema"]["schema"], schema, "{sent}");
    assert_eq!(house.stand_in().counts().chats, 1);

    house.stand_in().play(says("{\"mood\": "));
    let refused = error(&session.call("chat", &arguments));
    assert_eq!(refused["error"]["code"], "SCHEMA_VIOLATION");
    assert_eq!(refused["error"]["details"]["partialText"], "{\"mood\": ");
    assert_eq!(house.stand_in().counts().chats, 3, "one try and one more");
    let told = error(&session.call("chat", &json!({ "message": "How?", "json_schema": "x" })));
    assert!(told["error"]["message"].as_str().unwrap().contains("$.json_schema"), "{told}");
}

#[test]
fn a_full_queue_of_a_model_server_is_told_by_it_and_who_waits_hears_the_place() {
    let house = Plan::new().stalling().places(1, 1).start();
    let mut first = house.client().open();
    first.initialize("2025-11-25");
    let running = first.begin_chat("runs");
    let soon = Duration::from_secs(20);
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, soon));
    let mut second = house.client().open();
    second.initialize("2025-11-25");
    let params = json!({
        "name": "chat", "arguments": { "message": "waits" }, "_meta": { "progressToken": "p" },
    });
    let waiting = second.begin("tools/call", &params);
    assert_eq!(second.message()["params"]["message"], "accepted");
    let told = second.message();
    assert_eq!(told["params"]["message"], "waiting, 1 before you", "{told}");
    let mut third = house.client().open();
    third.initialize("2025-11-25");
    // The log would come between a call and its result.
    third.ask("logging/setLevel", &json!({ "level": "error" }));
    let full = error(&third.call("chat", &json!({ "message": "too much" })));
    assert_eq!(full["error"]["code"], "QUEUE_FULL");
    assert_eq!(full["error"]["upstream"], "default", "{full}");
    assert_eq!(house.health()["calls"]["refused"], 0, "no lane was full");
    let status = third.call("server_status", &json!({}));
    let queue = &status["structuredContent"]["upstreams"][0]["queue"];
    assert_eq!(*queue, json!({ "running": 1, "waiting": 1 }), "{status}");
    house.stand_in().play(Script::default());
    house.stand_in().release();
    assert_eq!(first.message()["id"], running);
    let mut last = second.message();
    while last.get("id").is_none() {
        last = second.message();
    }
    assert_eq!(last["id"], waiting);
    assert!(last["result"].get("isError").is_none(), "{last}");
}

#[test]
fn the_files_defaults_hold_where_a_call_says_nothing() {
    let plan = Plan::new().with(|config| {
        config.generation.default_max_tokens = Some(7);
        config.generation.include_reasoning = true;
        config.model = Some("google/gemma-4-e4b".to_owned());
    });
    let script = Script {
        deltas: vec![Delta::ReasoningContent("Hm.".to_owned()), Delta::Content("Yes.".to_owned())],
        any_model: true,
        ..Script::default()
    };
    let house = plan.script(script).start();
    let mut session = open(&house);
    let result = session.call("chat", &json!({ "message": "Well?" }));
    assert_eq!(result["structuredContent"]["reasoning"], "Hm.", "{result}");
    let sent = asked(house.stand_in());
    let most = sent.get("max_tokens").or(sent.get("max_output_tokens"));
    assert_eq!((most, &sent["model"]), (Some(&json!(7)), &json!("google/gemma-4-e4b")), "{sent}");
}

#[test]
fn a_margin_is_taken_off_the_files_times_and_never_off_a_calls_own() {
    let plan = Plan::new().stalling().with(|config| {
        config.generation.default_timeout = Some(Duration::from_secs(3));
        config.generation.deadline_margin = Duration::from_secs(2);
    });
    let house = plan.start();
    std::thread::scope(|scope| {
        for (arguments, said) in [
            (json!({ "message": "a" }), "the 1 s of this call"),
            (json!({ "message": "a", "timeout_s": 2 }), "the 2 s of this call"),
        ] {
            let house = &house;
            scope.spawn(move || {
                let late = error(&open(house).call("chat", &arguments));
                assert_eq!(late["error"]["code"], "DEADLINE_NO_OUTPUT");
                let message = late["error"]["message"].as_str().unwrap();
                assert!(message.contains(said), "{message}");
            });
        }
    });
}

fn conversing(script: Script, change: impl FnOnce(Plan) -> Plan) -> (House, Session) {
    let plan = Plan::new().set("MCP_PROFILE", "full").script(script);
    let house = change(plan.with(|config| config.generation.conversations = true)).start();
    let session = open(&house);
    (house, session)
}

/// Another client of the same house.
fn open(house: &House) -> Session {
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    // The log would come between a call and its result.
    session.ask("logging/setLevel", &json!({ "level": "error" }));
    session
}

/// What was said in a conversation, as its resource tells.
fn turns(session: &mut Session, id: &str) -> Vec<String> {
    let uri = json!({ "uri": format!("local://conversations/{id}") });
    let read = session.ask("resources/read", &uri);
    let text = read["result"]["contents"][0]["text"].as_str().unwrap();
    let kept: Value = serde_json::from_str(text).unwrap();
    let said = kept["turns"].as_array().unwrap().iter();
    said.map(|it| it["content"].as_str().unwrap().to_owned()).collect()
}

fn begin(session: &mut Session, message: &str) -> String {
    let result = session.call("chat", &json!({ "message": message, "store": true }));
    result["structuredContent"]["conversation_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_kept_conversation_goes_on_at_lm_studio_and_elsewhere() {
    for (kind, goes_on) in [(Kind::LmStudio, "resp_02b2017dbc06"), (Kind::Generic, "First.")] {
        let (house, mut session) = conversing(Script { kind, ..says("Answer.") }, |plan| plan);
        let id = begin(&mut session, "First.");
        let arguments = json!({ "conversation_id": id, "message": "Second." });
        let result = session.call("continue_conversation", &arguments);
        assert_eq!(result["structuredContent"]["conversation_id"], id, "{result}");
        let sent = house.stand_in().last_chat();
        assert!(sent.contains(goes_on) && sent.contains("Second."), "{kind:?}: {sent}");
        assert_eq!(turns(&mut session, &id), ["First.", "Answer.", "Second.", "Answer."]);
        let templates = session.ask("resources/templates/list", &json!({}));
        assert_eq!(templates["result"]["resourceTemplates"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_conversation_is_its_principals_alone_and_has_limits() {
    let token = "k".repeat(40);
    let (house, mut session) = conversing(says("Answer."), |plan| {
        plan.set("MCP_TOKEN", &token).set("MCP_HOME_OPEN", "true").limits(|limits| {
            limits.conversations_max = 1;
            limits.conversation_bytes_max = 40;
        })
    });
    let id = begin(&mut session, "First.");
    let go_on = json!({ "conversation_id": id, "message": "And?" });
    let mut other = house.client().with_token(&token).open();
    other.initialize("2025-11-25");
    // The log would come between a call and its result.
    other.ask("logging/setLevel", &json!({ "level": "error" }));
    let refused = error(&other.call("continue_conversation", &go_on));
    assert!(refused["error"]["message"].as_str().unwrap().contains("is unknown"), "{refused}");
    let uri = json!({ "uri": format!("local://conversations/{id}") });
    assert!(other.ask("resources/read", &uri)["error"].is_object());
    assert!(session.call("continue_conversation", &go_on).get("isError").is_none());
    let long = json!({ "conversation_id": id, "message": "x".repeat(40) });
    let refused = error(&session.call("chat", &long));
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(said.contains("conversation_bytes_max (40 bytes)"), "{said}");
    begin(&mut session, "Another.");
    let forgotten = error(&session.call("chat", &go_on));
    assert!(forgotten["error"]["message"].as_str().unwrap().contains("forgotten"), "{forgotten}");
}

#[test]
fn a_second_turn_of_a_conversation_that_is_being_answered_is_refused_and_loses_nothing() {
    let (house, mut session) = conversing(says("Answer."), |plan| plan);
    let id = begin(&mut session, "First.");
    house.stand_in().play(Script { stall: Stall::BeforeFirst, ..says("Answer.") });
    let turn = |message: &str| json!({ "conversation_id": id, "message": message });
    let second = json!({ "name": "chat", "arguments": turn("Second.") });
    let running = session.begin("tools/call", &second);
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    let mut other = open(&house);
    for tool in ["chat", "continue_conversation"] {
        let refused = error(&other.call(tool, &turn("Third.")))["error"].clone();
        assert_eq!(refused["code"], "CONVERSATION_BUSY", "{refused}");
        assert_eq!(refused["retryable"], true);
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("conversation is busy"), "{message}");
    }
    // Another one is not.
    house.stand_in().play(says("Answer."));
    begin(&mut other, "Elsewhere.");
    house.stand_in().release();
    assert_eq!(session.message()["id"], running);
    // A turn that fails or is cancelled leaves it free as well.
    let fault = Fault::Body(500, "{}".to_owned());
    house.stand_in().play(Script { chat_fault: fault, ..Script::default() });
    error(&other.call("chat", &turn("Third.")));
    house.stand_in().play(says("Answer."));
    assert!(other.call("chat", &turn("Third.")).get("isError").is_none());
    assert_eq!(
        turns(&mut session, &id),
        ["First.", "Answer.", "Second.", "Answer.", "Third.", "Answer."]
    );
}

#[test]
fn what_lm_studios_own_chat_cannot_do_is_asked_the_other_way_with_all_turns() {
    for (name, value) in [("stop", json!(["END"])), ("temperature", json!(1.5)), ("seed", json!(7))]
    {
        let (house, mut session) = conversing(says("Answer."), |plan| plan);
        let id = begin(&mut session, "First.");
        let mut second = json!({ "conversation_id": id, "message": "Second." });
        second[name] = value.clone();
        let result = session.call("chat", &second);
        assert!(result.get("isError").is_none(), "{name}: {result}");
        let sent = asked(house.stand_in());
        assert_eq!(sent[name], value, "{sent}");
        let said: Vec<_> =
            sent["messages"].as_array().unwrap().iter().map(|it| &it["content"]).collect();
        assert_eq!(said, ["First.", "Answer.", "Second."]);
        // LM Studio has not heard of this turn, so the next one brings everything along.
        session.call("chat", &json!({ "conversation_id": id, "message": "Third." }));
        assert_eq!(asked(house.stand_in())["messages"].as_array().unwrap().len(), 5);
        assert_eq!(turns(&mut session, &id).len(), 6);
    }
}

#[test]
fn images_that_are_not_sent_again_are_told() {
    let (_house, mut session) = conversing(says("Answer."), |plan| plan);
    let url = format!("data:image/png;base64,{PNG}");
    let first = json!({
        "message": "What is it?", "images": [url], "store": true, "model": "google/gemma-4-e4b",
    });
    let id = session.call("chat", &first)["structuredContent"]["conversation_id"].clone();
    let mut second = json!({ "conversation_id": id, "message": "And?" });
    let remembered = session.call("chat", &second)["structuredContent"]["warnings"].clone();
    assert_eq!(remembered, json!([]));
    second["stop"] = json!(["END"]);
    let told = session.call("chat", &second)["structuredContent"]["warnings"].clone();
    assert!(told[0].as_str().unwrap().contains("images of earlier turns"), "{told}");
}

#[test]
fn a_model_server_that_completes_no_texts_is_told_as_such() {
    for (kind, status, body) in [
        (Kind::Generic, 404, r#"{"detail":"Not Found"}"#),
        (Kind::Generic, 404, "<html>not found</html>"),
        (Kind::Vllm, 405, r#"{"error":{"message":"Method Not Allowed"}}"#),
        (Kind::LlamaCpp, 501, r#"{"error":{"message":"Not implemented"}}"#),
        (
            Kind::LmStudio,
            200,
            r#"{"error":"Unexpected endpoint or method. (POST /v1/completions)"}"#,
        ),
    ] {
        let chat_fault = Fault::Body(status, body.to_owned());
        let (_house, mut session) = full(Script { kind, chat_fault, ..Script::default() });
        let failed = error(&session.call("complete", &json!({ "prompt": "Once" })));
        assert_eq!(failed["error"]["code"], "NOT_SUPPORTED_BY_UPSTREAM", "{failed}");
        let message = failed["error"]["message"].as_str().unwrap();
        assert!(message.contains("completing a text (/v1/completions)"), "{message}");
        // A chat that meets the same is another matter.
        if status == 404 {
            let failed = error(&session.call("chat", &json!({ "message": "Once" })));
            assert_eq!(failed["error"]["code"], "BAD_REQUEST", "{failed}");
        }
    }
    // A model that is not there is not a path that is not there.
    let (_house, mut session) = full(Script { kind: Kind::Ollama, ..Script::default() });
    let unknown = json!({ "prompt": "Once", "model": "gpt-4" });
    assert_eq!(error(&session.call("complete", &unknown))["error"]["code"], "MODEL_NOT_FOUND");
}

#[test]
fn what_goes_on_with_kept_conversations_is_listed_only_where_they_are_kept() {
    for (kept, listed) in [(false, 0), (true, 2)] {
        let names = ["+continue_conversation", "+start_conversation"].join(",");
        let plan = Plan::new().set("MCP_PROFILE", "full").set("MCP_TOOLS", &names);
        let plan = if kept { plan.with(|it| it.generation.conversations = true) } else { plan };
        let house = plan.start();
        let tools = open(&house).ask("tools/list", &json!({}))["result"]["tools"].clone();
        let all = tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap());
        let found = all.filter(|name| name.ends_with("_conversation")).count();
        assert_eq!(found, listed, "{kept}");
    }
}

#[test]
fn a_conversation_that_nobody_used_is_forgotten_and_without_the_setting_none_is_kept() {
    let (_house, mut session) =
        conversing(says("A."), |plan| plan.limits(|limits| limits.conversation_idle_s_max = 0));
    let id = begin(&mut session, "First.");
    let refused = error(&session.call("chat", &json!({ "message": "?", "conversation_id": id })));
    assert_eq!(refused["error"]["code"], "INVALID_ARGUMENT");
    let (_house, mut session) = full(says("A."));
    let refused = error(&session.call("chat", &json!({ "message": "?", "store": true })));
    assert!(refused["error"]["message"].as_str().unwrap().contains("conversations = \"on\""));
}

#[test]
fn a_conversation_that_lm_studio_has_forgotten_is_told_again_in_whole() {
    let (house, mut session) = conversing(says("Answer."), |plan| plan);
    let id = begin(&mut session, "First.");
    let body = json!({ "error": { "message": "previous_response_not_found", "code": "x" } });
    let fault = Fault::Body(400, body.to_string());
    house.stand_in().play(Script { chat_fault: fault, ..Script::default() });
    let go_on = json!({ "conversation_id": id, "message": "Second." });
    error(&session.call("chat", &go_on));
    house.stand_in().play(says("Again."));
    let result = session.call("chat", &go_on);
    assert_eq!(result["content"][0]["text"], "Again.", "{result}");
    assert!(house.stand_in().last_chat().contains("First."));
}
