//! Bodies: framing, limits, budgets.

use std::io::Write;

use super::support::{Rig, get, post, request};
use crate::scratch::eventually;

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn a_chunked_body_arrives_whole_and_the_connection_goes_on() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            let coded = b"4;x=\"y\"\r\nabcd\r\n003\r\nefg\r\n0\r\nTrailer: dropped\r\n\r\n";
            client.send(&request("POST", "/echo", CHUNKED, coded));
            assert_eq!(client.reply().text(), "abcdefg");
            client.send(&request("POST", "/echo", "transfer-encoding: Chunked\r\n", b"0\r\n\r\n"));
            assert_eq!(client.reply().text(), "");
            client.send(&get("/"));
            assert_eq!(client.reply().text(), "hello");
        }
    });
}

#[test]
fn a_stranger_makes_nobody_read_much_on_whatever_route() {
    const TOKEN: &str = "a-token-of-the-test-that-is-long-enough-0123456789";
    let rig = Rig::behind(Some(TOKEN), "");
    let (known, body) = (format!("Authorization: Bearer {TOKEN}\r\n"), vec![b'a'; 64 * 1024 + 1]);
    for (path, fields, status) in [
        ("/echo", "Host: localhost\r\n", 413),
        ("/public", "Host: home.example\r\n", 413),
        ("/echo", &format!("Host: localhost\r\n{known}"), 200),
    ] {
        let mut client = rig.plain();
        let head =
            format!("POST {path} HTTP/1.1\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        client.send(&[head.as_bytes(), &body].concat());
        let got = client.reply();
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.text().contains("body_bytes_max (65536 bytes)"), status == 413, "{path}");
    }
}

#[test]
fn a_body_in_single_bytes_arrives_whole() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            for byte in request("POST", "/echo", CHUNKED, b"2\r\nab\r\n0\r\n\r\n") {
                client.send(&[byte]);
            }
            assert_eq!(client.reply().text(), "ab");
        }
    });
}

#[test]
fn a_large_body_arrives_whole() {
    Rig::each_way(|rig| {
        let body: Vec<u8> = (0..1024 * 1024).map(|n: u32| b'a' + (n % 23) as u8).collect();
        for mut client in rig.both() {
            client.send(&post("/echo", &body));
            assert!(client.reply().body == body);
        }
    });
}

#[test]
fn broken_chunks_are_refused() {
    Rig::each_way(|rig| {
        for coded in ["x\r\n", "-1\r\n", "0x1\r\na", "1\na", "1\r\nab", "\r\n", "1 \n"] {
            let words =
                if coded == "1\r\nab" { "does not end" } else { "not a hexadecimal number" };
            rig.refuses(request("POST", "/echo", CHUNKED, coded.as_bytes()), 400, words);
        }
        let trailers = format!("0\r\n{}", "X: y\r\n".repeat(2000));
        rig.refuses(request("POST", "/echo", CHUNKED, trailers.as_bytes()), 400, "trailers");
    });
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_name_before_it_is_sent() {
    let rig = Rig::with(|limits| limits.body_bytes_max = 1000);
    let words = "body_bytes_max (1000 bytes)";
    rig.refuses(request("POST", "/echo", "Content-Length: 1001\r\n", b""), 413, words);
    rig.refuses(
        request("POST", "/echo", "Content-Length: 18446744073709551615\r\n", b""),
        413,
        words,
    );
    // A chunked one as soon as a chunk's size passes the limit.
    rig.refuses(request("POST", "/echo", CHUNKED, b"3e9\r\n"), 413, words);
    let coded = format!("3e8\r\n{}\r\n1\r\n", "x".repeat(1000));
    rig.refuses(request("POST", "/echo", CHUNKED, coded.as_bytes()), 413, words);
    let mut client = rig.plain();
    client.send(&post("/echo", &[b'x'; 1000]));
    assert_eq!(client.reply().body.len(), 1000);
}

#[test]
fn a_client_that_sends_its_refused_body_all_the_same_reads_the_refusal() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&post("/echo", &vec![b'x'; 8 << 20]));
            assert_eq!(client.reply().status, 413);
        }
        assert_eq!(rig.handled(), 0);
    });
}

