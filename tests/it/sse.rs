//! HTTP+SSE (2024-11-05) on the wire: the stream, its POSTs, its end.

#![expect(clippy::indexing_slicing, reason = "a test may fail here")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use local_llm_mcp::config::Scheme;
use serde_json::{Value, json};

use crate::scratch::eventually;
use crate::support::client::{Client, End, Event, JSON, SOON};
use crate::support::house::Plan;
use crate::support::stand_in::{Script, Stall};

#[test]
fn the_endpoint_comes_first_and_is_relative_with_an_id_that_nobody_guesses() {
    let house = Plan::new().start();
    let sessions: Vec<_> = (0..8).map(|_| house.client().open()).collect();
    let ids: HashSet<String> = sessions
        .iter()
        .map(|session| {
            let id = session.endpoint.strip_prefix("/messages?sessionId=").unwrap();
            let digits: String = id.chars().filter(|&c| c != '-').collect();
            assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
            assert!(digits.len() * 4 >= 128, "{id}");
            digits
        })
        .collect();
    assert_eq!(ids.len(), sessions.len());
    // Random throughout: no two of them share even a quarter.
    let quarters: HashSet<&str> = ids.iter().map(|id| id.split_at(8).0).collect();
    assert_eq!(quarters.len(), ids.len(), "{ids:?}");
}

#[test]
fn nobody_on_the_way_may_buffer_cache_or_measure_the_stream() {
    let house = Plan::new().set("MCP_TRANSPORT", "https,http").set("PORT", "");
    let house = house.set("HTTPS_PORT", "0").set("HTTP_PORT", "0").start();
    for client in [house.client(), house.tls_client()] {
        let client = client.with_field("Accept-Encoding", "gzip, deflate, br");
        let mut session = client.open();
        let head = &session.stream.head;
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        assert_eq!(head.field("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(head.field("x-accel-buffering"), Some("no"));
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        assert_eq!(head.field("content-length"), None);
        assert_eq!(head.field("content-encoding"), None);
        assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    }
}

#[test]
fn a_post_is_accepted_before_its_tool_has_run() {
    let script = Script { stall: Stall::BeforeHead, ..Script::default() };
    let house = Plan::new().script(script).start();
    let mut session = house.client().open();
    for (tool, arguments) in [("chat", json!({ "message": "hi" })), ("list_models", json!({}))] {
        let params = json!({ "name": tool, "arguments": arguments });
        let message =
            json!({ "jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": params });
        let got = session.post(&message.to_string());
        assert_eq!((got.status, got.text()), (202, "Accepted"));
    }
    let stalled = |counts: &crate::support::stand_in::Counts| counts.stalled == 2;
    assert!(house.stand_in().wait_for(stalled, SOON));
    house.stand_in().release();
    let answered: HashSet<String> =
        (0..2).map(|_| session.message()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(answered, HashSet::from(["chat".to_owned(), "list_models".to_owned()]));
}

#[test]
fn a_wrong_request_is_refused_with_the_status_that_clients_understand() {
    let house = Plan::new().start();
    let client = house.client();
    let mut session = client.open();
    let endpoint = session.endpoint.clone();
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let unknown = "/messages?sessionId=00000000-0000-0000-0000-000000000000";
    let text = "Content-Type: text/plain\r\n";
    let almost = "Content-Type: application/jsonp\r\n";
    for (method, path, fields, status) in [
        ("POST", "/messages", JSON, 400),
        ("POST", "/messages?sessionId=", JSON, 400),
        ("POST", "/messages?session=1", JSON, 400),
        ("POST", unknown, JSON, 404),
        ("POST", endpoint.as_str(), text, 415),
        ("POST", &endpoint, almost, 415),
        ("POST", &endpoint, "", 415),
        ("POST", "/sse", JSON, 405),
        ("PUT", "/sse", JSON, 405),
        ("DELETE", "/sse", "", 405),
        ("HEAD", "/sse", "", 405),
        ("GET", &endpoint, "", 405),
        ("POST", "/message", JSON, 404),
    ] {
        let got = client.ask(method, path, fields, ping);
        assert_eq!(got.status, status, "{method} {path}: {got:?}");
        let words = String::from_utf8_lossy(&got.body).into_owned();
        // Clients of those days choose their transport by such words.
        assert!(status != 400 || !words.contains("Not Found"), "{words}");
        let allow = got.field("allow").unwrap_or_default();
        let allowed = if path == "/sse" { "GET" } else { "POST" };
        assert_eq!(status == 405, allow.split(", ").any(|one| one == allowed), "{method} {path}");
    }
    let charset = "content-type: Application/JSON; charset=utf-8\r\n";
    assert_eq!(session.post_with(charset, ping).status, 202);
    assert_eq!(session.message()["id"], 1);
}

#[test]
fn a_body_that_is_no_message_is_a_400_without_an_id() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\u{feff}{}", -32700),
        ("nonsense", -32700),
        ("7", -32600),
        ("null", -32600),
        ("{}", -32600),
        ("[]", -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"1.0","method":"ping"}"#, -32600),
        (r#"{"method":"ping"}"#, -32600),
    ] {
        let got = session.post(body);
        let answer = got.json();
        assert_eq!((got.status, answer["error"]["code"].as_i64()), (400, Some(code)), "{body}");
        assert!(answer.get("id").is_none(), "{body}: {answer}");
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}), "the session is unharmed");
}

