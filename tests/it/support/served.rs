//! The real binary in a process of its own, spoken to as a desktop app does: messages on stdin,
//! answers on stdout.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail here"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use serde_json::{Value, json};

use super::client::SOON;
use super::program::exit_code;
use super::stand_in::StandIn;
use super::witness::LineWitness;
use crate::scratch::Scratch;

/// The program with its three pipes; killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Receiver<String>,
    pub(crate) scratch: Scratch,
    witness: LineWitness,
}

impl Served {
    pub(crate) fn start(stand_in: &StandIn, variables: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-llm-mcp"));
        command.env_clear().current_dir(scratch.path()).envs([
            ("MCP_TRANSPORT", "stdio"),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("MCP_STATE_DIR", "."),
        ]);
        command.env("LM_STUDIO_URL", stand_in.url()).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = listen(child.stdout.take().unwrap());
        let said = listen(child.stderr.take().unwrap());
        let input = child.stdin.take();
        Self { child, input, lines, said, scratch, witness: LineWitness::default() }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.try_write(text).unwrap();
    }

    /// The same. Errors: the program reads no more.
    pub(crate) fn try_write(&mut self, text: &str) -> io::Result<()> {
        self.witness.sent(text);
        self.input.as_mut().unwrap().write_all(text.as_bytes())
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.write(&format!("{message}\n"));
    }

    pub(crate) fn begin(&mut self, id: u64, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }

    pub(crate) fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Its next message.
    pub(crate) fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(SOON).unwrap();
        self.witness.heard(&line)
    }

    pub(crate) fn ask(&mut self, id: u64, method: &str, params: &Value) -> Value {
        self.begin(id, method, params);
        let reply = self.next();
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    pub(crate) fn initialize(&mut self, version: &str) -> Value {
        let params = json!({ "protocolVersion": version, "capabilities": {} });
        let reply = self.ask(0, "initialize", &params);
        self.notify("notifications/initialized", &json!({}));
        reply["result"].clone()
    }

    pub(crate) fn begin_chat(&mut self, id: u64) {
        let arguments = json!({ "message": "hello" });
        self.begin(id, "tools/call", &json!({ "name": "chat", "arguments": arguments }));
    }

    pub(crate) fn until_said(&self, words: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut all = String::new();
        loop {
            match self.said.recv_deadline(deadline) {
                Ok(line) => all = format!("{all}{line}\n"),
                Err(error) => panic!("{error}: no {words:?} in\n{all}"),
            }
            if all.contains(words) {
                return all;
            }
        }
    }

    pub(crate) fn close(&mut self) {
        self.witness.asked();
        drop(self.input.take());
    }

    /// Closes its stdout: the reading thread ends with its channel, and the pipe with it.
    pub(crate) fn close_output(&mut self) {
        self.lines = bounded(0).1;
    }

    /// Waits for its end and returns the exit code with the messages that were still on stdout.
    pub(crate) fn end(&mut self) -> (Option<i32>, Vec<Value>) {
        let code = exit_code(&mut self.child);
        let deadline = Instant::now() + SOON;
        let lines: Vec<String> =
            std::iter::from_fn(|| self.lines.recv_deadline(deadline).ok()).collect();
        (code, lines.iter().map(|line| self.witness.heard(line)).collect())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn listen(pipe: impl Read + Send + 'static) -> Receiver<String> {
    // Full: the program's words wait in their pipe. Reader: the test.
    let (say, lines) = bounded(1000);
    let read = move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                break;
            }
        }
    };
    drop(local_llm_mcp::worker::start("pipe", 64 * 1024, read).unwrap());
    lines
}
