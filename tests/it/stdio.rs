//! The real binary as a desktop app starts it: messages on stdin, answers on stdout.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail here"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::scratch::{Scratch, eventually};
use crate::support::client::SOON;
use crate::support::program::exit_code;
use crate::support::stand_in::{Script, Stall, StandIn};

/// The program with its three pipes; killed when dropped.
struct Served {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Receiver<String>,
    scratch: Scratch,
}

impl Served {
    fn start(stand_in: &StandIn, variables: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-llm-mcp"));
        command.env_clear().current_dir(scratch.path()).envs([
            ("MCP_TRANSPORT", "stdio"),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("MCP_STATE_DIR", "."),
        ]);
        command.env("LM_STUDIO_URL", stand_in.url()).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = listen(child.stdout.take().unwrap());
        let said = listen(child.stderr.take().unwrap());
        let input = child.stdin.take();
        Self { child, input, lines, said, scratch }
    }

    fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn send(&mut self, message: &Value) {
        self.write(&format!("{message}\n"));
    }

    fn begin(&mut self, id: u64, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }

    fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(SOON).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn ask(&mut self, id: u64, method: &str, params: &Value) -> Value {
        self.begin(id, method, params);
        let reply = self.next();
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    fn initialize(&mut self, version: &str) -> Value {
        let params = json!({ "protocolVersion": version, "capabilities": {} });
        let reply = self.ask(0, "initialize", &params);
        self.notify("notifications/initialized", &json!({}));
        reply["result"].clone()
    }

    fn begin_chat(&mut self, id: u64) {
        let arguments = json!({ "message": "hello" });
        self.begin(id, "tools/call", &json!({ "name": "chat", "arguments": arguments }));
    }

    fn until_said(&self, words: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut all = String::new();
        loop {
            match self.said.recv_deadline(deadline) {
                Ok(line) => all = format!("{all}{line}\n"),
                Err(error) => panic!("{error}: no {words:?} in\n{all}"),
            }
            if all.contains(words) {
                return all;
            }
        }
    }

    fn close(&mut self) {
        drop(self.input.take());
    }

    /// Waits for its end and returns the exit code with the lines that were still on stdout.
    fn end(&mut self) -> (Option<i32>, Vec<String>) {
        let code = exit_code(&mut self.child);
        let deadline = Instant::now() + SOON;
        (code, std::iter::from_fn(|| self.lines.recv_deadline(deadline).ok()).collect())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn listen(pipe: impl Read + Send + 'static) -> Receiver<String> {
    // Full: the program's words wait in their pipe. Reader: the test.
    let (say, lines) = bounded(1000);
    let read = move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                break;
            }
        }
    };
    drop(local_llm_mcp::worker::start("pipe", 64 * 1024, read).unwrap());
    lines
}

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
    let last: Value = serde_json::from_str(&rest[0]).unwrap();
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!(2), &json!("complete")));
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
    let mut ids: Vec<u64> = rest
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
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
    // The reading thread ends with its channel, and the pipe with it.
    served.lines = bounded(0).1;
    let ping = format!("{}\n", json!({ "jsonrpc": "2.0", "id": 2, "method": "ping" }));
    eventually("the program notices", || {
        drop(served.input.as_mut().unwrap().write_all(ping.as_bytes()));
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
