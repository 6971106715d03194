//! What web pages of other origins are told, and paths behind a proxy that has a prefix for us.

use super::support::{CORS, Client, Got, Rig, request};

const TOKEN: &str = "a-token-of-the-test-that-is-long-enough-0123456789";
const PAGE: &str = "https://allowed.example";

fn ask(client: &mut Client, method: &str, path: &str, fields: &str, body: &[u8]) -> Got {
    let fields = format!("Origin: {PAGE}\r\nContent-Length: {}\r\n{fields}", body.len());
    client.send(&request(method, path, &fields, body));
    client.head()
}

/// The page may read this reply.
fn is_told(got: &Got) -> bool {
    assert_eq!(got.field("access-control-allow-credentials"), None);
    let told = got.field("access-control-allow-origin") == Some(PAGE);
    assert_eq!(got.field("vary").is_some_and(|names| names == "Origin"), told);
    let exposed = got.field("access-control-expose-headers");
    assert_eq!(exposed, told.then_some(CORS.expose_headers));
    told
}

#[test]
fn every_reply_to_a_page_of_a_configured_origin_says_that_it_may_read_it() {
    let rig = Rig::behind(Some(TOKEN), "");
    for (method, path, fields, body, status) in [
        ("GET", "/", "", "", 200),
        ("HEAD", "/", "", "", 200),
        ("POST", "/echo", "", "{}", 200),
        ("GET", "/echo", "", "", 405),
        ("GET", "/none", "", "", 404),
        ("OPTIONS", "/none", "", "", 404),
        ("POST", "/private", "", "{}", 401),
        ("POST", "/private", "Authorization: Bearer wrong\r\n", "{}", 401),
        ("OPTIONS", "/private", "", "", 204),
        ("GET", "/drop", "", "", 500),
        ("GET", "/big?99999999", "", "", 500),
    ] {
        for mut client in rig.both() {
            let got = ask(&mut client, method, path, fields, body.as_bytes());
            assert_eq!(got.status, status, "{method} {path}");
            assert!(is_told(&got), "{method} {path} {got:?}");
        }
    }
    let mut client = rig.plain();
    let fields = format!("Origin: {PAGE}\r\nContent-Length: 99999999\r\n");
    client.send(&request("POST", "/echo", &fields, b""));
    let got = client.head();
    assert!(got.status == 413 && is_told(&got), "{got:?}");
    assert_eq!(got.field("access-control-allow-methods"), None);
}

#[test]
fn an_event_stream_says_so_too() {
    let rig = Rig::new();
    for mut client in rig.both() {
        let got = ask(&mut client, "GET", "/events", "", b"");
        assert_eq!(got.field("content-type"), Some("text/event-stream"));
        assert!(is_told(&got), "{got:?}");
    }
}

#[test]
fn a_preflight_lists_what_a_page_may_send_before_a_token_is_asked_for() {
    let rig = Rig::behind(Some(TOKEN), "");
    let mut client = rig.tls();
    let fields = "Access-Control-Request-Method: POST\r\n\
                  Access-Control-Request-Headers: authorization,mcp-param-city,x-other\r\n";
    let got = ask(&mut client, "OPTIONS", "/private", fields, b"");
    assert_eq!(got.status, 204);
    assert!(is_told(&got), "{got:?}");
    assert_eq!(got.field("access-control-allow-methods"), Some("POST, OPTIONS"));
    let headers = got.field("access-control-allow-headers");
    assert_eq!(headers, Some("Content-Type, Authorization, mcp-param-city"));
    assert_eq!(got.field("access-control-max-age"), Some("86400"));
    // Nobody asks whether it may send something.
    let got = ask(&mut client, "OPTIONS", "/private", "", b"");
    assert!(is_told(&got) && got.field("access-control-allow-methods").is_none(), "{got:?}");
}

#[test]
fn whoever_is_refused_before_the_origin_is_looked_at_is_told_nothing() {
    let rig = Rig::new();
    for fields in ["X-Forwarded-For: 1.2.3.4\r\n", "X-Real-IP: 1.2.3.4\r\n"] {
        let got = ask(&mut rig.plain(), "GET", "/", fields, b"");
        assert!(got.status == 403 && !is_told(&got), "{got:?}");
    }
    for (host, origin, status) in [
        ("evil.example", PAGE, 421),
        ("localhost", "https://evil.example", 403),
        ("localhost", "null", 403),
        ("localhost", "http://localhost", 200),
    ] {
        let mut client = rig.plain();
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        client.send(head.as_bytes());
        let got = client.reply();
        assert_eq!(got.status, status, "{host} {origin}");
        assert_eq!(got.field("access-control-allow-origin"), None, "{host} {origin}");
        assert_eq!(got.field("vary"), None, "{host} {origin}");
    }
}

#[test]
fn what_is_announced_begins_with_the_prefix_by_which_the_client_came() {
    let rig = Rig::behind(None, "/llm");
    for (path, host, base) in [
        ("/llm/base", "localhost", "base /llm"),
        ("/llm/base", "home.example", "base /llm"),
        ("/base", "home.example:443", "base /llm"),
        ("/base", "localhost", "base "),
        ("/base", "x.home.example.lan", "base "),
        ("/llm", "localhost", "hello"),
        ("/llm/", "localhost", "hello"),
    ] {
        let mut client = rig.plain();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(client.reply().text(), base, "{path} {host}");
    }
    let mut client = rig.plain();
    client.send(&request("GET", "/llm/none", "", b""));
    assert_eq!(client.reply().status, 404);
}

#[test]
fn a_delete_is_routed_with_a_body_and_without() {
    let rig = Rig::new();
    for mut client in rig.both() {
        for (fields, body, answer) in [
            ("", "", "DELETE 0"),
            ("Content-Length: 0\r\n", "", "DELETE 0"),
            ("Content-Length: 2\r\n", "{}", "DELETE 2"),
        ] {
            client.send(&request("DELETE", "/method", fields, body.as_bytes()));
            assert_eq!(client.reply().text(), answer);
        }
    }
}
