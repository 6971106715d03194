//! Request heads, row by row, as raw bytes.

use super::support::{Rig, get, post, request};
use local_llm_mcp::edge::FIELDS_MAX;

#[test]
fn plain_http_on_the_https_port_gets_a_readable_400() {
    let rig = Rig::new();
    let mut client = rig.plain_on_tls();
    client.send(b"GET /sse HTTP/1.1\r\nHost: pi.local:3010\r\n\r\n");
    let reply = client.reply();
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("use https://pi.local:3010/ instead of http://"), "{reply:?}");
    assert!(client.has_ended());
    assert_eq!(rig.handled(), 0);
    // The port goes on speaking TLS.
    let mut client = rig.tls();
    client.send(&get("/"));
    assert_eq!(client.reply().text(), "hello");
}

#[test]
fn a_line_that_ends_with_lf_alone_is_refused() {
    let rig = Rig::new();
    let words = "ends with LF alone";
    rig.refuses("GET / HTTP/1.1\nHost: localhost\n\n", 400, words);
    rig.refuses("GET / HTTP/1.1\nHost: localhost\r\n\r\n", 400, words);
    rig.refuses("GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400, words);
    rig.refuses("GET / HTTP/1.1\r\nHost: localhost\r\n\n", 400, words);
    rig.refuses("GET / HTTP/1.1\r\nHost: localhost\n\r\n", 400, words);
}

#[test]
fn a_cr_that_stands_alone_is_refused() {
    let rig = Rig::new();
    let words = "CR stands alone";
    rig.refuses("GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n", 400, words);
    rig.refuses("GET / HTTP/1.1\rHost: localhost\r\n\r\n", 400, words);
    rig.refuses("GET / HTTP/1.1\r\nHost: localhost\r\r\n\r\n", 400, words);
}

#[test]
fn a_folded_line_is_refused() {
    let rig = Rig::new();
    for space in [" ", "\t", " \t "] {
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n{space}b\r\n\r\n");
        rig.refuses(head, 400, "begins with white space");
    }
    rig.refuses("GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400, "begins with white space");
}

#[test]
fn white_space_around_a_field_name_is_refused() {
    let rig = Rig::new();
    for name in ["X ", "X\t", "", "X Y", "Content-Length "] {
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{name}: 1\r\n\r\n");
        rig.refuses(head, 400, "a header name has a character");
    }
}

#[test]
fn a_missing_or_second_host_is_refused() {
    let rig = Rig::new();
    rig.refuses("GET / HTTP/1.1\r\n\r\n", 400, "Host header is missing");
    for second in ["localhost", "other.local"] {
        let head = request("GET", "/", &format!("Host: {second}\r\n"), b"");
        rig.refuses(head, 400, "Host header came twice");
    }
    rig.refuses("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "evil.example");
    rig.refuses("GET / HTTP/1.1\r\nHost:\r\n\r\n", 421, "not a name of this server");
}

#[test]
fn a_second_content_length_is_refused_even_an_equal_one() {
    let rig = Rig::new();
    for second in ["5", "6"] {
        let fields = format!("Content-Length: 5\r\nContent-Length: {second}\r\n");
        rig.refuses(request("POST", "/echo", &fields, b"12345"), 400, "Content-Length header came");
    }
}

#[test]
fn a_content_length_that_is_not_plain_digits_is_refused() {
    let rig = Rig::new();
    let wrong =
        ["5, 5", "5,6", "+5", "-5", "0x5", "5.0", "5 5", "", "five", "99999999999999999999"];
    for length in wrong {
        let fields = format!("Content-Length: {length}\r\n");
        rig.refuses(request("POST", "/echo", &fields, b"12345"), 400, "not a number");
    }
}

#[test]
fn content_length_with_transfer_encoding_is_refused_in_either_order() {
    let rig = Rig::new();
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: identity\r\n",
    ] {
        let bytes = request("POST", "/echo", fields, b"0\r\n\r\n");
        rig.refuses(bytes, 400, "exclude each other");
    }
}

#[test]
fn every_transfer_encoding_but_chunked_is_refused() {
    let rig = Rig::new();
    for coding in
        ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "x", "identity", ""]
    {
        let fields = format!("Transfer-Encoding: {coding}\r\n");
        let bytes = request("POST", "/echo", &fields, b"0\r\n\r\n");
        rig.refuses(bytes, 501, "the only transfer coding");
    }
    let fields = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    rig.refuses(request("POST", "/echo", fields, b"0\r\n\r\n"), 400, "came twice");
    let old = "POST /echo HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    rig.refuses(old, 400, "HTTP/1.0 has no Transfer-Encoding");
}

#[test]
fn the_absolute_form_is_served_when_it_names_this_server() {
    let rig = Rig::new();
    let mut client = rig.plain();
    for target in ["http://localhost/", "HTTP://LOCALHOST", "http://localhost?a=b"] {
        client.send(&get(target));
        assert_eq!(client.reply().text(), "hello", "{target}");
    }
    client.send(&get("http://localhost/none"));
    assert_eq!(client.reply().status, 404);
}

#[test]
fn the_absolute_form_of_another_server_is_refused() {
    let rig = Rig::new();
    for target in [
        "http://other.local/",
        "http://localhost:81/",
        "http://user@localhost/",
        "ftp://localhost/",
        "http://",
        "http:///",
    ] {
        rig.refuses(get(target), 400, "no proxy");
    }
}

#[test]
fn a_target_that_is_no_path_is_refused() {
    let rig = Rig::new();
    for target in ["localhost:80", "*", "sse", "?a=b"] {
        rig.refuses(get(target), 400, "not a path");
    }
    rig.refuses(get("/#fragment"), 400, "character that it may not have");
    rig.refuses("GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1");
    rig.refuses("GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "not an HTTP/1.1 request");
}

#[test]
fn connect_and_unknown_methods_are_refused() {
    let rig = Rig::new();
    let connect = "CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    rig.refuses(connect, 501, "no route here knows this method");
    for method in ["TRACE", "get", "BREW", "M-SEARCH"] {
        rig.refuses(request(method, "/", "", b""), 501, "no route here knows this method");
    }
}

#[test]
fn options_asks_about_the_server_or_a_path_and_needs_no_principal() {
    let rig = Rig::new();
    for mut client in rig.both() {
        for (target, allow) in [
            ("*", "GET, POST, OPTIONS"),
            ("/", "GET, HEAD, OPTIONS"),
            ("/private", "POST, OPTIONS"),
        ] {
            client.send(&request("OPTIONS", target, "", b""));
            let reply = client.reply();
            assert_eq!((reply.status, reply.field("allow")), (204, Some(allow)), "{target}");
            assert_eq!(reply.field("content-length"), None);
        }
        client.send(&get("/"));
        assert_eq!(client.reply().text(), "hello");
    }
}

#[test]
fn http_1_0_is_served_and_its_connection_closed() {
    let rig = Rig::new();
    for mut client in rig.both() {
        client.send(b"GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n");
        let reply = client.reply();
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        assert_eq!(reply.field("connection"), Some("close"));
        assert!(client.has_ended());
    }
}

#[test]
fn older_and_newer_versions_of_http_are_refused() {
    let rig = Rig::new();
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "http/1.1"] {
        let head = format!("GET / {version}\r\nHost: localhost\r\n\r\n");
        rig.refuses(head, 505, "HTTP/1.1 and HTTP/1.0");
    }
    rig.refuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0");
    // HTTP/0.9 names no version at all.
    rig.refuses("GET /\r\n\r\n", 400, "not an HTTP/1.1 request");
}

#[test]
fn a_100_is_sent_once_the_gate_has_admitted_the_head() {
    let rig = Rig::new();
    for mut client in rig.both() {
        let fields = "Content-Length: 5\r\nExpect: 100-continue\r\n";
        client.send(&request("POST", "/echo", fields, b""));
        assert_eq!(client.head().status, 100);
        client.send(b"12345");
        assert_eq!(client.reply().text(), "12345");
    }
}

#[test]
fn a_refused_head_gets_its_refusal_and_no_100() {
    let rig = Rig::new();
    for (path, length, host, status) in [
        ("/none", 5, "localhost", 404),
        ("/", 5, "localhost", 405),
        ("/echo", 5, "evil.example", 421),
        ("/echo", 1 << 30, "localhost", 413),
    ] {
        let mut client = rig.plain();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Expect: 100-Continue\r\n\r\n"
        );
        client.send(head.as_bytes());
        assert_eq!(client.reply().status, status);
        assert!(client.has_ended());
    }
    assert_eq!(rig.handled(), 0);
}