#[test]
fn a_body_of_too_many_values_is_refused_before_it_is_read() {
    let house = Plan::new().limits(|limits| limits.body_values_max = 100).start();
    let mut session = house.client().open();
    let ping = |values: usize| {
        let many = vec!["1"; values].join(",");
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"many":[{many}]}}}}"#)
    };
    let got = session.post(&ping(101));
    let error = &got.json()["error"];
    assert_eq!((got.status, error["code"].as_i64()), (400, Some(-32600)));
    let limit = "body_values_max (100 values)";
    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    // Of a batch too, which would be taken apart before it is known to be none here.
    let got = session.post(&format!("[{}]", vec!["1"; 101].join(",")));
    assert!(got.json()["error"]["message"].as_str().unwrap().contains(limit));
    assert_eq!(session.post(&ping(90)).status, 202);
}

#[test]
fn silence_is_broken_by_comments() {
    let house = Plan::new().limits(|limits| limits.heartbeat_ms = 40).start();
    let mut session = house.client().open();
    let begun = Instant::now();
    for _ in 0..3 {
        assert!(matches!(session.next(), Some(Event::Comment(_))));
    }
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
}

#[test]
fn closing_the_stream_ends_the_session_and_its_generation() {
    for plan in [Plan::new(), Plan::https()] {
        let house = plan.stalling().start();
        let tls = house.server.bound()[0].scheme == Scheme::Https;
        let client = if tls { house.tls_client() } else { house.client() };
        let mut session = client.open();
        let endpoint = session.endpoint.clone();
        session.begin_chat("hi");
        assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
        drop(session);
        let limit = Duration::from_secs(1);
        assert!(house.stand_in().wait_for(|counts| counts.aborted == 1, limit), "tls: {tls}");
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        eventually("the session is gone", || client.post(&endpoint, ping).status == 404);
    }
}

#[test]
fn a_slow_reader_loses_its_session_and_nobody_else_does() {
    let change = |limits: &mut local_llm_mcp::config::Limits| limits.outbox_events_max = 4;
    let house = Plan::new().limits(change).start();
    let mut other = house.client().open();
    let mut slow = house.client().with_small_buffers().open();
    // The reply has the id in it, so a long one fills the stream.
    let id = "x".repeat(256 * 1024);
    let ping = json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }).to_string();
    let mut posts = 0;
    while slow.post(&ping).status == 202 {
        posts += 1;
        assert!(posts < 200, "it never ends");
        assert_eq!(other.ask("ping", &json!({}))["result"], json!({}));
    }
    assert!(posts > 4, "{posts}");
    assert_eq!(slow.end(), End::Cut);
    assert_eq!(other.ask("ping", &json!({}))["result"], json!({}));
    let sessions = &house.health()["sessions"];
    assert_eq!((&sessions["ended_slow"], &sessions["open"]), (&json!(1), &json!(1)));
}

#[test]
fn many_small_answers_at_once_do_not_make_a_reader_slow() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    for n in 0..300 {
        session.send(&json!({ "jsonrpc": "2.0", "id": n, "method": "tools/list" }));
    }
    // In whatever order: each has its id.
    let answered: HashSet<u64> =
        (0..300).map(|_| session.message()["id"].as_u64().unwrap()).collect();
    assert_eq!(answered, (0..300).collect());
}

#[test]
fn at_the_limit_the_oldest_ghost_goes_and_nobody_is_refused() {
    let house = Plan::new().limits(|limits| limits.streams_max = 3).start();
    let client = house.client();
    let mut worker = client.open();
    worker.initialize("2024-11-05");
    let mut ghost = client.open();
    let mut younger = client.open();
    let mut newest = client.open();
    // With or without the last chunk, whichever is faster.
    ghost.end();
    for session in [&mut worker, &mut younger, &mut newest] {
        assert_eq!(session.ask("ping", &json!({}))["result"], json!({}));
    }
    // All of them work now: the one that has been idle longest goes.
    let mut one_more = client.open();
    worker.end();
    assert_eq!(one_more.ask("ping", &json!({}))["result"], json!({}));
    let sessions = &house.health()["sessions"];
    assert_eq!((&sessions["ended_evicted"], &sessions["open"]), (&json!(2), &json!(3)));
}