#[test]
fn a_slow_body_is_a_408_by_the_limits_name() {
    let rig = Rig::with(|limits| limits.body_ms_max = 100);
    let words = "body_ms_max (100 ms)";
    rig.refuses(request("POST", "/echo", "Content-Length: 5\r\n", b"1234"), 408, words);
    rig.refuses(request("POST", "/echo", CHUNKED, b"5\r\n1234"), 408, words);
}

#[test]
fn a_body_that_breaks_off_never_reaches_the_handler() {
    Rig::each_way(|rig| {
        for fields in ["Content-Length: 50000\r\n", CHUNKED] {
            for mut client in rig.both() {
                client.send(&request("POST", "/echo", fields, b"4\r\nabcd"));
                client.close_notify();
                client.half_close();
                assert!(client.is_cut());
            }
        }
        assert_eq!(rig.handled(), 0);
        eventually("the connections end", || rig.edge.counts().connections == 0);
    });
}

#[test]
fn bodies_together_over_the_budget_are_refused_by_its_name() {
    let rig = Rig::with(|limits| limits.bodies_bytes_max = 100_000);
    // Whichever comes second is refused, so try until it is the second.
    let full = "bodies_bytes_max (100000 bytes)";
    let mut first = rig.plain();
    eventually("the second body is refused", || {
        first = rig.plain();
        first.send(&request("POST", "/echo", "Content-Length: 80001\r\n", &[b'x'; 80_000]));
        let mut second = rig.plain();
        second.send(&post("/echo", &[b'x'; 30_000]));
        let reply = second.reply();
        reply.status == 503 && reply.text().contains(full)
    });
    // A small body finds its way, however full it is.
    let mut small = rig.plain();
    small.send(&post("/echo", b"cancelled"));
    assert_eq!(small.reply().text(), "cancelled");
    // The budget is given back.
    first.send(b"x");
    assert_eq!(first.reply().body.len(), 80_001);
    let mut second = rig.plain();
    second.send(&post("/echo", &[b'x'; 90_000]));
    assert_eq!(second.reply().body.len(), 90_000);
}

#[test]
fn an_announced_body_takes_nothing_of_the_budget_until_it_comes() {
    let rig = Rig::with(|limits| limits.bodies_bytes_max = 1024 * 1024);
    let mut announcers: Vec<_> = (0..8).map(|_| rig.plain()).collect();
    for client in &mut announcers {
        let fields = "Content-Length: 1048576\r\nExpect: 100-continue\r\n";
        client.send(&request("POST", "/echo", fields, b""));
        assert_eq!(client.head().status, 100);
    }
    let mut client = rig.plain();
    client.send(&post("/echo", &[b'x'; 100_000]));
    assert_eq!(client.reply().body.len(), 100_000);
}

#[test]
fn a_foreign_process_on_the_inner_socket_is_refused() {
    Rig::each_way(|rig| {
        for ticket in ["", "X-Exchange: 1.x\r\n", "X-Exchange: 1\r\n", "X-Exchange: 1.\r\n"] {
            let mut inner =
                std::os::unix::net::UnixStream::connect(rig.scratch.file("inner/0.sock")).unwrap();
            inner.set_read_timeout(Some(super::support::SOON)).unwrap();
            let head = format!("GET / HTTP/1.1\r\n{ticket}Connection: close\r\n\r\n");
            inner.write_all(head.as_bytes()).unwrap();
            let mut reply = String::new();
            std::io::Read::read_to_string(&mut inner, &mut reply).unwrap();
            assert!(reply.starts_with("HTTP/1.1 403 "), "{reply:?}");
        }
        assert_eq!(rig.handled(), 0);
    });
}
