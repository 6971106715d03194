//! The real binary in a process of its own: its words, its signals, its end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail here")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rustix::process::{Pid, Signal, kill_process};

use super::client::SOON;
use crate::scratch::{Scratch, eventually};

/// A running server process; killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    /// Its state folder.
    pub(crate) scratch: Scratch,
}

impl Program {
    /// Starts it on a free port of loopback, with nothing else in its environment.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_in(Scratch::new(), variables)
    }

    pub(crate) fn start_in(scratch: Scratch, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-llm-mcp"));
        command.env_clear().current_dir(scratch.path()).envs([
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("MCP_STATE_DIR", "."),
        ]);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Full: the program's words wait in their pipe. Reader: the test.
        let (say, lines) = bounded(1000);
        let read = move || {
            for line in stderr.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        };
        drop(local_llm_mcp::worker::start("stderr", 64 * 1024, read).unwrap());
        Self { child, lines, said: Vec::new(), scratch }
    }

    /// Reads what it says until a line fits, and returns all that it said so far.
    pub(crate) fn until(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + SOON;
        while !self.said.last().is_some_and(|line| fits(line)) {
            match self.lines.recv_deadline(deadline) {
                Ok(line) => self.said.push(line),
                Err(error) => panic!("{error} behind:\n{}", self.said.join("\n")),
            }
        }
        self.said.join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its folder, for the next one to go on with.
    pub(crate) fn into_scratch(mut self) -> Scratch {
        std::mem::replace(&mut self.scratch, Scratch::new())
    }

    /// All that it said until its end.
    pub(crate) fn all(&mut self) -> String {
        self.said.extend(self.lines.iter());
        self.said.join("\n")
    }

    /// Waits for its end and returns its exit code with the time that took.
    pub(crate) fn end(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        (exit_code(&mut self.child), begun.elapsed())
    }
}

/// Waits for a program's end and returns its exit code.
pub(crate) fn exit_code(child: &mut Child) -> Option<i32> {
    let mut ended = None;
    eventually("the program ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    ended.unwrap().code()
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A URL taken apart.
pub(crate) struct Url {
    pub(crate) scheme: String,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
}

impl Url {
    /// Every URL of a text with one of our schemes.
    pub(crate) fn all(text: &str) -> Vec<Self> {
        let words = text.split(|c: char| c.is_whitespace() || "\",()<>".contains(c));
        words.filter_map(Self::parse).collect()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) =
            text.split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':')?;
        Some(Self {
            scheme: scheme.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.parse().ok()?,
            path: format!("/{path}"),
        })
    }

    /// Where it leads; it must be this machine.
    pub(crate) fn address(&self) -> SocketAddr {
        let found = (self.host.as_str(), self.port).to_socket_addrs().unwrap();
        let mut loopback = found.filter(|address| address.ip().is_loopback());
        // `localhost` may be [::1] too, where nobody listens.
        loopback.find(SocketAddr::is_ipv4).unwrap()
    }
}
