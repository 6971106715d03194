//! The real binary as a desktop app starts it: messages on stdin, answers on stdout.

#![expect(clippy::indexing_slicing, reason = "a test may fail here")]

use std::net::{Ipv4Addr, TcpListener};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::scratch::eventually;
use crate::support::client::SOON;
use crate::support::served::Served;
use crate::support::stand_in::{Script, Stall, StandIn};

fn idle() -> StandIn {
    StandIn::start(Script::default())
}

fn stalling() -> StandIn {
    StandIn::start(Script { stall: Stall::BeforeFirst, ..Script::default() })
}

/// The parameters of a request that stands alone.
fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    params
}

#[test]
fn a_handshake_a_list_and_a_call() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    assert_eq!(served.initialize("2025-06-18")["protocolVersion"], "2025-06-18");
    let tools = served.ask(1, "tools/list", &json!({}));
    assert!(tools["result"]["tools"].as_array().unwrap().iter().any(|it| it["name"] == "chat"));
    served.begin_chat(2);
    let reply = served.next();
    assert_eq!(reply["id"], 2, "{reply}");
    assert!(reply["result"]["content"][0]["text"].as_str().unwrap().contains("hello"), "{reply}");
    let words = served.until_said("upstream");
    assert!(words.contains("on stdin and stdout"), "{words}");
    assert!(!served.scratch.names().iter().any(|name| name.contains("pem")));
}

#[test]
fn a_slow_call_delays_no_ping_and_its_answer_comes_later() {
    let stand_in = stalling();
    let mut served = Served::start(&stand_in, &[]);
    served.initialize("2025-11-25");
    served.begin_chat(1);
    assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
    assert_eq!(served.ask(2, "ping", &json!({}))["result"], json!({}));
    let arguments = json!({ "name": "list_models", "arguments": {} });
    served.ask(3, "tools/call", &arguments);
    stand_in.release();
    assert_eq!(served.next()["id"], 1);
}

#[test]
fn a_cancelled_call_is_closed_upstream_and_never_answered() {
    let stand_in = stalling();
    let mut served = Served::start(&stand_in, &[]);
    served.initialize("2025-11-25");
    served.begin_chat(1);
    assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
    served.notify("notifications/cancelled", &json!({ "requestId": 1 }));
    assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON));
    served.ask(2, "ping", &json!({}));
    served.close();
    assert_eq!(served.end(), (Some(0), Vec::new()));
}

#[test]
fn a_quick_call_that_waits_on_the_model_server_is_cancelled_at_once() {
    let stand_in = StandIn::start(Script { stall: Stall::BeforeHead, ..Script::default() });
    let mut served = Served::start(&stand_in, &[]);
    served.initialize("2025-11-25");
    served.begin(1, "tools/call", &json!({ "name": "list_models", "arguments": {} }));
    served.ask(2, "ping", &json!({}));
    served.notify("notifications/cancelled", &json!({ "requestId": 1 }));
    served.ask(3, "ping", &json!({}));
    served.close();
    assert_eq!(served.end(), (Some(0), Vec::new()));
}

#[test]
fn a_client_may_ask_for_discovery_first_and_shake_hands_then() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    let refused = served.ask(1, "server/discover", &json!({}));
    assert_eq!(refused["error"]["code"], -32601);
    assert_eq!(served.ask(2, "frobnicate", &json!({}))["error"]["code"], -32601);
    // An envelope that says nothing useful does not make an initialize modern.
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {},
        "_meta": { "io.modelcontextprotocol/protocolVersion": 7 },
    });
    let reply = served.ask(3, "initialize", &params);
    assert_eq!(reply["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn requests_that_stand_alone_are_served_beside_a_handshake() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    let found = served.ask(1, "server/discover", &modern(json!({})));
    assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
    served.initialize("2025-03-26");
    let call = json!({ "name": "list_models", "arguments": {} });
    let reply = served.ask(2, "tools/call", &modern(call));
    assert_eq!(reply["result"]["resultType"], "complete", "{reply}");
    let mut unknown = modern(json!({}));
    unknown["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    assert_eq!(served.ask(3, "tools/list", &unknown)["error"]["code"], -32022);
    let empty = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } });
    assert_eq!(served.ask(4, "tools/list", &empty)["error"]["code"], -32602);
}

#[test]
fn a_listener_is_acknowledged_first_and_ends_when_it_is_cancelled() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    let wanted = modern(json!({ "notifications": { "toolsListChanged": true } }));
    served.begin(1, "subscriptions/listen", &wanted);
    let first = served.next();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    let about = &first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(*about, json!(1));
    let again = served.ask(1, "subscriptions/listen", &wanted);
    assert_eq!(again["error"]["code"], -32600);
    served.notify("notifications/cancelled", &json!({ "requestId": 1 }));
    served.begin(2, "subscriptions/listen", &wanted);
    served.next();
    served.close();
    let (code, rest) = served.end();
    assert_eq!((code, rest.len()), (Some(0), 1), "{rest:?}");
    let last = &rest[0];
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!(2), &json!("complete")));
}

#[test]
fn models_that_come_and_go_are_announced_with_and_without_a_handshake() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    served.initialize("2025-11-25");
    served.ask(1, "resources/read", &json!({ "uri": "local://models" }));
    // With a subscription, the next look is a few seconds away.
    let wanted = modern(json!({ "notifications": {
        "resourcesListChanged": true, "resourceSubscriptions": ["local://usage"]
    } }));
    served.begin(2, "subscriptions/listen", &wanted);
    assert_eq!(served.next()["method"], "notifications/subscriptions/acknowledged");
    drop(stand_in);
    let told = [served.next(), served.next()];
    let about = "/params/_meta/io.modelcontextprotocol~1subscriptionId";
    let mut subscriptions: Vec<_> = told.iter().map(|it| it.pointer(about).is_some()).collect();
    subscriptions.sort_unstable();
    assert_eq!(subscriptions, [false, true], "{told:?}");
    for told in told {
        assert_eq!(told["method"], "notifications/resources/list_changed", "{told}");
    }
}

