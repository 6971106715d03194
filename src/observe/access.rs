//! The access line: one a finished exchange, at level info, its fields always in the same order.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::escaped;

/// What one line says. The query is left out, since a session id stands in it.
pub struct AccessLine<'a> {
    /// The client's address.
    pub peer: IpAddr,
    /// Who asked, where it is known.
    pub principal: Option<&'a dyn fmt::Display>,
    /// The method.
    pub method: &'a str,
    /// The path; escaped here.
    pub path: &'a str,
    /// The HTTP status; 0 when the client left before it was sent.
    pub status: u16,
    /// Whether the client was gone before it had all of a reply that has an end.
    pub left: bool,
    /// Bytes of the reply's body.
    pub bytes: u64,
    /// From the end of the head to the end of the reply; an event stream's whole life.
    pub elapsed: Duration,
    /// Whether it came over TLS.
    pub tls: bool,
}

impl AccessLine<'_> {
    /// Writes the line.
    pub fn write(&self) {
        log::info!(target: TARGET, "{self}");
    }
}

impl fmt::Display for AccessLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.peer)?;
        match self.principal {
            Some(principal) => write!(f, "{principal}")?,
            None => f.write_str("-")?,
        }
        write!(
            f,
            " {} {} {} {} status={} bytes={} ms={:.1}",
            if self.tls { "https" } else { "http" },
            self.method,
            escaped(self.path),
            if self.left { "left" } else { "done" },
            self.status,
            self.bytes,
            self.elapsed.as_secs_f64() * 1000.0,
        )
    }
}

impl fmt::Debug for AccessLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessLine({self})")
    }
}

/// The log target of access lines, to filter by.
const TARGET: &str = "local_llm_mcp::access";
