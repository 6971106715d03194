use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use local_llm_mcp::auth::Store;
use local_llm_mcp::worker;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::bench::{FORM, form, hashed, set_passphrase};
use super::house::{login, start_program};
use crate::scratch::Scratch;
use crate::support::client::Client;

/// What was acknowledged, and what may or may not have happened.
#[derive(Default)]
struct Model {
    /// Names that must be there.
    there: BTreeSet<String>,
    /// Names that may be there: the command was killed before it said so.
    unsure: BTreeSet<String>,
}

/// Cheap and the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn start(scratch: &Scratch, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-llm-mcp"));
    command.env_clear().env("MCP_STATE_DIR", ".").current_dir(scratch.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Random commands, most of them killed at some moment, against what they acknowledged.
#[test]
fn statement_14_kill_9_loses_nothing_acknowledged_and_brings_nothing_back() {
    let scratch = Scratch::new();
    let store = Store::new(scratch.path());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut model = Model::default();
    let (mut killed, mut generation) = (0, 0);
    // How long a command takes here and now, when nobody kills it.
    let begun = Instant::now();
    assert!(start(&scratch, &["token", "add", "first"]).wait().unwrap().success());
    let span_us = u64::try_from(begun.elapsed().as_micros()).unwrap() * 3 / 2;
    model.there.insert("first".to_owned());
    for round in 0..300 {
        let adds = model.there.len() < 3 || dice.roll(2) == 0;
        let name = if adds {
            format!("token-{round}")
        } else {
            let place = usize::try_from(dice.roll(model.there.len() as u64)).unwrap();
            model.there.iter().nth(place).unwrap().clone()
        };
        let verb = if adds { "add" } else { "revoke" };
        let mut child = start(&scratch, &["token", verb, &name]);
        // From before its first line of code to after its end.
        std::thread::park_timeout(Duration::from_micros(dice.roll(span_us)));
        child.kill().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let ended = child.wait().unwrap();
        killed += usize::from(ended.code().is_none());
        // Words on stdout are the acknowledgement.
        match (verb, said.is_empty()) {
            ("add", false) => drop(model.there.insert(name)),
            ("revoke", false) => drop(model.there.remove(&name)),
            ("add", true) => drop(model.unsure.insert(name)),
            _ => {
                model.there.remove(&name);
                model.unsure.insert(name);
            }
        }
        let state = store.read().expect("the store is whole");
        assert!(state.generation >= generation, "nothing older comes back");
        generation = state.generation;
        let kept: BTreeSet<String> = state.tokens.into_iter().map(|it| it.name).collect();
        assert!(model.there.is_subset(&kept), "lost: {:?}", model.there.difference(&kept));
        let known: BTreeSet<String> = model.there.union(&model.unsure).cloned().collect();
        assert!(kept.is_subset(&known), "back: {:?}", kept.difference(&known));
        // What is unsure has been decided by now, once and for all.
        let decided: Vec<String> = model.unsure.iter().cloned().collect();
        for name in decided {
            model.unsure.remove(&name);
            if kept.contains(&name) {
                model.there.insert(name);
            }
        }
    }
    assert!((30..300).contains(&killed), "{killed} were killed");
    let left = scratch.names();
    assert!(left.len() <= 2, "killed writers leave nothing behind but for the next: {left:?}");
}

/// A running program with OAuth, killed while clients refresh and revoke, against what its answers
/// said.
#[test]
fn statement_14_kill_9_of_the_server_keeps_every_answer_that_it_gave() {
    let scratch = Scratch::new();
    set_passphrase(scratch.path(), hashed());
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut scratch = Some(scratch);
    // Tokens that an answer gave, with `None` for one that may have been given without an answer, and
    // those that an answer took back.
    let (mut good, mut gone): (Vec<Option<String>>, Vec<String>) = (Vec::new(), Vec::new());
    let mut client_id = String::new();
    let mut refresh = String::new();
    for round in 0..300 {
        if round >= 60 && gone.len() > 20 {
            break;
        }
        let (mut program, _, plain) = start_program(scratch.take().unwrap(), &[]);
        let client = plain.with_field("Host", "mcp.example.org");
        let answers = |token: &str| client.with_token(token).ask("GET", "/mcp", "", "").status;
        // Others than 401 come from behind the gate.
        for token in good.iter().rev().flatten().take(4) {
            assert_ne!(answers(token), 401, "round {round}: an answer was lost");
        }
        for token in gone.iter().rev().take(4) {
            assert_eq!(answers(token), 401, "round {round}: what was revoked is back");
        }
        if refresh.is_empty() {
            let given = login(&client);
            client_id = given["client_id"].as_str().unwrap().to_owned();
            refresh = given["refresh_token"].as_str().unwrap().to_owned();
            good.push(Some(given["access_token"].as_str().unwrap().to_owned()));
        }
        let killer = {
            let wait = Duration::from_micros(dice.roll(30_000));
            let child = program.pid();
            worker::start("killer", 64 * 1024, move || {
                std::thread::park_timeout(wait);
                kill_process(child, Signal::KILL).unwrap();
            })
            .unwrap()
        };
        // Until the connection breaks: each whole answer is an acknowledgement.
        loop {
            let pairs = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh.as_str()),
                ("client_id", &client_id),
            ];
            let given = post(&client, "/token", &pairs).filter(|given| !given.is_null());
            let Some(given) = given else {
                good.push(None);
                break;
            };
            refresh = given["refresh_token"].as_str().unwrap().to_owned();
            let access = given["access_token"].as_str().unwrap().to_owned();
            let pairs = [("token", access.as_str()), ("client_id", &client_id)];
            match dice.roll(2) {
                0 => match post(&client, "/revoke", &pairs) {
                    Some(_) => gone.push(access),
                    // Not known whether it was taken back.
                    None => good.push(None),
                },
                _ => good.push(Some(access)),
            }
        }
        killer.join().unwrap();
        program.end();
        scratch = Some(program.into_scratch());
        // Only the newest sixteen of a grant work.
        let surplus = good.len().saturating_sub(16);
        good.drain(..surplus);
    }
    assert!(gone.len() > 20, "{} revoked", gone.len());
}

/// A form and its answer; `None` where the connection broke, null where the answer has no body.
fn post(client: &Client, path: &str, pairs: &[(&str, &str)]) -> Option<Value> {
    let mut connection = client.try_connect().ok()?;
    let sent = connection.try_send(&client.request("POST", path, FORM, &form(pairs)));
    sent.ok()?;
    let mut got = connection.try_head().filter(|got| got.status != 500)?;
    connection.try_rest(&mut got)?;
    if got.status == 429 {
        return None;
    }
    assert_eq!(got.status, 200, "{got:?}");
    Some(serde_json::from_slice(&got.body).unwrap_or(Value::Null))
}
