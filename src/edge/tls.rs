//! The TLS side of the listener: rustls with the ring provider, HTTP/1.1 only.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustls::server::ResolvesServerCert;
use rustls::{AlertDescription, ServerConfig, ServerConnection};

use super::front::speaks_plain;
use super::wire::{handshake, time_left, wait};

/// A configuration that serves whatever certificate `resolver` has at each handshake.
/// Errors: the provider cannot do TLS 1.2 and 1.3.
pub fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Resumption without memory on this side; one ticket is what a client of ours uses.
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// What a new connection on the HTTPS port turned out to be.
pub(super) enum Greeting {
    /// A TLS client, its handshake done.
    Tls(Box<ServerConnection>),
    /// A client that speaks plain HTTP.
    Plain,
}

/// Greets a new connection on the HTTPS port. Errors: it speaks neither TLS nor HTTP, refuses our
/// certificate, or is not done before the deadline.
pub(super) fn greet(
    socket: &TcpStream,
    config: &Arc<ServerConfig>,
    deadline: Instant,
) -> io::Result<Greeting> {
    loop {
        match speaks_plain(socket)? {
            Some(true) => return Ok(Greeting::Plain),
            Some(false) => break,
            None => {
                let left = time_left(deadline).ok_or(io::ErrorKind::TimedOut)?;
                wait(&mut [PollFd::new(socket, PollFlags::IN)], Some(left))?;
            }
        }
    }
    let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    tls.set_buffer_limit(Some(OUTBOUND_BYTES_MAX));
    handshake(&mut tls, socket, deadline)?;
    Ok(Greeting::Tls(Box::new(tls)))
}

/// Whether the peer ended the handshake because it does not trust our certificate.
pub(super) fn is_distrust(error: &io::Error) -> bool {
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        alert,
        Some(rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
        ))
    )
}

/// What one connection may hold encrypted and unsent; `wire` hands over less at a time.
const OUTBOUND_BYTES_MAX: usize = 64 * 1024;