#[test]
fn a_body_that_came_with_its_expectation_gets_no_100() {
    let rig = Rig::new();
    let mut client = rig.plain();
    client.send(&request("POST", "/echo", "Content-Length: 2\r\nExpect: 100-continue\r\n", b"ab"));
    assert_eq!(client.reply().text(), "ab");
}

#[test]
fn another_expectation_is_refused() {
    let rig = Rig::new();
    let fields = "Content-Length: 5\r\nExpect: 200-ok\r\n";
    rig.refuses(request("POST", "/echo", fields, b""), 417, "100-continue");
    let fields = "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: x\r\n";
    rig.refuses(request("POST", "/echo", fields, b""), 400, "Expect header came twice");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let rig = Rig::new();
    for mut client in rig.both() {
        let mut bytes = Vec::new();
        for n in 0..50 {
            bytes.extend(post("/echo", format!("body {n}").as_bytes()));
            bytes.extend(get("/none"));
        }
        client.send(&bytes);
        for n in 0..50 {
            assert_eq!(client.reply().text(), format!("body {n}"));
            assert_eq!(client.reply().status, 404);
        }
    }
}

#[test]
fn what_comes_behind_a_closing_request_is_not_answered() {
    let rig = Rig::new();
    let mut client = rig.plain();
    let mut bytes = request("GET", "/", "Connection: x, Close\r\n", b"");
    bytes.extend(get("/"));
    client.send(&bytes);
    assert_eq!(client.reply().field("connection"), Some("close"));
    assert!(client.has_ended());
    assert_eq!(rig.handled(), 1);
}

