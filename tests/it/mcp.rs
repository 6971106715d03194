//! `/mcp` as clients of both eras see it, on the wire.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail here")]

use local_llm_mcp::auth::Store;
use serde_json::{Value, json};

use crate::scratch::eventually;
use crate::support::client::{Client, End, Got, JSON, SOON, Stream};
use crate::support::house::{House, Plan};
use crate::support::program::{Program, Url};
use crate::support::stand_in::{Delta, Script, Stall, StandIn};

const MODERN: &str = "2026-07-28";
const BOTH: &str = "Accept: application/json, text/event-stream\r\n";

/// A conversation with a session.
struct Talk {
    client: Client,
    id: String,
    asked: u64,
}

impl Talk {
    fn open(client: &Client, version: &str) -> Self {
        let params = json!({ "protocolVersion": version, "capabilities": {} });
        let body = request(0, "initialize", &params);
        let got = client.ask("POST", "/mcp", &format!("{JSON}{BOTH}"), &body);
        assert_eq!(got.status, 200, "{}", got.text());
        assert_eq!(got.json()["result"]["protocolVersion"], version);
        let id = got.field("mcp-session-id").unwrap().to_owned();
        let talk = Self { client: client.clone(), id, asked: 0 };
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(talk.post(&note.to_string()).status, 202);
        talk
    }

    fn fields(&self) -> String {
        format!("{JSON}{BOTH}Mcp-Session-Id: {}\r\n", self.id)
    }

    fn post(&self, body: &str) -> Got {
        self.client.ask("POST", "/mcp", &self.fields(), body)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let got = self.post(&request(self.asked, method, params));
        assert_eq!(got.status, 200, "{}", got.text());
        assert_eq!(got.json()["id"], self.asked);
        got.json()
    }

    fn stream(&self, body: &str) -> Stream {
        self.client.stream("POST", "/mcp", &self.fields(), body)
    }

    fn get(&self, more: &str) -> Stream {
        let fields = format!("{}{more}", self.fields());
        self.client.stream("GET", "/mcp", &fields, "")
    }
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn chat() -> Value {
    json!({ "name": "chat", "arguments": { "message": "hello" }, "_meta": { "progressToken": 7 } })
}

/// The headers and the body of a request that stands alone.
fn modern(method: &str, params: &Value) -> (String, String) {
    let mut params = params.clone();
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let name = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str);
    let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    let fields =
        format!("{JSON}{BOTH}MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n{name}");
    (fields, request(1, method, &params))
}

fn ask_modern(house: &House, method: &str, params: &Value) -> Got {
    let (fields, body) = modern(method, params);
    house.client().ask("POST", "/mcp", &fields, &body)
}

fn upstream_has_it(house: &House) {
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON), "it was not asked");
}

/// Waits until the model server has heard so often that nobody wants its answer any more.
fn upstream_is_left(house: &House, times: usize) {
    assert!(house.stand_in().wait_for(|counts| counts.aborted == times, SOON), "it generates on");
}

#[test]
fn each_revision_with_a_handshake_is_negotiated_and_works() {
    let house = Plan::new().start();
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut talk = Talk::open(&house.client(), version);
        assert_eq!(talk.ask("ping", &json!({}))["result"], json!({}));
        let tools = talk.ask("tools/list", &json!({}));
        assert_eq!(tools["result"]["tools"][0]["name"], "list_models");
        assert!(tools["result"].get("resultType").is_none(), "{tools}");
        let result = talk.ask("tools/call", &json!({ "name": "list_models" }));
        assert_eq!(result["result"].get("structuredContent").is_some(), version >= "2025-06-18");
        // An error of a method is no error of HTTP: another status would end the session.
        assert_eq!(talk.ask("no/such", &json!({}))["error"]["code"], -32601);
        assert_eq!(talk.ask("tools/call", &json!({ "name": "no" }))["error"]["code"], -32602);
    }
}

