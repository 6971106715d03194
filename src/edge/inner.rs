//! A connection to tiny_http, and the canonical form in which a request goes over it.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use super::head::{Head, Method};

/// A connection to tiny_http that carries one request at a time.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) socket: UnixStream,
    /// The number of the tiny_http at its other end.
    pub(super) generation: u64,
    /// The number of the request that it carries.
    pub(super) number: u64,
}

/// Writes a request: nothing of it but the method and the body is the client's. The worker finds the
/// rest by the ticket, so that tiny_http, which reads heads byte by byte, has little to read.
/// Errors: the connection is broken, or nobody reads it.
pub(super) fn write_request(
    mut connection: &UnixStream,
    ticket: &str,
    head: &Head,
    body: &[u8],
) -> io::Result<()> {
    // tiny_http leaves out the body of a HEAD's reply, which is the front's to do.
    let method = if head.method == Method::Head { Method::Get } else { head.method }.as_str();
    let mut text = format!(
        "{method} / HTTP/1.1\r\n{TICKET_FIELD}: {ticket}\r\nContent-Length: {}\r\n\r\n",
        body.len(),
    )
    .into_bytes();
    if body.len() <= JOINED_BYTES_MAX {
        text.extend_from_slice(body);
        connection.write_all(&text)
    } else {
        connection.write_all(&text)?;
        connection.write_all(body)
    }
}

/// By this field a worker finds what the front knows of a request.
pub(super) const TICKET_FIELD: &str = "X-Exchange";
/// Bodies up to this size go out in one write with their head.
const JOINED_BYTES_MAX: usize = 64 * 1024;
