//! Compares MCP servers in one run: `bench_load PLAN.json`, as `scripts/bench.sh` writes it.
//!
//! Starts each server of the plan in turn, beside one stand-in model server, and prints a table of
//! medians with ratios to the plan's first server. `bench_load chat PLAN.json` compares chats through
//! one server with the same made directly. Linux only: it reads `/proc`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this is for")]

mod chat;
mod client;
mod figures;
mod measure;
mod process;
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;

use figures::Table;
use process::Running;

/// What every fallible step here returns; the text is for the person at the terminal.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What to run, how often and how long.
#[derive(Debug, Deserialize)]
struct Plan {
    /// Every round visits all servers.
    rounds: usize,
    /// How long one client, and then sixteen, call.
    call_seconds: f64,
    /// How long open sessions are watched; the usual keep-alive comes every 15 s.
    idle_seconds: f64,
    /// The program that plays the model server.
    stand_in: PathBuf,
    /// A model that the stand-in lists; an answer without it is an error.
    model: String,
    /// Where certificates and state go.
    folder: PathBuf,
    /// The first one is what the others are compared with.
    servers: Vec<Subject>,
}

/// One server under test. `{port}`, `{upstream}`, `{certificate}`, `{key}` and `{folder}` are filled in.
#[derive(Debug, Deserialize)]
struct Subject {
    name: String,
    transport: client::Transport,
    path: String,
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Whether it serves plain HTTP, which is measured for its calls only.
    #[serde(default)]
    plain: bool,
    /// The program file whose size counts, when it is one file.
    binary: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let path = match (words.next(), words.next()) {
        (Some(chat), Some(path)) if chat == "chat" => {
            println!("{}", chat::run(&serde_json::from_slice(&std::fs::read(path)?)?)?);
            return Ok(());
        }
        (Some(path), None) => path,
        _ => return Err("usage: bench_load [chat] PLAN.json".into()),
    };
    let plan: Plan = serde_json::from_slice(&std::fs::read(path)?)?;
    let identity = tls::Identity::make(&plan.folder)?;
    let stand_in = Running::stand_in(&plan.stand_in, &[])?;
    let mut table = Table::new(plan.servers.iter().map(|subject| subject.name.clone()).collect());
    for round in 1..=plan.rounds {
        for (column, subject) in plan.servers.iter().enumerate() {
            eprintln!("round {round} of {}: {}", plan.rounds, subject.name);
            let bench = measure::Bench {
                plan: &plan,
                subject,
                identity: &identity,
                upstream: &stand_in.address,
            };
            table.add(column, bench.round()?);
        }
    }
    println!("{table}");
    Ok(())
}
