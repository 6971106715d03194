//! Event streams.

use super::support::{Rig, get, request};
use crate::scratch::eventually;
use local_llm_mcp::cancel::Reason;

#[test]
fn a_stream_opens_at_once_flows_and_ends() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/events"));
            let head = client.head();
            assert_eq!(head.status, 200);
            assert_eq!(head.field("content-type"), Some("text/event-stream"));
            assert_eq!(head.field("transfer-encoding"), Some("chunked"));
            assert_eq!(head.field("content-length"), None);
            let stream = rig.stream();
            for n in 0..100 {
                let event = format!("data: {n}\n\n");
                stream.say(&event);
                assert_eq!(client.chunk(), event);
            }
            assert!(!stream.admitted.gone.is_fired());
            stream.end();
            assert_eq!(client.chunk(), "");
            assert!(client.has_ended());
            eventually("the source is dropped", || stream.is_over());
        }
    });
}

#[test]
fn a_stream_for_http_1_0_has_no_chunks_and_ends_with_its_connection() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        client.send(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let head = client.head();
        assert_eq!(head.field("transfer-encoding"), None);
        assert_eq!(head.field("connection"), Some("close"));
        let stream = rig.stream();
        stream.say("data: one\n\n");
        stream.end();
        assert_eq!(client.rest(), b"data: one\n\n");
    });
}

#[test]
fn a_large_event_arrives_whole() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/events"));
            client.head();
            let stream = rig.stream();
            let event = format!("data: {}\n\n", "x".repeat(3 << 20));
            stream.say(&event);
            stream.end();
            let mut whole = String::new();
            loop {
                let chunk = client.chunk();
                if chunk.is_empty() {
                    break;
                }
                whole.push_str(&chunk);
            }
            assert!(whole == event);
        }
    });
}

#[test]
fn silence_is_broken_by_comments() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        client.send(&get("/events?20"));
        client.head();
        for _ in 0..3 {
            assert!(client.chunk().starts_with(':'));
        }
    });
}

#[test]
fn a_client_that_closes_its_stream_is_noticed_at_once() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/events"));
            client.head();
            let stream = rig.stream();
            client.close_notify();
            drop(client);
            eventually("the house is told", || stream.admitted.gone.is_fired());
            assert_eq!(stream.admitted.gone.reason(), Some(Reason::ClientLeft));
            eventually("the source is dropped", || stream.is_over());
        }
        eventually("the connections end", || rig.edge.counts().connections == 0);
    });
}

#[test]
fn a_client_that_resets_its_stream_is_noticed_at_once() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/events"));
            client.head();
            let stream = rig.stream();
            client.reset();
            eventually("the house is told", || stream.admitted.gone.is_fired());
        }
    });
}

#[test]
fn a_plain_client_that_only_stops_sending_keeps_its_stream() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        client.send(&get("/events"));
        client.head();
        let stream = rig.stream();
        client.half_close();
        // The comment by which the edge asks whether anybody is there.
        assert!(client.chunk().starts_with(':'));
        for n in 0..3 {
            stream.say(&format!("data: {n}\n\n"));
            assert_eq!(client.chunk(), format!("data: {n}\n\n"));
        }
        assert!(!stream.admitted.gone.is_fired());
    });
}

#[test]
fn where_a_half_close_is_leaving_it_ends_the_stream() {
    Rig::each_way(|rig| {
        for called_before in [true, false] {
            let mut client = rig.plain();
            client.send(&get("/events"));
            client.head();
            let stream = rig.stream();
            if called_before {
                stream.admitted.half_close_is_leaving();
                assert!(!stream.admitted.gone.is_fired());
                client.half_close();
            } else {
                client.half_close();
                // The edge has seen it, and asks whether anybody is there.
                assert!(client.chunk().starts_with(':'));
                stream.admitted.half_close_is_leaving();
            }
            eventually("the house is told", || stream.admitted.gone.is_fired());
            assert_eq!(stream.admitted.gone.reason(), Some(Reason::ClientLeft));
            eventually("the source is dropped", || stream.is_over());
            assert!(client.is_cut());
        }
    });
}

#[test]
fn what_a_streams_client_says_is_dropped() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/events"));
            client.head();
            let stream = rig.stream();
            let noise = get("/").repeat(2000);
            client.send(&noise);
            stream.say("data: on\n\n");
            assert_eq!(client.chunk(), "data: on\n\n");
            stream.end();
            assert_eq!(client.chunk(), "");
        }
        assert_eq!(rig.handled(), 2);
    });
}

#[test]
fn the_house_can_hang_up_a_stream() {
    Rig::each_way(|rig| {
        for mut client in rig.both() {
            client.send(&get("/events"));
            client.head();
            let stream = rig.stream();
            stream.admitted.hang_up.fire(Reason::SessionEnded);
            assert!(client.is_cut());
            eventually("the source is dropped", || stream.is_over());
        }
    });
}

#[test]
fn a_reader_that_does_not_read_loses_only_its_own_stream() {
    let rig = Rig::with(|limits| limits.write_ms_max = 300);
    let mut deaf = rig.plain();
    deaf.send(&get("/events"));
    let stream = rig.stream();
    let mut hearing = rig.plain();
    hearing.send(&get("/events"));
    hearing.head();
    let other = rig.stream();
    stream.say(&format!("data: {}\n\n", "x".repeat(32 << 20)));
    other.say("data: on\n\n");
    assert_eq!(hearing.chunk(), "data: on\n\n");
    eventually("the house is told", || stream.admitted.gone.is_fired());
    eventually("the source is dropped", || stream.is_over());
    other.say("data: still\n\n");
    assert_eq!(hearing.chunk(), "data: still\n\n");
}

#[test]
fn a_whole_reply_where_a_stream_was_asked_for_leaves_the_house_answering() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        for _ in 0..50 {
            client.send(&get("/no-events"));
            let reply = client.reply();
            assert_eq!((reply.status, reply.text()), (503, "no place for another stream"));
            client.send(&get("/"));
            assert_eq!(client.reply().text(), "hello");
        }
    });
}

#[test]
fn streams_leave_the_house_answering() {
    Rig::each_way(|rig| {
        let mut streams = Vec::new();
        for _ in 0..100 {
            let mut client = rig.plain();
            client.send(&get("/events"));
            client.head();
            streams.push((client, rig.stream()));
            assert!(rig.answers());
        }
        for (client, stream) in &mut streams {
            stream.say("data: all\n\n");
            assert_eq!(client.chunk(), "data: all\n\n");
        }
    });
}

#[test]
fn a_method_that_a_stream_does_not_take_is_a_405_with_the_list() {
    Rig::each_way(|rig| {
        let mut client = rig.plain();
        client.send(&request("POST", "/events", "Content-Length: 2\r\n", b"{}"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.field("allow")), (405, Some("GET, OPTIONS")));
    });
}