#[test]
fn a_request_that_stands_alone_needs_no_session() {
    let house = Plan::new().start();
    let found = ask_modern(&house, "server/discover", &json!({})).json()["result"].clone();
    assert_eq!(found["supportedVersions"], json!([MODERN]));
    assert_eq!(found["resultType"], "complete");
    assert!(found["ttlMs"].is_u64() && found["cacheScope"] == "private", "{found}");
    assert_eq!(
        found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "local-llm-mcp",
        "{found}"
    );
    let got = ask_modern(&house, "tools/call", &json!({ "name": "list_models" }));
    assert_eq!(got.field("mcp-session-id"), None);
    assert_eq!(got.json()["result"]["resultType"], "complete");
    for removed in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "no/such"] {
        let got = ask_modern(&house, removed, &json!({}));
        assert_eq!((got.status, &got.json()["error"]["code"]), (404, &json!(-32601)), "{removed}");
        assert_eq!(got.json()["id"], 1);
    }
    // Session headers mean nothing here.
    let (fields, body) = modern("tools/list", &json!({}));
    let fields = format!("{fields}Mcp-Session-Id: bogus\r\nLast-Event-ID: 7-7\r\n");
    assert_eq!(house.client().ask("POST", "/mcp", &fields, &body).status, 200);
}

#[test]
fn a_chat_is_a_stream_with_progress_before_its_result_in_both_eras() {
    let script =
        Script { deltas: vec![Delta::Content("word ".to_owned()); 3], ..Script::default() };
    let house = Plan::new().script(script).start();
    let (fields, body) = modern("tools/call", &chat());
    let talk = Talk::open(&house.client(), "2025-11-25");
    let streams = [
        house.client().stream("POST", "/mcp", &fields, &body),
        talk.stream(&request(9, "tools/call", &chat())),
    ];
    for mut stream in streams {
        assert_eq!(stream.head.status, 200);
        assert_eq!(stream.head.field("x-accel-buffering"), Some("no"));
        let mut messages = Vec::new();
        while let Some((_, message)) = stream.message() {
            messages.push(message);
        }
        let (result, before) = messages.split_last().unwrap();
        assert!(result["result"]["content"][0]["text"].as_str().unwrap().contains("word"));
        assert!(!before.is_empty());
        for message in before {
            assert_eq!(message["params"]["progressToken"], 7, "{message}");
        }
    }
}

#[test]
fn behind_an_answer_that_is_a_stream_the_connection_takes_the_next_request() {
    let (plain, secure) = (Plan::new().start(), Plan::https().start());
    for client in [plain.client(), secure.tls_client()] {
        let (fields, body) = modern("tools/call", &chat());
        let call = client.request("POST", "/mcp", &fields, &body);
        let mut connection = client.connect();
        // The second is there before the first is answered.
        connection.send(&call.repeat(2));
        for _ in 0..2 {
            let head = connection.head();
            assert_eq!(head.field("content-type"), Some("text/event-stream"));
            assert_eq!(head.field("connection"), Some("keep-alive"));
            let mut stream = Stream::new(connection, head);
            assert_eq!(stream.end(), End::Orderly);
            connection = stream.into_connection();
        }
        connection.send(&client.request(
            "POST",
            "/mcp",
            &format!("Connection: close\r\n{fields}"),
            &body,
        ));
        let head = connection.head();
        assert_eq!(head.field("connection"), Some("close"));
    }
}

#[test]
fn a_client_that_takes_only_json_gets_json() {
    let house = Plan::new().start();
    let talk = Talk::open(&house.client(), "2025-11-25");
    let fields = format!("{JSON}Accept: application/json\r\nMcp-Session-Id: {}\r\n", talk.id);
    let body = request(1, "tools/call", &chat());
    let got = house.client().ask("POST", "/mcp", &fields, &body);
    assert_eq!((got.status, got.json()["id"].as_u64()), (200, Some(1)));
    let fields = format!("{JSON}Accept: text/html\r\n");
    assert_eq!(house.client().ask("POST", "/mcp", &fields, &body).status, 406);
    let got = house.client().ask("POST", "/mcp", "Content-Type: text/plain\r\n", &body);
    assert_eq!(got.status, 415);
}

