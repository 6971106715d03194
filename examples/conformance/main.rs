//! The product's edge, transports, sessions and dispatch around the tools, resources and prompts
//! that the public conformance suite wants to find: `cargo run --example conformance`.
//!
//! Plain HTTP on 127.0.0.1. PORT sets the port (default 3000, 0 takes a free one) and RUST_LOG what
//! is logged. The URL goes to stderr; SIGINT and SIGTERM end it. No model is behind it, and no part
//! of it is in a release. `tests/conformance/run.py` runs the suite against it.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use local_llm_mcp::config::{self, Config, Environment};
use local_llm_mcp::mcp::{Bulletin, Service};
use local_llm_mcp::observe;
use local_llm_mcp::server::Server;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

mod asking;
mod fixtures;
mod forms;
mod listed;
mod media;
mod plain;

use fixtures::Fixtures;

fn main() -> ExitCode {
    let folder = std::env::temp_dir().join(format!("llm-conformance-{}", std::process::id()));
    let ended = serve(&folder.to_string_lossy());
    // Nothing may have been written into it.
    drop(std::fs::remove_dir_all(&folder));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            say(&format!("conformance: {sentence}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(folder: &str) -> Result<(), String> {
    // Before the first thread, so that no signal ends us half started.
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(text)?;
    let config = settings(folder)?;
    observe::start(&config.log_filter, None).map_err(text)?;
    let bulletin = Arc::new(Bulletin::default());
    let fixtures: Arc<dyn Service> = Arc::new(Fixtures::new(Arc::clone(&bulletin)));
    let server = Server::start_with(&config, fixtures, bulletin).map_err(text)?;
    for bound in server.bound() {
        say(&format!("http://{}/mcp", bound.address));
    }
    if let Some(signal) = signals.forever().next() {
        log::info!("signal {signal}: stopping");
    }
    server.stop();
    Ok(())
}

/// As a person would type them. Of the environment only what is named above counts, so that the
/// suite meets the same server everywhere.
fn settings(folder: &str) -> Result<Config, String> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let typed = [
        "--transport",
        "http",
        "--host",
        "127.0.0.1",
        "--port",
        port.as_str(),
        "--state-dir",
        folder,
    ];
    let typed: Vec<String> = typed.into_iter().map(str::to_owned).collect();
    let log = std::env::var("RUST_LOG").ok().map(|filter| ("RUST_LOG".to_owned(), filter));
    let environment: Environment = log.into_iter().collect();
    let flags = config::parse(&typed).map_err(text)??;
    config::resolve(&flags, &environment).map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A closed stderr must not end the server.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
