//! One HTTP/1.1 connection, plain or over TLS, blocking, with bodies read line by line as event streams need it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use crate::Outcome;
use crate::tls::Identity;

/// A connection and where in the current reply's body it stands.
pub(crate) struct Wire {
    stream: BufReader<Link>,
    body: Body,
}

enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(session) => session.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(session) => session.flush(),
        }
    }
}

/// What the head of a reply said.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) is_event_stream: bool,
    /// The connection ends with this reply.
    pub(crate) closes: bool,
}

enum Body {
    Length(u64),
    /// The bytes left of the current chunk.
    Chunked(u64),
    Ended,
}

impl Wire {
    /// Connects, and under TLS shakes hands at the first write. Without an identity it is plain.
    pub(crate) fn open(port: u16, identity: Option<&Identity>) -> Outcome<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let link = match identity {
            None => Link::Plain(socket),
            Some(identity) => {
                let (client, name) = (Arc::clone(&identity.client), identity.name.clone());
                let session = ClientConnection::new(client, name)?;
                Link::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Ok(Self { stream: BufReader::new(link), body: Body::Ended })
    }

    /// Sends a request in one write and reads the head of its reply.
    pub(crate) fn exchange(
        &mut self,
        request_line: &str,
        headers: &str,
        body: &str,
    ) -> Outcome<Head> {
        let request = format!(
            "{request_line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        self.read_head()
    }

    /// The next line of the body without its end, or nothing when the body has ended.
    pub(crate) fn line(&mut self) -> Outcome<Option<String>> {
        let mut line = Vec::new();
        loop {
            let left = self.left()?;
            if left == 0 {
                return Ok(if line.is_empty() { None } else { Some(text(line)?) });
            }
            let taken = (&mut self.stream).take(left).read_until(b'\n', &mut line)?;
            self.took(u64::try_from(taken)?)?;
            if line.ends_with(b"\n") {
                return Ok(Some(text(line)?));
            }
        }
    }

    /// All that is left of the body.
    pub(crate) fn rest(&mut self) -> Outcome<String> {
        let mut lines = String::new();
        while let Some(line) = self.line()? {
            lines.push_str(&line);
            lines.push('\n');
        }
        Ok(lines)
    }

    fn read_head(&mut self) -> Outcome<Head> {
        let status_line = self.head_line()?;
        let status = status_line.split(' ').nth(1).ok_or("no status line")?.parse()?;
        let mut head = Head { status, session: None, is_event_stream: false, closes: false };
        self.body = Body::Ended;
        loop {
            let line = self.head_line()?;
            if line.is_empty() {
                return Ok(head);
            }
            let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => self.body = Body::Length(value.parse()?),
                "transfer-encoding" => self.body = Body::Chunked(0),
                "content-type" => head.is_event_stream = value.starts_with("text/event-stream"),
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                "mcp-session-id" => head.session = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    fn head_line(&mut self) -> Outcome<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        text(line)
    }

    /// How much may be read at once; opens the next chunk. Zero is the end of the body.
    fn left(&mut self) -> Outcome<u64> {
        if let Body::Chunked(0) = self.body {
            let size = u64::from_str_radix(self.head_line()?.trim(), 16)?;
            self.body = Body::Chunked(size);
            if size == 0 {
                self.head_line()?;
                self.body = Body::Ended;
            }
        }
        Ok(match self.body {
            Body::Length(left) | Body::Chunked(left) => left,
            Body::Ended => 0,
        })
    }

    fn took(&mut self, taken: u64) -> Outcome<()> {
        if taken == 0 {
            return Err("the server closed the connection in the middle of a reply".into());
        }
        match &mut self.body {
            Body::Length(left) => *left -= taken,
            Body::Chunked(left) => {
                *left -= taken;
                if *left == 0 {
                    self.head_line()?;
                }
            }
            Body::Ended => {}
        }
        Ok(())
    }
}

fn text(mut line: Vec<u8>) -> Outcome<String> {
    while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        line.pop();
    }
    Ok(String::from_utf8(line)?)
}

/// A server that says nothing for this long has failed the run.
const PATIENCE: Duration = Duration::from_secs(20);
