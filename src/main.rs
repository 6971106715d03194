//! Flags, settings, logging, then a command or the server, then an exit code. Holds no logic.

use std::io::{self, Write};
use std::process::ExitCode;

use local_llm_mcp::command::{self, CommandError};
use local_llm_mcp::config::{self, Environment, Flags};
use local_llm_mcp::observe;
use local_llm_mcp::server::{self, Outcome};

/// How the process ends.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Exit {
    /// All was done, or the server was stopped in good order.
    Done = 0,
    /// Something failed while running.
    Failed = 1,
    /// The settings cannot be followed; starting again changes nothing.
    Settings = 2,
    /// A second signal cut the stopping short, as shells count SIGINT.
    Interrupted = 130,
}

fn main() -> ExitCode {
    let exit = run().unwrap_or_else(|(exit, sentence)| {
        // With stderr gone there is nobody left to tell.
        drop(writeln!(io::stderr(), "local-llm-mcp: {sentence}"));
        exit
    });
    ExitCode::from(exit as u8)
}

fn run() -> Result<Exit, (Exit, String)> {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    let flags = match config::parse(&arguments).map_err(settings)? {
        Ok(flags) => flags,
        Err(help) => return print(|out| Ok(write!(out, "{help}")?)),
    };
    if flags.version {
        let version = env!("CARGO_PKG_VERSION");
        return print(|out| Ok(writeln!(out, "local-llm-mcp {version}")?));
    }
    let config = config::resolve(&flags, &Environment::of_process()).map_err(settings)?;
    observe::start(&config.log_filter, config.log_file.as_deref()).map_err(settings)?;
    match flags {
        Flags { check: true, .. } => print(|out| command::check(&config, out)),
        Flags { command: Some(command), .. } => print(|out| command::run(&command, &config, out)),
        _ => match server::run(&config) {
            Ok(Outcome::Stopped) => Ok(Exit::Done),
            Ok(Outcome::Interrupted) => Ok(Exit::Interrupted),
            Err(error) if error.is_configuration() => Err(settings(error)),
            Err(error) => Err((Exit::Failed, error.to_string())),
        },
    }
}

fn print(
    what: impl FnOnce(&mut dyn Write) -> Result<(), CommandError>,
) -> Result<Exit, (Exit, String)> {
    match what(&mut io::stdout().lock()) {
        // `--check | head -1` is no failure.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::Done)
        }
        Err(CommandError::Output(error)) => Err((Exit::Failed, error.to_string())),
        Err(error) => Err(settings(error)),
        Ok(()) => Ok(Exit::Done),
    }
}

fn settings(error: impl std::fmt::Display) -> (Exit, String) {
    (Exit::Settings, error.to_string())
}
