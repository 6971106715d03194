//! How it ends: streams, calls, threads, ports and exit codes.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::process::Command;
use std::time::{Duration, Instant};

use local_llm_mcp::config::Scheme;
use local_llm_mcp::edge::bind;
use rustix::process::Signal;
use serde_json::json;

use crate::scratch::eventually;
use crate::support::client::{Client, End, SOON};
use crate::support::house::Plan;
use crate::support::program::{Program, Url};
use crate::support::stand_in::{Script, Stall, StandIn};

#[test]
fn stopping_ends_streams_in_an_orderly_way_and_generations_at_once() {
    let house = Plan::new().stalling().alone().start();
    let client = house.client();
    let (mut idle, mut busy) = (client.open(), client.open());
    busy.begin_chat("runs");
    busy.begin_chat("waits");
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 1, SOON));
    let begun = Instant::now();
    house.server.stop();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((idle.end(), busy.end()), (End::Orderly, End::Orderly));
    assert!(house.stand_in().wait_for(|counts| counts.aborted == 1, SOON));
    assert_eq!(house.stand_in().counts().chats, 1);
    assert!(client.try_connect().is_err(), "nobody listens any more");
    // A restart takes the port over at once, while old connections are remembered.
    drop(bind(client.address()).unwrap());
    house.server.stop();
}

#[test]
fn a_client_that_does_not_read_delays_the_end_by_the_drain_and_no_more() {
    let house = Plan::new().limits(|limits| limits.drain_ms_max = 300).start();
    let mut slow = house.client().with_small_buffers().open();
    fill(&mut slow);
    let begun = Instant::now();
    house.server.stop();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(slow.end(), End::Cut);
}

/// More than the system keeps for a client with small buffers, less than the outbox takes.
fn fill(slow: &mut crate::support::client::Session) {
    for _ in 0..40 {
        let id = "x".repeat(256 * 1024);
        slow.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
    }
}

/// Runs alone in a process of its own, since it counts the threads of the process.
#[cfg(target_os = "linux")]
#[test]
fn no_thread_is_left() {
    const ALONE: &str = "LOCAL_LLM_MCP_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "shutdown::no_thread_is_left", "--nocapture"]).env(ALONE, "yes");
        let output = alone.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}{why}");
        return;
    }
    let before = threads();
    let plan = Plan::new().set("MCP_TRANSPORT", "https,http").set("PORT", "");
    let plan = plan.set("HTTPS_PORT", "0").set("HTTP_PORT", "0");
    let mut house = plan.stalling().start();
    let mut sessions: Vec<_> =
        [house.client(), house.tls_client()].iter().map(Client::open).collect();
    for session in &mut sessions {
        session.begin_chat("runs");
        session.call("list_models", &json!({}));
    }
    assert!(house.stand_in().wait_for(|counts| counts.stalled == 2, SOON));
    assert!(threads().iter().any(|name| name.starts_with("sse-")), "{:?}", threads());
    house.server.stop();
    drop(house.stand_in.take());
    // Ours are joined when `stop` returns. tiny_http's own have the name of the thread that started
    // them.
    let mut named = threads();
    named.retain(|name| !before.contains(name));
    assert_eq!(named, [] as [String; 0]);
    drop(house);
    eventually("tiny_http's threads have left too", || threads() == before);
}

#[cfg(target_os = "linux")]
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One that ends meanwhile has no name any more.
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    let mut names: Vec<String> =
        tasks.filter_map(name).map(|name| name.trim().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_signal_ends_the_program_in_good_order() {
    let stand_in = stalling();
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = http(&stand_in);
        let client = client(&mut program);
        let mut session = client.open();
        session.begin_chat("runs");
        assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
        program.signal(signal);
        assert_eq!(session.end(), End::Orderly);
        let (code, took) = program.end();
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert!(stand_in.wait_for(|counts| counts.stalled == 0, SOON));
        drop(bind(client.address()).unwrap());
    }
    assert_eq!(stand_in.counts().aborted, 2);
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    let stand_in = stalling();
    let mut program = http(&stand_in);
    let client = client(&mut program);
    let mut busy = client.open();
    busy.begin_chat("runs");
    assert!(stand_in.wait_for(|counts| counts.stalled == 1, SOON));
    // What is not read keeps the first signal's orderly end waiting.
    let mut slow = client.with_small_buffers().open();
    fill(&mut slow);
    program.signal(Signal::INT);
    program.until(|line| line.contains("a second one stops at once"));
    assert_eq!(busy.end(), End::Orderly);
    program.signal(Signal::INT);
    let (code, took) = program.end();
    assert_eq!(code, Some(130));
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(bind(client.address()).unwrap());
}

#[test]
fn a_signal_before_the_upstream_was_found_is_heard() {
    // Accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut program = Program::start(&[("MCP_TRANSPORT", "http"), ("LM_STUDIO_URL", &url)]);
    program.until(|line| line.contains("On Windows"));
    program.signal(Signal::TERM);
    let (code, took) = program.end();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

fn stalling() -> StandIn {
    StandIn::start(Script { stall: Stall::BeforeFirst, ..Script::default() })
}

fn http(stand_in: &StandIn) -> Program {
    Program::start(&[("MCP_TRANSPORT", "http"), ("LM_STUDIO_URL", &stand_in.url())])
}

fn client(program: &mut Program) -> Client {
    let banner = program.until(|line| line.contains("On Windows"));
    let url = Url::all(&banner).into_iter().find(|url| url.path == "/sse").unwrap();
    assert_eq!(url.scheme, Scheme::Http.as_str());
    Client::plain(url.address())
}
