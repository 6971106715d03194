//! Connections: caps, stalls, descriptors, the end.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::{Client, Rig, SOON, get};
use crate::scratch::{Scratch, eventually};

#[test]
fn a_handshake_that_stalls_is_ended_at_its_limit() {
    let rig = Rig::with(|limits| limits.handshake_ms_max = 100);
    for begun in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut client = rig.plain_on_tls();
        client.send(begun);
        let asked = Instant::now();
        assert!(client.is_cut());
        assert!(asked.elapsed() < SOON);
    }
    eventually("the connections end", || rig.edge.counts().connections == 0);
}

#[test]
fn garbage_instead_of_a_handshake_ends_that_connection_only() {
    let rig = Rig::new();
    for garbage in
        [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16\xff\xff\xff\xff\xff\xff", b"\x80\x2e\x01"]
    {
        let mut client = rig.plain_on_tls();
        client.send(garbage);
        client.half_close();
        assert!(client.is_cut());
    }
    let mut client = rig.tls();
    client.send(&get("/"));
    assert_eq!(client.reply().status, 200);
}

#[test]
fn a_connection_that_never_speaks_is_closed() {
    let rig = Rig::with(|limits| limits.head_ms_max = 100);
    for mut client in rig.both() {
        assert!(client.has_ended());
    }
}

#[test]
fn a_kept_connection_is_closed_when_its_time_is_over() {
    let rig = Rig::with(|limits| limits.keep_alive_ms_max = 100);
    for mut client in rig.both() {
        client.send(&get("/"));
        assert_eq!(client.reply().status, 200);
        assert!(client.has_ended());
    }
    eventually("the connections end", || rig.edge.counts().connections == 0);
}

#[test]
fn an_idle_connection_leaves_the_thread_that_answered_for_it_and_goes_on() {
    let rig = Rig::alone(|_| {});
    for mut client in rig.both() {
        for _ in 0..2 {
            client.send(&get("/stay"));
            assert_eq!(client.reply().status, 200);
            assert_eq!(rig.staying(), 1);
            eventually("the thread has ended", || rig.staying() == 0);
        }
        let before = rig.edge.counts();
        assert_eq!(before.accepted, 2);
        drop(client);
        eventually("it is gone", || rig.edge.counts().connections < before.connections);
    }
}

#[test]
fn an_idle_connection_that_moved_still_ends_at_its_limit_and_makes_room() {
    let rig = Rig::alone(|limits| limits.keep_alive_ms_max = 600);
    let mut client = rig.plain();
    client.send(&get("/stay"));
    assert_eq!(client.reply().status, 200);
    eventually("the thread has ended", || rig.staying() == 0);
    assert!(client.has_ended());
    let rig = Rig::alone(|limits| limits.connections_max = 1);
    let mut first = rig.plain();
    first.send(&get("/stay"));
    assert_eq!(first.reply().status, 200);
    eventually("the thread has ended", || rig.staying() == 0);
    assert!(rig.answers());
    assert!(first.has_ended());
}

#[test]
fn at_the_cap_the_oldest_idle_connection_is_closed_for_the_new_one() {
    let rig = Rig::with(|limits| limits.connections_max = 3);
    let mut clients: Vec<Client> = (0..3).map(|_| rig.plain()).collect();
    for client in &mut clients {
        client.send(&get("/"));
        assert_eq!(client.reply().status, 200);
    }
    // Nobody waits for a place, so nobody is closed.
    eventually("all three are idle", || rig.edge.counts().idle == 3);
    assert_eq!(rig.edge.counts().evicted, 0);
    let mut new = rig.plain();
    new.send(&get("/"));
    assert_eq!(new.reply().status, 200);
    let mut clients = clients.into_iter();
    assert!(clients.next().unwrap().has_ended());
    for mut kept in clients {
        kept.send(&get("/"));
        assert_eq!(kept.reply().status, 200);
    }
    assert_eq!(rig.edge.counts().evicted, 1);
}

#[test]
fn at_the_cap_those_that_never_speak_make_room() {
    let rig = Rig::with(|limits| {
        limits.connections_max = 3;
        limits.head_ms_max = 600_000;
        limits.handshake_ms_max = 600_000;
    });
    let mut working = rig.plain();
    working.send(&get("/hold"));
    let exchange = rig.held();
    let mut silent = [rig.plain(), rig.plain_on_tls()];
    eventually("they are in", || rig.edge.counts().connections == 3);
    let mut new = [rig.plain(), rig.plain()];
    for new in &mut new {
        new.send(&get("/"));
        assert_eq!(new.reply().status, 200);
    }
    assert!(silent.iter_mut().any(Client::is_cut));
    exchange.respond(local_llm_mcp::edge::Reply::text(200, "unharmed"));
    assert_eq!(working.reply().text(), "unharmed");
}

#[test]
fn at_the_cap_with_all_at_work_a_new_connection_waits_for_its_place() {
    let rig = Rig::with(|limits| limits.connections_max = 2);
    let mut working: Vec<_> = (0..2)
        .map(|_| {
            let mut client = rig.plain();
            client.send(&get("/hold"));
            (client, rig.held())
        })
        .collect();
    let mut new = rig.plain();
    new.send(&get("/"));
    let (mut client, exchange) = working.pop().unwrap();
    assert_eq!(rig.edge.counts().connections, 2);
    exchange.respond(local_llm_mcp::edge::Reply::text(200, "late"));
    assert_eq!(client.reply().text(), "late");
    assert_eq!(new.reply().text(), "hello");
    let (_client, exchange) = working.pop().unwrap();
    assert!(!exchange.admitted.gone.is_fired());
}

#[test]
fn a_stranger_that_takes_its_time_makes_room_for_others() {
    let rig = Rig::with(|limits| limits.connections_max = 2);
    let mut slow = [rig.plain(), rig.plain()];
    for client in &mut slow {
        client
            .send(b"POST /public HTTP/1.1\r\nHost: home.example\r\nContent-Length: 9\r\n\r\nslow");
    }
    eventually("both are there", || rig.edge.counts().exchanges == 2);
    let mut other = rig.plain();
    other.send(&get("/"));
    assert_eq!(other.reply().status, 200);
    // The one that is left goes on.
    let mut left = Vec::new();
    for mut client in slow {
        if client.try_send(b" body").is_ok() && client.is_answered() {
            left.push(client.reply().text().to_owned());
        }
    }
    assert_eq!(left, ["slow body"]);
}

#[test]
fn a_stranger_that_does_not_read_makes_room_for_others() {
    let rig = Rig::with(|limits| limits.connections_max = 1);
    let mut deaf = TcpStream::connect(rig.plain_address()).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let body = "a".repeat(60 * 1024);
    let request = format!(
        "POST /public HTTP/1.1\r\nHost: home.example\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Until nobody takes it any more, since the replies are not read.
    while deaf.write_all(request.as_bytes()).is_ok() {}
    let mut other = rig.plain();
    other.send(&get("/"));
    assert_eq!(other.reply().status, 200);
    assert_eq!(rig.edge.counts().connections, 1, "the other one is gone");
}

#[test]
fn one_address_has_a_cap_of_its_own() {
    let rig = Rig::with(|limits| limits.connections_per_loopback_max = 2);
    let mut idle = rig.plain();
    idle.send(&get("/"));
    assert_eq!(idle.reply().status, 200);
    let mut working = rig.plain();
    working.send(&get("/hold"));
    let exchange = rig.held();
    // The idle one makes room.
    let mut second = rig.plain();
    second.send(&get("/hold"));
    let other = rig.held();
    assert!(idle.has_ended());
    // Where all work, the new one is closed.
    assert!(rig.plain().is_cut());
    drop((exchange, other));
    assert_eq!(working.reply().status, 500);
}

#[test]
fn the_end_waits_for_what_is_at_work_and_for_nobody_else() {
    let rig = Rig::new();
    let mut idle = rig.plain();
    idle.send(&get("/"));
    assert_eq!(idle.reply().status, 200);
    let mut silent = [rig.plain(), rig.plain_on_tls()];
    let mut working = rig.plain();
    working.send(&get("/hold"));
    let exchange = rig.held();
    eventually("all are there", || rig.edge.counts().connections == 4);
    rig.edge.stop_accepting();
    for client in silent.iter_mut().chain([&mut idle]) {
        assert!(client.is_cut());
    }
    assert!(TcpStream::connect(rig.plain_address()).is_err());
    exchange.respond(local_llm_mcp::edge::Reply::text(200, "late"));
    assert_eq!(working.reply().text(), "late");
    assert!(rig.finish() < SOON / 2);
    assert_eq!(rig.edge.counts().connections, 0);
    let inner = rig.scratch.file("inner");
    drop(rig.edge);
    assert!(!inner.exists());
}

#[test]
fn what_works_past_the_end_is_cut_off_and_told_so() {
    let rig = Rig::new();
    let mut working = rig.tls();
    working.send(&get("/hold"));
    let exchange = rig.held();
    let mut listening = rig.plain();
    listening.send(&get("/events"));
    listening.head();
    let stream = rig.stream();
    rig.edge.finish(Instant::now() + Duration::from_millis(50));
    assert!(exchange.admitted.gone.is_fired());
    assert!(stream.admitted.gone.is_fired());
    assert!(working.is_cut() && listening.is_cut());
    assert_eq!(rig.edge.counts().connections, 0);
    drop(exchange);
}

/// The roles are told apart by an environment variable: this test starts itself again as a process
/// that may open few files.
#[test]
fn running_out_of_descriptors_ends_neither_listener() {
    const FOLDER: &str = "EDGE_TEST_FEW_DESCRIPTORS";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return serve_with_few_descriptors(folder.as_ref());
    }
    let scratch = Scratch::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "edge::limits::running_out_of_descriptors_ends_neither_listener"])
        .env(FOLDER, scratch.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the child listens", || scratch.file("address").exists());
    let address: SocketAddr = scratch.read("address").parse().unwrap();
    for round in 0..3 {
        // Each wants a descriptor, and each request wants three more.
        let crowd: Vec<TcpStream> = (0..120)
            .filter_map(|_| {
                let mut socket = TcpStream::connect(address).ok()?;
                socket.write_all(&get("/")).ok()?;
                Some(socket)
            })
            .collect();
        assert!(crowd.len() > 60, "round {round}");
        drop(crowd);
        eventually("the house answers again", || {
            let mut client = Client::plain(address);
            client.try_send(&get("/")).is_ok() && client.try_status() == Some(200)
        });
    }
    scratch.put("stop", "");
    assert!(child.wait().unwrap().success());
}

fn serve_with_few_descriptors(folder: &std::path::Path) {
    let few = Rlimit { current: Some(48), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, few).unwrap();
    let rig = Rig::new();
    let written = folder.join("address.new");
    std::fs::write(&written, rig.plain_address().to_string()).unwrap();
    std::fs::rename(written, folder.join("address")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder.join("stop").exists() {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert!(rig.finish() < SOON);
}
