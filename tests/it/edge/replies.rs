//! Whole replies, and clients that leave or do not read.

use local_llm_mcp::cancel::Reason;
use local_llm_mcp::edge::{EdgeLimits, HeaderText, Reply};

use super::support::{Rig, get, post, request};
use crate::scratch::eventually;

/// Allows replies that no socket buffers swallow.
fn deaf_rig(change: impl FnOnce(&mut EdgeLimits)) -> Rig {
    Rig::with(|limits| {
        limits.reply_bytes_max = 32_000_000;
        change(limits);
    })
}

#[test]
fn a_reply_carries_the_fields_of_the_house_and_no_others() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/fields"));
            let reply = client.reply();
            let mut names: Vec<&str> = reply.fields.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(
                names,
                [
                    "connection",
                    "content-length",
                    "content-type",
                    "date",
                    "mcp-session-id",
                    "x-accel-buffering"
                ]
            );
            assert_eq!(reply.field("mcp-session-id"), Some("abc"));
            client.send(&get("/none"));
            let refusal = client.reply();
            let mut names: Vec<&str> =
                refusal.fields.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, ["connection", "content-length", "content-type", "date"]);
        }
    });
}

#[test]
fn text_that_could_end_a_header_line_is_no_header_text() {
    for text in ["a\r\nSet-Cookie: b", "a\n", "\r", "a\0", "a\tb", "ä", "\u{7f}"] {
        assert!(HeaderText::new(text).is_none(), "{text:?}");
    }
    assert_eq!(HeaderText::new("a b; c=\"d\"").unwrap().as_str(), "a b; c=\"d\"");
    // A value written in this program is dropped rather than sent when it is wrong.
    assert!(Reply::text(200, "").with("X", "a\r\nb").fields.is_empty());
}

#[test]
fn text_of_the_client_cannot_break_out_of_a_refusal() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        client.send(b"GET / HTTP/1.1\r\nHost: \"},{\"a\":\"b\\\r\n\r\n");
        let reply = client.reply();
        assert_eq!(reply.status, 421);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 2);
    });
}

#[test]
fn a_reply_over_the_limit_is_refused_by_its_name_and_the_connection_goes_on() {
    let rig = Rig::with(|limits| limits.reply_bytes_max = 100_000);
    for mut client in rig.both() {
        client.send(&get("/big?100001"));
        let reply = client.reply();
        assert_eq!(reply.status, 500);
        assert!(reply.text().contains("reply_bytes_max (100000 bytes)"), "{reply:?}");
        // The HEAD of it has no body, or the next reply would be out of step.
        client.send(&request("HEAD", "/big?100001", "", b""));
        assert_eq!(client.head().status, 500);
        client.send(&get("/big?100000"));
        assert_eq!(client.reply().body.len(), 100_000);
    }
}

#[test]
fn replies_together_over_the_budget_are_refused_by_its_name() {
    let rig = deaf_rig(|limits| limits.replies_bytes_max = 33_000_000);
    // Takes its whole reply out of the budget and reads none of it.
    let mut deaf = rig.plain();
    deaf.send(&get("/big?32000000"));
    let head = deaf.head();
    let mut client = rig.plain();
    client.send(&get("/big?2000000"));
    let reply = client.reply();
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("replies_bytes_max (33000000 bytes)"), "{reply:?}");
    // A small reply finds its way, however full it is.
    client.send(&get("/"));
    assert_eq!(client.reply().text(), "hello");
    assert_eq!(deaf.body(&head).len(), 32_000_000);
    eventually("the budget is given back", || {
        client.send(&get("/big?32000000"));
        client.reply().status == 200
    });
}

#[test]
fn a_half_closed_plain_client_still_gets_its_reply() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        client.send(&get("/hold"));
        client.half_close();
        let exchange = rig.held();
        assert!(!exchange.admitted.gone.is_fired());
        exchange.respond(Reply::text(200, "late"));
        assert_eq!(client.reply().text(), "late");
        assert!(client.has_ended());
    });
}

