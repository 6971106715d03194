//! The protocol as a client of HTTP+SSE sees it: negotiation, tools, calls, progress, cancelling.

#![expect(clippy::indexing_slicing, reason = "a test may fail here")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{SOON, Session};
use crate::support::house::Plan;
use crate::support::stand_in::{Delta, Script, Stall};

const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[test]
fn initialize_keeps_every_revision_and_answers_any_other_with_the_newest() {
    let house = Plan::new().start();
    for revision in REVISIONS {
        let result = house.client().open().initialize(revision);
        assert_eq!(result["protocolVersion"], revision);
        assert_eq!(result["serverInfo"]["name"], "local-llm-mcp");
        assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(result["serverInfo"].get("title").is_some(), revision >= "2025-06-18");
        assert!(result["capabilities"]["tools"].is_object(), "{result}");
    }
    for other in ["2024-10-07", "2026-07-28", "1.0", ""] {
        let result = house.client().open().initialize(other);
        assert_eq!(result["protocolVersion"], "2025-11-25", "{other}");
    }
    let without = house.client().open().ask("initialize", &json!({ "capabilities": {} }));
    assert_eq!(without["error"]["code"], -32602);
}

#[test]
fn each_revision_gets_the_fields_it_knows_and_no_others() {
    let house = Plan::new().start();
    for revision in REVISIONS {
        let mut session = house.client().open();
        session.initialize(revision);
        let annotated = revision >= "2025-03-26";
        let structured = revision >= "2025-06-18";
        let tools = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
        for tool in tools.as_array().unwrap() {
            for (member, known) in [
                ("name", true),
                ("description", true),
                ("annotations", annotated),
                ("title", structured),
                ("outputSchema", structured),
            ] {
                assert_eq!(tool.get(member).is_some(), known, "{revision}: {member} of {tool}");
            }
            assert_eq!(tool["inputSchema"]["type"], "object");
        }
        let result = session.call("list_models", &json!({}));
        assert_eq!(result["content"][0]["type"], "text");
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text["summary"]["total"], 3, "{text}");
        let beside = result.get("structuredContent");
        assert_eq!(beside, structured.then_some(&text), "{revision}");
    }
}

#[test]
fn an_id_comes_back_with_its_type() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    for id in ["0", "-7", "18446744073709551615", "-9223372036854775808", "\"7\"", "\"\"", "\"é\""]
    {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(session.post(&body).status, 202, "{id}");
        // A ping's result has no member at all.
        assert_eq!(
            session.raw_message(),
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        );
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"chat"}}}}"#
        );
        assert_eq!(session.post(&call).status, 202, "{id}");
        let reply = session.raw_message();
        assert!(reply.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#)), "{reply}");
    }
}

#[test]
fn the_list_of_tools_is_always_the_same_and_has_one_page() {
    let house = Plan::new().start();
    let list = |session: &mut Session| session.ask("tools/list", &json!({}))["result"].clone();
    let mut session = house.client().open();
    let first = list(&mut session);
    assert!(first.get("nextCursor").is_none(), "{first}");
    assert_eq!(list(&mut session), first);
    assert_eq!(list(&mut house.client().open()), first);
    let reply = session.ask("tools/list", &json!({ "cursor": "2" }));
    assert_eq!(reply["error"]["code"], -32602);
}

/// Whether a `type` anywhere in a schema is a list of types.
fn has_type_list(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            members.get("type").is_some_and(Value::is_array) || members.values().any(has_type_list)
        }
        Value::Array(entries) => entries.iter().any(has_type_list),
        _ => false,
    }
}

#[test]
fn no_schema_names_several_types_at_once_which_some_clients_cannot_map() {
    let plan = Plan::new().set("MCP_PROFILE", "full").with(|config| {
        config.generation.conversations = true;
        config.tools.aliases = vec!["lmstudio-mcp".to_owned()];
    });
    let house = plan.start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let tools = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
    assert_eq!(tools.as_array().unwrap().len(), 17 + 6);
    for tool in tools.as_array().unwrap() {
        for part in ["inputSchema", "outputSchema"] {
            assert!(tool[part].is_object() && !has_type_list(&tool[part]), "{part} of {tool}");
        }
    }
}