#[test]
fn streams_that_open_at_once_keep_the_limit() {
    let house = Plan::new().limits(|limits| limits.streams_max = 2).start();
    let client = house.client();
    // Some give way to younger ones before they have heard anything.
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..24)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = client.connect();
                    connection.send(&client.request("GET", "/sse", "", ""));
                    (connection.try_head().map(|head| head.status), connection)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|(status, _)| status.is_none_or(|status| status == 200)));
    let sessions = house.health()["sessions"].clone();
    assert_eq!((&sessions["open"], &sessions["ended_evicted"]), (&json!(2), &json!(22)));
}

#[test]
fn a_new_stream_is_served_without_initialize() {
    let house = Plan::new().start();
    let client = house.client();
    let mut session = client.open();
    let tools = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
    assert_eq!(tools.as_array().unwrap().len(), 13);
    assert!(session.call("list_models", &json!({})).get("isError").is_none());
    // Two sockets bring them in any order.
    session.notify("notifications/initialized", &json!({}));
    assert_eq!(session.initialize("2024-11-05")["protocolVersion"], "2024-11-05");

    // A client that comes back goes on with what it spoke.
    let mut again = client.open();
    let tool = again.ask("tools/list", &json!({}))["result"]["tools"][0].clone();
    assert!(tool.get("annotations").is_none(), "{tool}");
    // What it says it speaks counts more, as long as it does not initialize.
    assert!(listed(&mut again, "2025-06-18").get("outputSchema").is_some());
    again.initialize("2025-03-26");
    let tool = listed(&mut again, "2024-11-05");
    assert!(tool.get("annotations").is_some() && tool.get("outputSchema").is_none(), "{tool}");

    let mut third = client.open();
    let tool = listed(&mut third, "2024-11-05");
    assert!(tool.get("annotations").is_none(), "{tool}");
    let mut fourth = client.open();
    assert!(listed(&mut fourth, "1999-01-01").get("name").is_some());
}

#[test]
fn of_several_clients_at_home_the_newest_counts_for_those_that_come_back() {
    let house = Plan::new().start();
    let client = house.client();
    for revision in ["2025-11-25", "2024-11-05"] {
        client.open().initialize(revision);
    }
    // A client that has seen an output schema refuses a result without structured content; no
    // client refuses a field that it does not know.
    let result = client.open().call("list_models", &json!({}));
    assert!(result.get("structuredContent").is_some(), "{result}");
}

#[test]
fn answers_that_many_threads_send_at_once_stay_whole() {
    let plan = Plan::new().set("MCP_TRANSPORT", "https,http").set("PORT", "");
    let plan = plan.set("HTTPS_PORT", "0").set("HTTP_PORT", "0");
    let house = plan.limits(|limits| limits.outbox_events_max = 1000).start();
    for client in [house.client(), house.tls_client()] {
        let mut session = client.open();
        let endpoint = session.endpoint.clone();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|thread| {
                    let (client, endpoint) = (client.clone(), endpoint.clone());
                    scope.spawn(move || ping_with_ids_of_every_length(&client, &endpoint, thread))
                })
                .collect();
            let mut heard: Vec<String> =
                (0..180).map(|_| session.message()["id"].as_str().unwrap().to_owned()).collect();
            let asked = threads.into_iter().flat_map(|thread| thread.join().unwrap());
            let mut asked: Vec<String> = asked.collect();
            asked.sort();
            heard.sort();
            assert!(asked == heard, "some are lost or broken");
        });
    }
}

/// Returns the ids.
fn ping_with_ids_of_every_length(client: &Client, endpoint: &str, thread: usize) -> Vec<String> {
    let mut connection = client.connect();
    let mut ping = |n: usize| {
        // From nothing to more than one write takes.
        let id = format!("{thread}-{n}-{}", "x".repeat((n % 5) * 40_000));
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }).to_string();
        connection.send(&client.request("POST", endpoint, JSON, &body));
        assert_eq!(connection.reply("POST").status, 202);
        id
    };
    (0..30).map(&mut ping).collect()
}

/// The first tool, asked for with a version in the header.
fn listed(session: &mut crate::support::client::Session, version: &str) -> Value {
    let fields = format!("{JSON}mcp-protocol-version: {version}\r\n");
    let got = session.post_with(&fields, r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#);
    assert_eq!(got.status, 202);
    session.message()["result"]["tools"][0].clone()
}
