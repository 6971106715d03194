//! Plays LM Studio on this machine, so that the whole chain can be tried without it:
//! `cargo run --example stand_in`, then start local-llm-mcp as usual.
//!
//! PORT sets another port than 1234. It is no model: it repeats what it is asked.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

#[path = "../tests/it/support/stand_in.rs"]
#[expect(dead_code, reason = "the tests script it further than this example does")]
mod stand_in;

use stand_in::{Script, StandIn};

fn main() -> ExitCode {
    let port = std::env::var("PORT").unwrap_or_else(|_| "1234".to_owned());
    let script =
        Script { any_model: true, pace: Some(Duration::from_millis(80)), ..Script::default() };
    let said = match StandIn::start_on(&format!("127.0.0.1:{port}"), script) {
        Ok(stand_in) => {
            let told = writeln!(
                io::stdout(),
                "A stand-in for LM Studio serves on {} until CTRL-C: three models, and a chat \
                 that repeats the question.",
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
