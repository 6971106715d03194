//! One run of the server, from the settings to the last signal.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Server, StartError, banner};
use crate::cancel::{Cancel, Reason};
use crate::config::{Config, Limits};
use crate::worker::{Worker, start};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A signal came, or the program that started us has gone, and everything was stopped in an
    /// orderly way.
    Stopped,
    /// A second signal came before that was done.
    Interrupted,
}

enum Event {
    Signal(i32),
    /// The program at the other end of stdin has gone; whether it ever said anything.
    Left(bool),
    Stopped,
}

/// Serves until SIGINT or SIGTERM, or until the program that is served over stdio has gone. The
/// first signal stops in an orderly way, a second one returns at once. Errors: [`StartError`].
pub fn run(config: &Config) -> Result<Outcome, StartError> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    super::allocator::settle();
    // Before the first thread, so that no signal ends us half started.
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(StartError::Signals)?;
    // As many descriptors as the system grants; the limits that depend on them follow.
    let config = &Config { limits: Limits::new(raise_descriptors()), ..config.clone() };
    let server = Arc::new(Server::start(config)?);
    say(&banner::text(config, &server));
    let probing = Cancel::new();
    let probe = probe(&server, &probing)?;
    // Full: more signals than anybody needs, dropped. Reader: this thread.
    let (events, heard) = bounded(4);
    let handle = signals.handle();
    let told = events.clone();
    let listener = Worker::spawn("signals", SMALL_STACK_BYTES, move || {
        for signal in signals.forever() {
            drop(told.try_send(Event::Signal(signal)));
        }
    })
    .map_err(StartError::Threads)?;
    if config.stdio {
        let told = events.clone();
        let left = move |heard| drop(told.try_send(Event::Left(heard)));
        server.serve_stdio(pipes().map_err(StartError::Pipes)?, left)?;
    }
    let served = wait(&heard, !server.bound().is_empty());
    let stopping = Arc::clone(&server);
    let stop = start("stop", STOP_STACK_BYTES, move || {
        probing.fire(Reason::Shutdown);
        stopping.stop();
        drop(events.send(Event::Stopped));
    })
    .map_err(StartError::Threads)?;
    match heard.iter().find(|event| !matches!(event, Event::Left(_))) {
        Some(Event::Signal(_)) => {
            // What still runs is not waited for: whoever signals twice wants the end now.
            handle.close();
            drop((listener, probe));
            Ok(Outcome::Interrupted)
        }
        _ => {
            drop(stop.join());
            handle.close();
            drop((listener, probe));
            log::info!("stopped");
            match &server.refused {
                // A service manager must not take this for success.
                Some(refused) if !served => Err(StartError::Alone(refused.to_string())),
                _ => Ok(Outcome::Stopped),
            }
        }
    }
}

/// Waits for a reason to stop; says whether there was anybody to serve.
fn wait(heard: &Receiver<Event>, has_network: bool) -> bool {
    for event in heard {
        match event {
            Event::Signal(signal) => {
                log::info!("signal {signal}: stopping; a second one stops at once");
                return true;
            }
            // Who started us and spoke to us is gone: nobody would ever stop this process, which
            // holds the port that the next one needs.
            Event::Left(spoke) if spoke || !has_network => {
                log::info!("stdin has ended: stopping");
                return spoke;
            }
            // A service manager starts its services with an empty input.
            Event::Left(_) => log::info!("stdin is empty: serving the network alone"),
            Event::Stopped => break,
        }
    }
    true
}

/// Handles of our own: those of the standard library are behind locks and buffers.
fn pipes() -> io::Result<(OwnedFd, OwnedFd)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    Ok((input, io::stdout().as_fd().try_clone_to_owned()?))
}

/// Raises the soft limit of open files to the hard one and returns what holds then.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        log::debug!("the limit of open files stays as it is: {error}");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Asks the upstreams once and says what is there; the banner did not wait for it.
fn probe(server: &Arc<Server>, cancel: &Cancel) -> Result<Worker, StartError> {
    let fleet = Arc::clone(&server.fleet);
    let cancel = cancel.clone();
    Worker::spawn("probe", PROBE_STACK_BYTES, move || {
        for upstream in fleet.upstreams() {
            let found = upstream.probe(&cancel);
            if cancel.is_fired() {
                break;
            }
            say(&banner::upstream(upstream, &found));
        }
    })
    .map_err(StartError::Threads)
}

/// Words for the person who started it; the log may go elsewhere or be silent.
pub(super) fn say(text: &str) {
    // A closed stderr must not end the server.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

const SMALL_STACK_BYTES: usize = 64 * 1024;
const STOP_STACK_BYTES: usize = 256 * 1024;
const PROBE_STACK_BYTES: usize = 512 * 1024;
