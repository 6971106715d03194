//! Requests as the stand-in reads them, and the bytes that it answers with.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::{Script, Shared};

/// A request with its body.
pub(super) struct Request {
    /// Method and path.
    pub(super) target: String,
    pub(super) token: Option<String>,
    pub(super) body: String,
}

impl Request {
    /// The body as JSON; `null` when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Reads a request; `None` when the connection has ended.
pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.trim_end();
    let target = target.strip_suffix(" HTTP/1.1").unwrap_or(target).to_owned();
    let mut request = Request { target, token: None, body: String::new() };
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => {
                request.token = value.trim().strip_prefix("Bearer ").map(str::to_owned);
            }
            _ => {}
        }
    }
    reader.take(length).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

/// A stream of events towards one client.
pub(super) struct Events<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) script: &'a Script,
}

impl Events<'_> {
    pub(super) fn head(&self) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(STREAM_HEAD.as_bytes())
    }

    /// One event in a chunk, or in many when the script cuts.
    pub(super) fn event(&self, name: &str, data: &str) -> io::Result<()> {
        let end = if self.script.windows { "\r\n" } else { "\n" };
        let comment =
            if self.script.windows { format!(": still here{end}") } else { String::new() };
        let name = if name.is_empty() { String::new() } else { format!("event: {name}{end}") };
        self.raw(&format!("{comment}{name}data: {data}{end}{end}"))
    }

    /// A native event, whose name stands in its data too.
    pub(super) fn named(&self, data: &Value) -> io::Result<()> {
        self.event(data["type"].as_str().unwrap_or_default(), &data.to_string())
    }

    pub(super) fn raw(&self, text: &str) -> io::Result<()> {
        let mut stream = self.stream;
        for bytes in text.as_bytes().chunks(self.script.cut.unwrap_or(text.len()).max(1)) {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            stream.write_all(&chunk)?;
        }
        Ok(())
    }

    pub(super) fn end(&self) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(b"0\r\n\r\n")
    }
}

/// Answers with a whole body; says that the connection can be used again.
pub(super) fn send(stream: &TcpStream, status: u16, body: &str) -> io::Result<bool> {
    send_with(stream, status, "", body)
}

/// The same with a header line of its own.
pub(super) fn send_with(
    mut stream: &TcpStream,
    status: u16,
    header: &str,
    body: &str,
) -> io::Result<bool> {
    let head = format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {}\r\n{header}Keep-Alive: timeout=5\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    Ok(true)
}

/// Ends the connection so that the client sees a reset.
pub(super) fn reset(stream: &TcpStream) -> io::Result<bool> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(false)
}

/// Waits until released; says whether the client is still there.
pub(super) fn stall(stream: &TcpStream, shared: &Shared) -> bool {
    shared.count(|counts| counts.stalled += 1);
    let stays = loop {
        if shared.lock().released {
            break true;
        }
        if shared.lock().stopping || left(stream, Duration::from_millis(5)) {
            break false;
        }
    };
    shared.count(|counts| counts.stalled -= 1);
    stays
}

/// Waits until the next piece is due; says whether the client is still there.
pub(super) fn pause(stream: &TcpStream, shared: &Shared, due: Option<Instant>) -> bool {
    let Some(due) = due else {
        let peek = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let mut byte = [0];
        let peeked = rustix::net::recv(stream, &mut byte, peek);
        return peeked.is_err_and(|error| error == rustix::io::Errno::WOULDBLOCK);
    };
    !left(stream, due.saturating_duration_since(Instant::now())) && !shared.lock().stopping
}

/// Watches the connection for a while; says whether the client closed it. A poll, since socket
/// timeouts are too coarse for a fast model's pace.
fn left(stream: &TcpStream, watch: Duration) -> bool {
    let Ok(watch) = Timespec::try_from(watch) else { return false };
    match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&watch)) {
        Ok(0) => false,
        Ok(_) => !stream.peek(&mut [0]).is_ok_and(|read| read > 0),
        Err(error) => error != rustix::io::Errno::INTR,
    }
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                           Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