#[test]
fn what_is_not_there_is_a_protocol_error_on_the_stream() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let call = |arguments: Value| ("tools/call", arguments);
    for ((method, params), code) in [
        (("nonsense", json!({})), -32601),
        // Its result would lure clients into the stateless revision, which this stream has not.
        (("server/discover", json!({})), -32601),
        (("resources/read", json!({ "uri": "local://nothing" })), -32002),
        (("Ping", json!({})), -32601),
        (call(json!({ "name": "no_such_tool" })), -32602),
        (call(json!({ "name": 7 })), -32602),
        (call(json!({})), -32602),
        (call(json!({ "name": "chat", "arguments": [] })), -32602),
        (call(json!({ "name": "chat", "_meta": { "progressToken": 1.5 } })), -32602),
    ] {
        let reply = session.ask(method, &params);
        assert_eq!(reply["error"]["code"], code, "{method} {params}: {reply}");
        assert!(reply.get("result").is_none(), "{reply}");
    }
    // Unknown notifications and answers to nothing pass in silence.
    session.notify("notifications/nonsense", &json!({}));
    session.cancel(99);
    session.send(&json!({ "jsonrpc": "2.0", "id": 5, "result": {} }));
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
}

#[test]
fn a_call_may_leave_its_arguments_out() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    for params in [
        json!({ "name": "list_models" }),
        json!({ "name": "list_models", "arguments": null }),
        json!({ "name": "list_models", "arguments": {} }),
    ] {
        let reply = session.ask("tools/call", &params);
        assert!(reply["result"].get("isError").is_none(), "{reply}");
    }
    // What the model can mend is a result, not a protocol error.
    let result = session.call("chat", &json!({}));
    assert_eq!(result["isError"], true);
    assert!(result["content"][0]["text"].as_str().unwrap().contains("message"), "{result}");
}

#[test]
fn a_batch_is_taken_in_2025_03_26_and_nowhere_else() {
    let house = Plan::new().start();
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},
        {"jsonrpc":"2.0","method":"notifications/initialized"},
        {"jsonrpc":"2.0","id":2},
        {"jsonrpc":"2.0","id":"3","method":"tools/list"}]"#;
    for revision in REVISIONS {
        let mut session = house.client().open();
        session.initialize(revision);
        let got = session.post(batch);
        if revision == "2025-03-26" {
            assert_eq!(got.status, 202);
            assert_eq!(session.message()["id"], 1);
            let wrong = session.message();
            assert_eq!((&wrong["id"], &wrong["error"]["code"]), (&json!(2), &json!(-32600)));
            assert_eq!(session.message()["id"], "3");
        } else {
            let answer = got.json();
            assert_eq!((got.status, &answer["error"]["code"]), (400, &json!(-32600)), "{revision}");
            assert!(answer.get("id").is_none(), "{answer}");
        }
        assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    }
}

#[test]
fn a_second_request_with_an_id_in_flight_is_refused_and_the_first_goes_on() {
    let house = Plan::new().stalling().start();
    let mut session = house.client().open();
    let chat = json!({ "name": "chat", "arguments": { "message": "hi" } });
    let request = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": chat });
    session.send(&request);
    session.send(&request);
    let refused = session.message();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("a"), &json!(-32600)));
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    house.stand_in().release();
    let answered = session.message();
    assert_eq!(answered["id"], "a");
    assert!(answered["result"]["content"][0]["text"].as_str().unwrap().ends_with("hi"));
    assert_eq!(house.stand_in().counts().chats, 1);
    // Answered, the id is free again.
    session.send(&request);
    assert!(session.message()["result"].is_object());
}

