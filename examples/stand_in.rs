//! Plays LM Studio on this machine, so that the whole chain can be tried without it:
//! `cargo run --example stand_in`, then start local-llm-mcp as usual.
//!
//! PORT sets another port than 1234, KIND another server than LM Studio (`lmstudio-0.3`, `ollama`,
//! `llamacpp`, `llamacpp-router`, `vllm`, `generic`), TOKENS an answer of so many words, and
//! TOKENS_PER_S their pace (0: none). It is no model: without TOKENS it repeats what it is asked.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/it/support/stand_in.rs"]
#[expect(dead_code, reason = "the tests script it further than this example does")]
mod stand_in;

use stand_in::{Delta, Kind, Script, StandIn};

fn main() -> ExitCode {
    let port = std::env::var("PORT").unwrap_or_else(|_| "1234".to_owned());
    let number =
        |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u32>().ok());
    let kind = std::env::var("KIND").ok().and_then(|kind| played(&kind));
    let words = number("TOKENS").and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    let script = Script {
        kind: kind.unwrap_or(Kind::LmStudio),
        any_model: true,
        deltas: vec![Delta::Content("word ".to_owned()); words],
        pace: Duration::from_secs(1).checked_div(number("TOKENS_PER_S").unwrap_or(12)),
        ..Script::default()
    };
    let said = match StandIn::start_on(&format!("127.0.0.1:{port}"), script) {
        Ok(stand_in) => {
            let told = writeln!(
                io::stdout(),
                "A stand-in for a model server serves on {} until CTRL-C: models, and a chat that \
                 repeats the question.",
                stand_in.url()
            );
            loop {
                std::thread::park();
                if told.is_err() {
                    break told;
                }
            }
        }
        Err(error) => writeln!(
            io::stderr(),
            "port {port} cannot be used: {error}; stop what uses it, or set PORT to another one"
        ),
    };
    drop(said);
    ExitCode::FAILURE
}

fn played(kind: &str) -> Option<Kind> {
    Some(match kind {
        "lmstudio-0.3" => Kind::LmStudio03,
        "ollama" => Kind::Ollama,
        "llamacpp" => Kind::LlamaCpp,
        "llamacpp-router" => Kind::LlamaRouter,
        "vllm" => Kind::Vllm,
        "generic" => Kind::Generic,
        _ => return None,
    })
}