#[test]
fn a_closed_stream_stops_a_call_that_stands_alone() {
    let house = Plan::new().stalling().start();
    for (half, times) in [(false, 1), (true, 2)] {
        let (fields, body) = modern("tools/call", &chat());
        let mut stream = house.client().stream("POST", "/mcp", &fields, &body);
        assert!(stream.message().is_some());
        upstream_has_it(&house);
        if half {
            stream.half_close();
            upstream_is_left(&house, times);
        } else {
            drop(stream);
            upstream_is_left(&house, times);
        }
    }
}

#[test]
fn the_log_says_whose_client_left_before_its_answer_was_there() {
    let stand_in = StandIn::start(Script { stall: Stall::BeforeFirst, ..Script::default() });
    let url = stand_in.url();
    let mut program = Program::start(&[("MCP_TRANSPORT", "http"), ("LM_STUDIO_URL", &url)]);
    let banner = program.until(|line| line.contains("/sse"));
    let url = Url::all(&banner).into_iter().find(|url| url.port > 0).unwrap();
    let client = Client::plain(url.address());
    let (fields, body) = modern("tools/call", &json!({ "name": "list_models" }));
    assert_eq!(client.ask("POST", "/mcp", &fields, &body).status, 200);
    program.until(|line| line.contains("POST /mcp done status=200"));
    let (fields, body) = modern("tools/call", &chat());
    assert!(client.stream("POST", "/mcp", &fields, &body).message().is_some());
    program.until(|line| line.contains("POST /mcp left status=200"));
}

#[test]
fn a_revoked_token_ends_the_stream_of_its_call_and_in_2026_07_28_the_call() {
    let plan = Plan::new().stalling();
    let store = Store::new(plan.scratch.path());
    let tokens = ["laptop", "desk"].map(|name| store.add(name, 0).unwrap());
    let house = plan.start();
    let [laptop, desk] = tokens.map(|token| house.client().with_token(&token));
    let (fields, body) = modern("tools/call", &chat());
    let mut stream = laptop.stream("POST", "/mcp", &fields, &body);
    assert!(stream.message().is_some());
    upstream_has_it(&house);
    store.revoke("laptop").unwrap();
    assert_eq!(stream.end(), End::Orderly);
    upstream_is_left(&house, 1);

    let talk = Talk::open(&desk, "2025-06-18");
    let mut stream = talk.stream(&request(1, "tools/call", &chat()));
    assert!(stream.message().is_some());
    upstream_has_it(&house);
    store.revoke("desk").unwrap();
    assert_eq!(stream.end(), End::Orderly);
    let has_it =
        house.stand_in().wait_for(|counts| (counts.stalled, counts.aborted) == (1, 1), SOON);
    assert!(has_it, "a session's call goes on");
    // It holds the connection's thread, so that another request there would not be heard.
    assert!(stream.is_hung_up(), "the client is told to take another connection");
}

#[test]
fn a_quick_call_that_stands_alone_ends_with_its_client_too() {
    let (fields, body) = modern("tools/call", &json!({ "name": "list_models" }));
    for (tls, half) in [(false, true), (false, false), (true, false)] {
        let script = Script { stall: Stall::BeforeHead, ..Script::default() };
        let plan = if tls { Plan::https() } else { Plan::new() };
        let house = plan.script(script).start();
        let client = if tls { house.tls_client() } else { house.client() };
        let mut connection = client.connect();
        connection.send(&client.request("POST", "/mcp", &fields, &body));
        upstream_has_it(&house);
        if half {
            connection.half_close();
        } else {
            drop(connection);
        }
        let left = house.stand_in().wait_for(|counts| counts.stalled == 0, SOON);
        assert!(left, "it is still asked");
    }
}

