//! The listening sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Why an address cannot be listened on; `Display` says what to type next.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, port) = (self.address, self.address.port());
        match self.source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "port {port} is in use by another program (see which with: ss -ltnp 'sport = :{port}'); \
                 stop it or choose another with --port"
            ),
            io::ErrorKind::PermissionDenied if port < 1024 => write!(
                f,
                "port {port} is below 1024 and this user may not open it; choose one above, or allow it \
                 with: sudo setcap cap_net_bind_service=+ep /path/to/local-llm-mcp"
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "{} is not an address of this machine; choose one with --host, or leave it out for all",
                address.ip()
            ),
            _ => write!(f, "cannot listen on {address}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl ListenError {
    /// Whether the machine has no such address family (IPv6 switched off).
    #[must_use]
    pub fn is_no_family(&self) -> bool {
        let code = self.source.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
        code == Some(rustix::io::Errno::AFNOSUPPORT)
            || (self.source.kind() == io::ErrorKind::AddrNotAvailable
                && self.address.ip().is_unspecified())
    }
}

/// Binds and listens; `[::]` takes IPv4 too. Errors: what the system says, with the remedy.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || -> io::Result<TcpListener> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket =
            rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // A restart must not wait for the connections of the one before.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
        }
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| ListenError { address, source })
}

/// Simultaneous connects that the kernel holds for us.
const BACKLOG: i32 = 1024;
