//! A flood against the real program. `scripts/flood.sh` runs a longer one and shows its figures.
#![expect(clippy::print_stdout, reason = "the figures are what a longer one is for")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::{CALLBACK, JSON, hashed, set_passphrase};
use super::house::{login, start_program};
use crate::scratch::Scratch;
use crate::support::client::Client;
use crate::support::program::Program;

/// How many registrations from one address, as many from others, and as many wrong tokens.
const ROUNDS: usize = 2000;

/// What a flood got.
#[derive(Default)]
struct Got {
    served: usize,
    refused: usize,
}

/// One request after another, each with the fields that `fields` says.
fn flood(
    client: &Client,
    path: &str,
    body: &str,
    good: u16,
    fields: impl Fn(usize) -> String,
) -> Got {
    let rounds = rounds().unwrap_or(ROUNDS);
    let mut got = Got::default();
    let mut connection = client.connect();
    for round in 0..rounds {
        connection.send(&client.request("POST", path, &fields(round), body));
        match connection.reply("POST").status {
            429 => got.refused += 1,
            status => {
                assert_eq!(status, good, "{path}");
                got.served += 1;
            }
        }
    }
    got
}

/// As many as were asked for by hand.
fn rounds() -> Option<usize> {
    std::env::var("FLOOD").ok().map(|text| text.parse().unwrap())
}

fn resident_kib(program: &Program) -> u64 {
    let path = format!("/proc/{}/status", program.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How long each answer of `/health` took while `is_over` is not.
fn health(client: &Client, is_over: &AtomicBool) -> Vec<Duration> {
    let mut connection = client.connect();
    let mut took = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        connection.send(&client.request("GET", "/health", "", ""));
        assert_eq!(connection.reply("GET").status, 200);
        took.push(begun.elapsed());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    took.sort();
    took
}

#[test]
fn statement_18_a_flood_of_registrations_and_bad_tokens_leaves_everything_as_it_was() {
    let scratch = Scratch::new();
    set_passphrase(scratch.path(), hashed());
    let more = [("MCP_TRUSTED_PROXY", "127.0.0.1"), ("MCP_LOG", "off")];
    let (program, _, plain) = start_program(scratch, &more);
    let client = plain.with_field("Host", "mcp.example.org");
    let owner = client.with_field("X-Forwarded-For", "192.0.2.1");
    let given = login(&owner);
    let token = given["access_token"].as_str().unwrap();
    let registration = json!({ "redirect_uris": [CALLBACK] }).to_string();
    let from = |address: &str| format!("{JSON}X-Forwarded-For: {address}\r\n");

    let kept = program.scratch.read("tokens.json");
    let (memory, begun, over) = (resident_kib(&program), Instant::now(), AtomicBool::new(false));
    let (one, many, wrong, took) = std::thread::scope(|scope| {
        let many = scope.spawn(|| {
            let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
            let address =
                |round: usize| Ipv4Addr::from(first + u32::try_from(round).unwrap()).to_string();
            flood(&client, "/register", &registration, 201, |round| from(&address(round)))
        });
        let one = scope
            .spawn(|| flood(&client, "/register", &registration, 201, |_| from("203.0.113.9")));
        let wrong = scope.spawn(|| {
            let bearer = "Authorization: Bearer mcpa_wrong\r\n";
            let fields = |_| from("203.0.113.9") + bearer;
            flood(&client, "/mcp", "{}", 401, fields)
        });
        let took = scope.spawn(|| health(&plain, &over));
        let floods = (one.join().unwrap(), many.join().unwrap(), wrong.join().unwrap());
        over.store(true, Ordering::Relaxed);
        (floods.0, floods.1, floods.2, took.join().unwrap())
    });
    let (seconds, grown) =
        (begun.elapsed().as_secs(), resident_kib(&program).saturating_sub(memory));
    let quantile = |of_100: usize| took[(took.len() - 1) * of_100 / 100];
    println!(
        "registrations: {} of one address and {} of many, {} refused; wrong tokens: {} told, {} \
         refused; {seconds} s\nmemory: {memory} KiB before, {grown} KiB more after\n/health: {} \
         times, half within {:?}, 99 of 100 within {:?}, all within {:?}",
        one.served,
        many.served,
        one.refused + many.refused,
        wrong.served,
        wrong.refused,
        took.len(),
        quantile(50),
        quantile(99),
        quantile(100),
    );

    let windows = usize::try_from(seconds).unwrap() / 60 + 2;
    assert!((1..=30 * windows).contains(&one.served), "30 a minute: {}", one.served);
    assert!((1..=60 * windows).contains(&wrong.served), "60 a minute: {}", wrong.served);
    assert!(many.served > one.served, "others are served");
    assert_eq!(program.scratch.read("tokens.json"), kept);
    assert!(grown < 4 * 1024, "{grown} KiB");
    let slowest = if rounds().is_some() { quantile(99) } else { quantile(50) };
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
    assert_eq!(owner.with_token(token).get("/health").status, 200);
    assert!(owner.with_token(token).get("/health").json().get("upstream").is_some());
}