#[test]
fn a_quick_call_of_a_session_goes_on_without_its_client() {
    let script = Script { stall: Stall::BeforeHead, ..Script::default() };
    let house = Plan::new().script(script).start();
    let talk = Talk::open(&house.client(), "2025-11-25");
    let mut connection = talk.client.connect();
    let body = request(5, "tools/call", &json!({ "name": "list_models" }));
    connection.send(&talk.client.request("POST", "/mcp", &talk.fields(), &body));
    upstream_has_it(&house);
    drop(connection);
    // Another request with its id would be refused as long as it runs.
    let again = talk.post(&request(5, "tools/call", &json!({ "name": "list_models" })));
    assert!(again.json()["error"].is_object(), "{:?}", again.json());
    house.stand_in().release();
    let stand_in = house.stand_in();
    assert!(stand_in.wait_for(|counts| counts.stalled == 0, SOON));
    assert_eq!(stand_in.counts().aborted, 0);
}

#[test]
fn a_call_of_a_session_goes_on_without_its_client_and_its_answer_is_fetched_later() {
    let house = Plan::new().stalling().start();
    let talk = Talk::open(&house.client(), "2025-11-25");
    let mut stream = talk.stream(&request(5, "tools/call", &chat()));
    // The stream begins with an id, from which it can be taken up before anything was sent.
    let first = stream.lines().unwrap();
    assert_eq!(first, ["id: 1-0", "retry: 1000", "data: "]);
    drop(stream);
    house.stand_in().release();
    let mut rest = talk.get("Last-Event-ID: 1-0\r\n");
    assert_eq!(rest.head.status, 200);
    loop {
        let (id, message) = rest.message().unwrap();
        assert!(id.starts_with("1-"), "{id}");
        if message.get("id").is_some() {
            assert_eq!(message["id"], 5);
            break;
        }
    }
    assert!(rest.message().is_none());
    // Once more from the middle, and never from another session's.
    assert!(talk.get("Last-Event-ID: 1-1\r\n").message().is_some());
    let other = Talk::open(&house.client(), "2025-11-25");
    assert_eq!(other.get("Last-Event-ID: 1-0\r\n").head.status, 400);
}

#[test]
fn a_cancelled_call_frees_the_upstream_and_its_stream_ends_without_a_response() {
    let house = Plan::new().stalling().start();
    let talk = Talk::open(&house.client(), "2025-06-18");
    let mut stream = talk.stream(&request(5, "tools/call", &chat()));
    assert!(stream.message().is_some());
    upstream_has_it(&house);
    let params = json!({ "requestId": 5 });
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    assert_eq!(talk.post(&note.to_string()).status, 202);
    while let Some((_, message)) = stream.message() {
        assert!(message.get("id").is_none(), "{message}");
    }
    upstream_is_left(&house, 1);
}

#[test]
fn a_session_outlives_a_restart_and_ends_for_good_when_its_client_says_so() {
    let first = Plan::new().start();
    let mut talk = Talk::open(&first.client(), "2025-06-18");
    let House { server, stand_in, scratch } = first;
    drop(server);
    let mut plan = Plan::new();
    plan.scratch = scratch;
    let folder = plan.scratch.path().to_str().unwrap().to_owned();
    let second = plan.set("MCP_STATE_DIR", &folder).start();
    drop(stand_in);
    talk.client = second.client();
    assert_eq!(talk.ask("ping", &json!({}))["result"], json!({}));
    let result = talk.ask("tools/call", &json!({ "name": "list_models" }));
    assert!(result["result"]["structuredContent"].is_object());
    let got = talk.client.ask("DELETE", "/mcp", &talk.fields(), "");
    assert_eq!(got.status, 204);
    let House { server, stand_in, scratch } = second;
    drop(server);
    let mut plan = Plan::new();
    plan.scratch = scratch;
    let third = plan.set("MCP_STATE_DIR", &folder).start();
    drop(stand_in);
    talk.client = third.client();
    let got = talk.post(&request(1, "ping", &json!({})));
    assert_eq!((got.status, got.json()["id"].as_u64()), (404, Some(1)));
    assert_eq!(talk.get("").head.status, 404);
}