#[test]
fn head_gets_the_headers_of_get_and_no_body() {
    let rig = Rig::new();
    for mut client in rig.both() {
        for target in ["/", "/big?100000", "/none"] {
            client.send(&get(target));
            let full = client.reply();
            client.send(&request("HEAD", target, "", b""));
            let head = client.head();
            assert_eq!(head.status, full.status);
            let kept = |got: &super::support::Got| {
                let mut fields = got.fields.clone();
                fields.retain(|(name, _)| name != "date");
                fields
            };
            assert_eq!(kept(&head), kept(&full), "{target}");
        }
        // Nothing of a body stands before the next reply.
        client.send(&get("/"));
        assert_eq!(client.reply().text(), "hello");
    }
}

#[test]
fn a_head_request_opens_no_stream() {
    let rig = Rig::new();
    let mut client = rig.plain();
    client.send(&request("HEAD", "/events", "", b""));
    let head = client.head();
    assert_eq!((head.status, head.field("allow")), (405, Some("GET, OPTIONS")));
    client.send(&get("/"));
    assert_eq!(client.reply().text(), "hello");
    assert_eq!(rig.handled(), 1);
}

#[test]
fn bytes_that_are_not_ascii_are_refused() {
    let rig = Rig::new();
    rig.refuses(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \xe4\r\n\r\n", 400, "not ASCII");
    rig.refuses("GET /ä HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "not ASCII");
}

#[test]
fn control_characters_are_refused() {
    let rig = Rig::new();
    for byte in ["\0", "\x01", "\x0b", "\x7f"] {
        let value = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: a{byte}b\r\n\r\n");
        rig.refuses(value, 400, "a header value has a character");
        let name = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX{byte}: a\r\n\r\n");
        rig.refuses(name, 400, "a header name has a character");
        rig.refuses(get(&format!("/{byte}")), 400, "not an HTTP/1.1 request");
    }
}

#[test]
fn something_that_is_not_http_is_told_so_at_once() {
    let rig = Rig::new();
    rig.refuses(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "not an HTTP/1.1 request");
    rig.refuses(b"\0\0\0", 400, "not an HTTP/1.1 request");
    rig.refuses("\r\n\r\n\r\n", 400, "not an HTTP/1.1 request");
}

#[test]
fn an_empty_line_before_a_request_is_skipped() {
    let rig = Rig::new();
    let mut client = rig.plain();
    client.send(&post("/echo", b"one"));
    client.send(b"\r\n");
    client.send(&post("/echo", b"two"));
    assert_eq!(client.reply().text(), "one");
    assert_eq!(client.reply().text(), "two");
}

#[test]
fn a_head_over_the_limit_is_refused_by_its_name() {
    let rig = Rig::new();
    let words = "head_bytes_max (4096 bytes)";
    let whole = request("GET", "/", &format!("X: {}\r\n", "x".repeat(5000)), b"");
    rig.refuses(&whole, 431, words);
    // One that never ends is refused when it passes the limit.
    rig.refuses(&whole[..4096], 431, words);
    let fits = 4096 - get("/").len() - "X: \r\n".len();
    let mut client = rig.plain();
    client.send(&request("GET", "/", &format!("X: {}\r\n", "x".repeat(fits)), b""));
    assert_eq!(client.reply().status, 200);
    let more = request("GET", "/", &format!("X: {}\r\n", "x".repeat(fits + 1)), b"");
    rig.refuses(more, 431, words);
}

#[test]
fn a_request_line_over_the_limit_is_a_414_by_the_limits_name() {
    let rig = Rig::new();
    let words = "the request line passes the limit head_bytes_max (4096 bytes)";
    rig.refuses(get(&format!("/{}", "x".repeat(5000))), 414, words);
    rig.refuses("x".repeat(4096), 414, words);
}

#[test]
fn too_many_fields_are_refused_by_the_limits_name() {
    let rig = Rig::new();
    let mut client = rig.plain();
    client.send(&request("GET", "/", &"X: y\r\n".repeat(FIELDS_MAX - 1), b""));
    assert_eq!(client.reply().status, 200);
    let bytes = request("GET", "/", &"X: y\r\n".repeat(FIELDS_MAX), b"");
    rig.refuses(bytes, 431, "fields_max (64)");
}

#[test]
fn a_slow_head_is_a_408_by_the_limits_name() {
    let rig = Rig::with(|limits| limits.head_ms_max = 100);
    rig.refuses("GET / HTTP/1.1\r\nHost: local", 408, "head_ms_max (100 ms)");
}

#[test]
fn no_field_of_a_client_forges_an_exchange() {
    let rig = Rig::new();
    let mut first = rig.plain();
    first.send(&get("/hold"));
    let held = rig.held();
    let mut client = rig.plain();
    for forged in ["1.x", "2", "1.00000000000000000000000000000000"] {
        client.send(&request(
            "POST",
            "/echo",
            &format!("X-Exchange: {forged}\r\nContent-Length: 2\r\n"),
            b"ab",
        ));
        assert_eq!(client.reply().text(), "ab");
    }
    held.respond(local_llm_mcp::edge::Reply::text(200, "held"));
    assert_eq!(first.reply().text(), "held");
}

#[test]
fn a_connection_goes_on_behind_refusals_that_leave_its_framing_whole() {
    let rig = Rig::new();
    for mut client in rig.both() {
        for (bytes, status) in [
            (get("/none"), 404),
            (post("/none", b"a body that is skipped"), 404),
            (post("/", b"a body that is skipped"), 405),
            (request("DELETE", "/", "", b""), 405),
            (get("/echo"), 405),
        ] {
            client.send(&bytes);
            let reply = client.reply();
            assert_eq!((reply.status, reply.field("connection")), (status, Some("keep-alive")));
        }
        client.send(&get("/"));
        assert_eq!(client.reply().text(), "hello");
    }
    assert_eq!(rig.handled(), 2);
}
