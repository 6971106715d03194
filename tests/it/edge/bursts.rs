//! Many at once, and the inner listener's death.

use std::sync::Barrier;
use std::thread;

use local_llm_mcp::edge::Reply;

use super::support::{Rig, get, post, request};
use crate::scratch::eventually;

const AT_ONCE: usize = 300;

/// Connects and asks on as many threads as there are clients, all at the same moment.
fn burst(rig: &Rig, tls: bool, bytes: &[u8]) {
    let together = Barrier::new(AT_ONCE);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let ask = || {
                    together.wait();
                    let mut client = if tls { rig.tls() } else { rig.plain() };
                    client.send(bytes);
                    client.reply().status
                };
                thread::Builder::new().stack_size(512 * 1024).spawn_scoped(scope, ask).unwrap()
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.join().unwrap(), 200);
        }
    });
}

#[test]
fn three_hundred_plain_connections_at_once_are_all_answered() {
    let rig = Rig::new();
    for _ in 0..3 {
        burst(&rig, false, &post("/echo", b"{}"));
    }
    assert_eq!(rig.handled(), 3 * AT_ONCE);
    eventually("the connections end", || rig.edge.counts().connections == 0);
}

#[test]
fn three_hundred_tls_connections_at_once_are_all_answered() {
    let rig = Rig::new();
    for _ in 0..2 {
        burst(&rig, true, &post("/echo", b"{}"));
    }
    assert_eq!(rig.handled(), 2 * AT_ONCE);
    eventually("the connections end", || rig.edge.counts().connections == 0);
}

#[test]
fn three_hundred_connections_that_close_behind_themselves_are_all_answered() {
    let rig = Rig::new();
    for _ in 0..3 {
        burst(&rig, false, &request("GET", "/", "Connection: close\r\n", b""));
    }
    eventually("the connections end", || rig.edge.counts().connections == 0);
}

/// Takes the inner listener's socket away, so that nobody can connect to it.
fn kill_inner_listener(rig: &Rig) {
    for socket in std::fs::read_dir(rig.scratch.file("inner")).unwrap() {
        std::fs::remove_file(socket.unwrap().path()).unwrap();
    }
}

#[test]
fn requests_go_on_when_the_inner_listener_is_gone() {
    let rig = Rig::new();
    for _ in 0..4 {
        let hold = || {
            let mut client = rig.plain();
            client.send(&get("/hold"));
            (client, rig.held())
        };
        let before = hold();
        kill_inner_listener(&rig);
        // A held exchange keeps its inner connection, so sooner or later one wants a new one.
        let mut held = vec![before];
        while std::fs::read_dir(rig.scratch.file("inner")).unwrap().next().is_none() {
            held.push(hold());
        }
        // What was under way at the old listener gets its answer all the same, and its connection
        // is not used again: there, nobody listens.
        for (mut client, exchange) in held {
            exchange.respond(Reply::text(200, "late"));
            assert_eq!(client.reply().text(), "late");
            client.send(&get("/"));
            assert_eq!(client.reply().text(), "hello");
        }
    }
}

#[test]
fn requests_go_on_when_a_cleaner_takes_the_folder() {
    let rig = Rig::new();
    std::fs::remove_dir_all(rig.scratch.file("inner")).unwrap();
    assert!(rig.answers());
    assert_eq!(crate::scratch::mode(&rig.scratch.file("inner")), 0o700);
}

#[test]
fn a_burst_survives_the_death_of_the_inner_listener() {
    let rig = Rig::new();
    for _ in 0..3 {
        kill_inner_listener(&rig);
        burst(&rig, false, &get("/"));
    }
}