#[test]
fn what_lacks_a_session_is_refused_as_clients_expect() {
    let house = Plan::new().start();
    let client = house.client();
    let ask = |fields: &str, body: &str| client.ask("POST", "/mcp", fields, body).status;
    let ping = request(1, "ping", &json!({}));
    assert_eq!(ask(JSON, &ping), 400);
    assert_eq!(ask(&format!("{JSON}Mcp-Session-Id: forged\r\n"), &ping), 404);
    let got = client.ask("GET", "/mcp", "Accept: text/event-stream\r\n", "");
    assert_eq!((got.status, got.field("allow")), (405, Some("POST, DELETE, OPTIONS")));
    assert_eq!(client.ask("DELETE", "/mcp", "", "").status, 400);
    assert_eq!(client.ask("PUT", "/mcp", "", "").status, 405);
    assert_eq!(ask(JSON, "{"), 400);
    let talk = Talk::open(&client, "2025-11-25");
    let fields = format!("{}MCP-Protocol-Version: 1999-01-01\r\n", talk.fields());
    assert_eq!(ask(&fields, &ping), 400);
    let fields = format!("{}Mcp-Session-Id: {}\r\n", talk.fields(), talk.id);
    assert_eq!(ask(&fields, &ping), 400);
    let again = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    assert_eq!(ask(&talk.fields(), &request(2, "initialize", &again)), 400);
}

#[test]
fn batches_are_taken_in_2025_03_26_alone() {
    let house = Plan::new().start();
    let batch = format!(
        "[{},{},{}]",
        request(1, "ping", &json!({})),
        request(2, "tools/call", &json!({ "name": "list_models" })),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    );
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let talk = Talk::open(&house.client(), version);
        assert_eq!(talk.post(&batch).status, 400, "{version}");
    }
    let talk = Talk::open(&house.client(), "2025-03-26");
    let got = talk.post(&batch);
    let ids: Vec<u64> =
        got.json().as_array().unwrap().iter().map(|reply| reply["id"].as_u64().unwrap()).collect();
    assert_eq!((got.status, ids), (200, vec![1, 2]));
    let notes = r#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#;
    assert_eq!(talk.post(notes).status, 202);
    assert_eq!(talk.post("[]").status, 400);
    assert_eq!(talk.post("[1]").status, 400);
    let (_, smuggled) = modern("tools/list", &json!({}));
    assert_eq!(talk.post(&format!("[{smuggled}]")).status, 400);
}

#[test]
fn long_lists_come_in_pages_in_both_eras() {
    let house = Plan::new().limits(|limits| limits.page_entries_max = 1).start();
    let whole = Plan::new().start();
    let mut talk = Talk::open(&house.client(), "2025-06-18");
    for (method, list) in [("tools/list", "tools"), ("resources/list", "resources")] {
        let all = ask_modern(&whole, method, &json!({})).json()["result"][list].clone();
        let mut walk = |modern: bool| {
            let (mut seen, mut params) = (Vec::new(), json!({}));
            loop {
                let page = if modern {
                    ask_modern(&house, method, &params).json()
                } else {
                    talk.ask(method, &params)
                };
                let entries = page["result"][list].as_array().unwrap();
                assert_eq!(entries.len(), 1, "{page}");
                seen.push(entries[0]["name"].clone());
                match page["result"].get("nextCursor") {
                    Some(cursor) => params = json!({ "cursor": cursor }),
                    None => return seen,
                }
            }
        };
        let names: Vec<Value> =
            all.as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
        assert_eq!(walk(true), names);
        assert_eq!(walk(false), names);
    }
    let wrong = talk.ask("tools/list", &json!({ "cursor": "resources-1" }));
    assert_eq!(wrong["error"]["code"], -32602);
}

#[test]
fn a_second_reader_of_a_session_takes_the_place_of_the_first() {
    let house = Plan::new().start();
    let talk = Talk::open(&house.client(), "2025-06-18");
    let mut first = talk.get("");
    assert_eq!(first.head.status, 200);
    let second = talk.get("");
    assert_eq!(second.head.status, 200);
    assert!(first.message().is_none());
}