#[test]
fn progress_rises_with_the_token_that_asked_and_ends_before_the_result() {
    let script = Script {
        deltas: vec![Delta::Content("word ".to_owned()); 5],
        pace: Some(Duration::from_millis(260)),
        ..Script::default()
    };
    let house = Plan::new().script(script).start();
    // One session each, at the same time.
    std::thread::scope(|scope| {
        for token in [json!(7), json!("7"), json!("")] {
            let client = house.client();
            scope.spawn(move || {
                let mut session = client.open();
                session.initialize("2025-03-26");
                let progress = progress_of(&mut session, Some(&token));
                assert!(progress.len() >= 3, "{progress:?}");
                let value = |params: &Value| params["progress"].as_f64().unwrap();
                assert!(progress.windows(2).all(|two| value(&two[0]) < value(&two[1])));
                assert!(progress.iter().all(|params| params["progressToken"] == token));
                assert!(progress.iter().all(|params| params["message"].is_string()));
            });
        }
        let (without, old) = (house.client(), house.client());
        scope.spawn(move || assert_eq!(progress_of(&mut without.open(), None), [] as [Value; 0]));
        scope.spawn(move || {
            let mut session = old.open();
            session.initialize("2024-11-05");
            let progress = progress_of(&mut session, Some(&json!(1)));
            // The revision has no words in it.
            assert!(progress.iter().all(|params| params.get("message").is_none()), "{progress:?}");
        });
    });
}

/// The parameters of every progress notification of one chat; none follows its result.
fn progress_of(session: &mut Session, token: Option<&Value>) -> Vec<Value> {
    let mut params = json!({ "name": "chat", "arguments": { "message": "hi" } });
    if let Some(token) = token {
        params["_meta"] = json!({ "progressToken": token });
    }
    let id = session.begin("tools/call", &params);
    let mut progress = Vec::new();
    loop {
        let mut message = session.message();
        if message["method"] == "notifications/progress" {
            progress.push(message["params"].take());
        } else {
            assert_eq!(message["id"], id);
            assert!(message["result"].get("isError").is_none(), "{message}");
            assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
            return progress;
        }
    }
}

#[test]
fn a_cancelled_generation_ends_within_a_second_and_is_never_answered() {
    // One thread for generations: the next one runs when the cancelled one is through.
    let house = Plan::new().stalling().alone().start();
    let mut session = house.client().open();
    let cancelled = session.begin_chat("one");
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    session.cancel(cancelled);
    let limit = Duration::from_secs(1);
    assert!(house.stand_in().wait_for(|counts| counts.aborted == 1, limit));
    house.stand_in().release();
    let next = session.begin_chat("two");
    assert_eq!(session.message()["id"], next);
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    assert_eq!(house.health()["upstream"]["last_error"], Value::Null, "cancelling is no failure");
}

#[test]
fn a_cancel_right_behind_its_call_is_never_lost() {
    let house = Plan::new().stalling().alone().start();
    let mut session = house.client().open();
    session.initialize("2025-03-26");
    // A batch gives the other worker time to overtake.
    let list = json!({ "jsonrpc": "2.0", "id": "l", "method": "tools/list" });
    let chat = json!({ "name": "chat", "arguments": { "message": "never mind" } });
    let call = json!({ "jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": chat });
    let mut batch = vec![list; 40];
    batch.push(call);
    for id in 0..5 {
        batch[40]["id"] = id.into();
        session.send(&json!(batch));
        session.notify("notifications/cancelled", &json!({ "requestId": id }));
        for _ in 0..40 {
            assert_eq!(session.message()["id"], "l");
        }
        crate::scratch::eventually("it has ended", || {
            let counts = house.stand_in().counts();
            counts.started == counts.aborted
        });
    }
    // Any that went on would hold the only thread.
    session.begin_chat("last");
    crate::scratch::eventually("the last one runs", || {
        house.stand_in().last_chat().contains("last")
    });
}

#[test]
fn another_session_cannot_cancel_a_call() {
    let house = Plan::new().stalling().start();
    let (mut one, mut other) = (house.client().open(), house.client().open());
    let id = one.begin_chat("hi");
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    other.cancel(id);
    one.notify("notifications/cancelled", &json!({ "requestId": id.to_string() }));
    one.notify("notifications/cancelled", &json!({}));
    assert_eq!(other.ask("ping", &json!({}))["result"], json!({}));
    house.stand_in().release();
    assert_eq!(one.message()["id"], id);
    assert_eq!(house.stand_in().counts().aborted, 0);
}