#[test]
fn where_a_half_close_is_leaving_it_fires_gone_whichever_comes_first() {
    Rig::each_way(|rig| {
        for called_before in [true, false] {
            // Often enough that the edge sees the end both before and after the call.
            for _ in 0..20 {
                let mut client = rig.plain();
                client.send(&get("/hold"));
                let exchange = rig.held();
                if called_before {
                    exchange.admitted.half_close_is_leaving();
                    assert!(!exchange.admitted.gone.is_fired());
                    client.half_close();
                } else {
                    client.half_close();
                    exchange.admitted.half_close_is_leaving();
                }
                eventually("the house is told", || exchange.admitted.gone.is_fired());
                assert_eq!(exchange.admitted.gone.reason(), Some(Reason::ClientLeft));
                exchange.respond(Reply::text(200, "late"));
                assert!(client.is_cut());
            }
        }
        assert!(rig.answers());
        eventually("the connections end", || rig.edge.counts().connections == 0);
    });
}

#[test]
fn a_client_that_leaves_while_its_reply_is_pending_fires_gone() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/hold"));
            let exchange = rig.held();
            assert!(!exchange.admitted.gone.is_fired());
            client.reset();
            eventually("the house is told", || exchange.admitted.gone.is_fired());
            assert_eq!(exchange.admitted.gone.reason(), Some(Reason::ClientLeft));
            // The late answer goes nowhere and harms nobody.
            exchange.respond(Reply::text(200, "late"));
            assert!(rig.answers());
        }
    });
}

#[test]
fn a_tls_client_that_says_close_notify_while_its_reply_is_pending_fires_gone() {
    Rig::each_way(|rig| {
        let mut client = rig.tls();
        client.send(&post("/hold", b"{}"));
        let exchange = rig.held();
        client.close_notify();
        drop(client);
        eventually("the house is told", || exchange.admitted.gone.is_fired());
    });
}

#[test]
fn a_client_that_pipelines_while_its_reply_is_pending_is_still_watched() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/hold"));
            let exchange = rig.held();
            client.send(&get("/").repeat(10));
            assert!(!exchange.admitted.gone.is_fired());
            client.reset();
            eventually("the house is told", || exchange.admitted.gone.is_fired());
        }
    });
}

#[test]
fn an_exchange_that_is_dropped_or_panics_gets_a_500_and_the_house_goes_on() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        for path in ["/drop", "/panic"] {
            client.send(&get(path));
            assert_eq!(client.reply().status, 500, "{path}");
        }
        client.send(&get("/"));
        assert_eq!(client.reply().text(), "hello");
    });
}

#[test]
fn a_reader_that_never_reads_is_cut_off_at_the_limit_and_nobody_else() {
    let rig = deaf_rig(|limits| limits.write_ms_max = 300);
    for tls in [false, true] {
        let mut deaf = if tls { rig.tls() } else { rig.plain() };
        deaf.send(&get("/big?32000000"));
        eventually("it is at work", || rig.edge.counts().connections == 1);
        assert!(rig.answers());
        eventually("its connection ends", || rig.edge.counts().connections == 0);
    }
}

#[test]
fn a_slow_reader_that_reads_gets_all_of_a_long_reply() {
    let rig = deaf_rig(|limits| limits.write_ms_max = 1000);
    let mut client = rig.plain();
    client.send(&get("/big?32000000"));
    // Nothing for a while, which is less than the limit for each piece.
    std::thread::park_timeout(std::time::Duration::from_millis(500));
    assert_eq!(client.reply().body.len(), 32_000_000);
}

#[test]
fn four_readers_that_never_read_keep_nobody_waiting() {
    Rig::each_way(|rig| {
        let mut deaf: Vec<_> =
            (0..4).map(|n| if n % 2 == 0 { rig.plain() } else { rig.tls() }).collect();
        for client in &mut deaf {
            client.send(&get("/big"));
        }
        let mut health = rig.tls();
        for _ in 0..100 {
            health.send(&get("/"));
            assert_eq!(health.reply().text(), "hello");
            assert!(rig.answers());
        }
        for client in &mut deaf {
            assert_eq!(client.reply().body.len(), 4 << 20);
        }
    });
}

#[test]
fn handlers_that_wait_elsewhere_keep_nobody_waiting() {
    Rig::each_way(|rig| {
        let mut waiting = Vec::new();
        for _ in 0..40 {
            let mut client = rig.plain();
            client.send(&get("/hold"));
            waiting.push((client, rig.held()));
            assert!(rig.answers());
        }
        for (mut client, exchange) in waiting {
            exchange.respond(Reply::text(200, "late"));
            assert_eq!(client.reply().text(), "late");
        }
    });
}