#[test]
fn a_listener_hears_the_acknowledgement_first_and_its_result_at_the_end() {
    let house = Plan::new().start();
    let wanted = json!({ "notifications": {
        "toolsListChanged": true, "resourceSubscriptions": ["local://models"]
    } });
    let (fields, body) = modern("subscriptions/listen", &wanted);
    let mut stream = house.client().stream("POST", "/mcp", &fields, &body);
    let (_, first) = stream.message().unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let id = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(first["params"]["_meta"][id], 1);
    // Only what is advertised is taken.
    let taken = json!({ "resourceSubscriptions": ["local://models"] });
    assert_eq!(first["params"]["notifications"], taken);
    assert_eq!(house.health()["mcp"]["listeners"], 1);
    let talk = Talk::open(&house.client(), "2025-11-25");
    assert_eq!(house.health()["mcp"]["kept_sessions"], 0);
    let _standing = talk.get("");
    assert_eq!(house.health()["mcp"]["kept_sessions"], 1);
    house.server.stop();
    let (_, last) = stream.message().unwrap();
    assert_eq!((&last["id"], &last["result"]["_meta"][id]), (&json!(1), &json!(1)));
}

#[test]
fn models_that_come_and_go_are_announced_to_readers_and_to_listeners() {
    let mut house = Plan::new().start();
    let mut talk = Talk::open(&house.client(), "2025-11-25");
    talk.ask("resources/read", &json!({ "uri": "local://models" }));
    let mut standing = talk.get("");
    // With a subscription, the next look is a few seconds away.
    let wanted = json!({ "notifications": {
        "resourcesListChanged": true, "resourceSubscriptions": ["local://usage"]
    } });
    let (fields, body) = modern("subscriptions/listen", &wanted);
    let mut listening = house.client().stream("POST", "/mcp", &fields, &body);
    let (_, first) = listening.message().unwrap();
    assert_eq!(first["params"]["notifications"], wanted["notifications"], "{first}");
    drop(house.stand_in.take());
    for (stream, subscription) in [(&mut standing, None), (&mut listening, Some(1))] {
        let (_, told) = stream.message().unwrap();
        assert_eq!(told["method"], "notifications/resources/list_changed", "{told}");
        let id = told.pointer("/params/_meta/io.modelcontextprotocol~1subscriptionId");
        assert_eq!(id, subscription.map(Value::from).as_ref(), "{told}");
    }
}

#[test]
fn listeners_are_limited_by_name() {
    let house = Plan::new().limits(|limits| limits.listens_max = 1).start();
    let (fields, body) = modern("subscriptions/listen", &json!({ "notifications": {} }));
    let mut first = house.client().stream("POST", "/mcp", &fields, &body);
    assert!(first.message().is_some());
    let second = house.client().stream("POST", "/mcp", &fields, &body);
    assert!(second.head.text().contains("listens_max"), "{}", second.head.text());
    assert_eq!(second.head.json()["error"]["code"], -32603);
}

#[test]
fn abandoned_sessions_are_forgotten_after_their_time_and_their_ids_stay_good() {
    let house = Plan::new().limits(|limits| limits.session_idle_s_max = 1).start();
    let kept = || house.health()["mcp"]["kept_sessions"].as_u64();
    let mut talks: Vec<Talk> = (0..50).map(|_| Talk::open(&house.client(), "2025-11-25")).collect();
    for talk in &mut talks {
        let set = talk.ask("logging/setLevel", &json!({ "level": "debug" }));
        assert_eq!(set["result"], json!({}));
    }
    // A stream that somebody reads keeps its session.
    let _standing = talks[0].get("");
    assert!(kept() > Some(1), "{:?}", kept());
    eventually("the others are forgotten", || kept() == Some(1));
    assert_eq!(talks[1].ask("ping", &json!({}))["result"], json!({}));
}

#[test]
fn at_the_limit_of_kept_sessions_the_idle_one_is_forgotten_and_its_id_stays_good() {
    let house = Plan::new().limits(|limits| limits.kept_sessions_max = 1).start();
    let level = json!({ "level": "debug" });
    let mut first = Talk::open(&house.client(), "2025-06-18");
    assert_eq!(first.ask("logging/setLevel", &level)["result"], json!({}));
    let mut second = Talk::open(&house.client(), "2025-06-18");
    assert_eq!(second.ask("logging/setLevel", &level)["result"], json!({}));
    assert_eq!(first.ask("ping", &json!({}))["result"], json!({}));
}