#[test]
fn a_call_cancelled_while_it_waits_never_reaches_the_upstream() {
    let house = Plan::new().stalling().alone().start();
    let mut session = house.client().open();
    let running = session.begin_chat("runs");
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    let waiting: Vec<u64> = (0..5).map(|_| session.begin_chat("waits")).collect();
    let mut gone = house.client().open();
    gone.begin_chat("leaves");
    drop(gone);
    crate::scratch::eventually("it left", || house.health()["sessions"]["open"] == 1);
    for id in &waiting[..4] {
        session.cancel(*id);
    }
    house.stand_in().release();
    assert_eq!(session.message()["id"], running);
    assert_eq!(session.message()["id"], waiting[4]);
    assert_eq!(house.stand_in().counts().chats, 2);
}

#[test]
fn a_full_lane_is_a_result_that_names_the_limit_and_delays_nothing_else() {
    let full = |limits: &mut local_llm_mcp::config::Limits| {
        limits.calls_waiting_max = 1;
    };
    let house = Plan::new().stalling().alone().limits(full).start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let running = session.begin_chat("runs");
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    let waiting = session.begin_chat("waits");
    // A POST is answered before its call is begun.
    let deadline = Instant::now() + SOON;
    while house.health()["calls"]["started"] != 2 {
        assert!(Instant::now() < deadline, "the second call was not begun");
    }
    let result = session.call("chat", &json!({ "message": "too much" }));
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("calls_waiting_max"), "{text}");
    let data: Value = serde_json::from_str(result["content"][1]["text"].as_str().unwrap()).unwrap();
    assert_eq!(data["error"]["code"], "QUEUE_FULL");
    assert!(result.get("structuredContent").is_none(), "{result}");

    let begun = Instant::now();
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    assert!(session.call("list_models", &json!({})).get("isError").is_none());
    let health = house.health();
    assert_eq!((&health["status"], &health["calls"]["refused"]), (&json!("ok"), &json!(1)));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    house.stand_in().release();
    assert_eq!(session.message()["id"], running);
    assert_eq!(session.message()["id"], waiting);
}

#[test]
fn listings_that_stall_keep_no_ping_no_cancel_and_no_health_waiting() {
    let script = Script { stall: Stall::BeforeHead, ..Script::default() };
    let house = Plan::new().script(script).start();
    let mut sessions: Vec<Session> = (0..20).map(|_| house.client().open()).collect();
    let list = json!({ "name": "list_models" });
    let ids: Vec<u64> =
        sessions.iter_mut().map(|session| session.begin("tools/call", &list)).collect();
    assert!(house.stand_in().wait_for(|counts| counts.stalled > 0, SOON));
    for (session, id) in sessions.iter_mut().zip(ids) {
        assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
        session.cancel(id);
    }
    assert_eq!(house.health()["status"], "ok");
    house.stand_in().release();
    for session in &mut sessions {
        assert!(session.call("list_models", &json!({})).get("isError").is_none());
    }
}

#[test]
fn twenty_sessions_calling_at_once_each_get_their_own_answer() {
    let house = Plan::new().places(4, 16).start();
    std::thread::scope(|scope| {
        for n in 0..20 {
            let client = house.client();
            scope.spawn(move || {
                let mut session = client.open();
                session.initialize(REVISIONS[n % REVISIONS.len()]);
                for round in 0..3 {
                    let words = format!("I am {n} in round {round}");
                    let result = session.call("chat", &json!({ "message": words }));
                    let text = result["content"][0]["text"].as_str().unwrap();
                    assert!(text.ends_with(&format!("You said: {words}")), "{text}");
                    assert!(session.call("list_models", &json!({})).get("isError").is_none());
                }
            });
        }
    });
    let counts = house.stand_in().counts();
    assert_eq!((counts.chats, counts.finished, counts.aborted), (60, 60, 0));
}