#[test]
fn what_is_no_message_is_answered_and_the_next_one_is_served() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    served.write("\r\n  \n{not json}\r\n");
    let refused = served.next();
    assert_eq!(refused["error"]["code"], -32700);
    assert!(refused.get("id").is_none(), "{refused}");
    served.write("7\n[1]\n");
    assert_eq!(served.next()["error"]["code"], -32600);
    assert_eq!(served.next()["error"]["code"], -32600);
    served.write("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n");
    assert_eq!(served.next(), json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
}

#[test]
fn a_line_over_the_limit_is_refused_by_name_and_dropped_to_its_end() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    let piece = "x".repeat(1 << 20);
    for _ in 0..33 {
        served.write(&piece);
    }
    let refused = served.next();
    assert!(refused["error"]["message"].as_str().unwrap().contains("body_bytes_max"), "{refused}");
    served.write("\"}\n");
    served.ask(1, "ping", &json!({}));
}

#[test]
fn batches_are_of_2025_03_26_alone() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    let ping = |id| json!({ "jsonrpc": "2.0", "id": id, "method": "ping" });
    let batch = json!([ping(1), { "jsonrpc": "2.0", "id": 2 }, ping(3)]);
    served.send(&batch);
    assert_eq!(served.next()["error"]["code"], -32600);
    served.initialize("2025-03-26");
    served.send(&batch);
    let replies = [served.next(), served.next(), served.next()];
    assert_eq!(replies.each_ref().map(|it| it["id"].clone()), [json!(1), json!(2), json!(3)]);
    assert_eq!(replies[1]["error"]["code"], -32600);
}

#[test]
fn a_client_that_leaves_gets_its_quick_answers_and_stops_what_generates() {
    let stand_in = stalling();
    let mut served = Served::start(&stand_in, &[]);
    served.initialize("2025-11-25");
    served.begin_chat(1);
    assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
    served.begin(2, "tools/call", &json!({ "name": "list_models", "arguments": {} }));
    // Without its end, as some programs leave their last line.
    served.write(&json!({ "jsonrpc": "2.0", "id": 3, "method": "ping" }).to_string());
    served.close();
    let (code, rest) = served.end();
    assert_eq!(code, Some(0));
    let mut ids: Vec<u64> = rest.iter().map(|message| message["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 3], "{rest:?}");
    assert_eq!(stand_in.counts().aborted, 1);
}

#[test]
fn more_requests_than_fit_the_queue_are_all_answered() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    for id in 0..900 {
        served.begin(id, "ping", &json!({}));
    }
    for id in 0..900 {
        assert_eq!(served.next()["id"], id);
    }
}

#[test]
fn a_closed_stdout_ends_the_program() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[]);
    served.ask(1, "ping", &json!({}));
    served.close_output();
    let ping = format!("{}\n", json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }));
    eventually("the program notices", || {
        drop(served.try_write(&ping));
        served.child.try_wait().unwrap().is_some()
    });
    assert_eq!(served.end().0, Some(0));
}

#[test]
fn both_serve_the_same_house_and_end_with_the_program_that_started_them() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[("MCP_TRANSPORT", "http,stdio")]);
    let words = served.until_said("upstream");
    assert!(words.contains("http://localhost:"), "{words}");
    served.initialize("2025-11-25");
    served.close();
    assert_eq!(served.end(), (Some(0), Vec::new()));
}

#[test]
fn an_empty_input_leaves_the_network_alone() {
    let stand_in = idle();
    let mut served = Served::start(&stand_in, &[("MCP_TRANSPORT", "http,stdio")]);
    served.close();
    let words = served.until_said("stdin is empty");
    let port = words.split("http://localhost:").nth(1).unwrap().split('/').next().unwrap();
    let address = (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into();
    let health = crate::support::client::Client::plain(address).get("/health");
    assert_eq!(health.status, 200);
}

#[test]
fn a_taken_port_leaves_stdio_alone() {
    let stand_in = idle();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut served = Served::start(&stand_in, &[("MCP_TRANSPORT", "dual"), ("PORT", &port)]);
    let words = served.until_said("only the program that started this one is served");
    assert!(words.contains(&port) && words.contains("--port"), "{words}");
    served.initialize("2025-11-25");
    served.close();
    assert_eq!(served.end(), (Some(0), Vec::new()));
}

#[test]
fn a_taken_port_and_an_empty_input_are_a_failure() {
    let stand_in = idle();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut served = Served::start(&stand_in, &[("MCP_TRANSPORT", "dual"), ("PORT", &port)]);
    served.close();
    assert_eq!(served.end(), (Some(1), Vec::new()));
}

#[test]
fn a_signal_ends_it_under_an_open_input() {
    let stand_in = stalling();
    let mut served = Served::start(&stand_in, &[]);
    served.initialize("2025-11-25");
    served.begin_chat(1);
    assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
    kill_process(Pid::from_child(&served.child), Signal::TERM).unwrap();
    assert_eq!(served.end(), (Some(0), Vec::new()));
    assert!(stand_in.wait_for(|counts| counts.aborted == 1, SOON));
}
