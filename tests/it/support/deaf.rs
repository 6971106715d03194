//! A model server that cannot be reached and does not say so.
#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::net::TcpListener;

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketType, connect, listen, socket};

/// A listener whose queue is full, so that a connect to it hangs.
pub(crate) struct Deaf {
    listener: TcpListener,
    _waiting: Vec<OwnedFd>,
}

impl Deaf {
    /// Starts on a free port of loopback.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let pending = |_| {
            let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            rustix::io::ioctl_fionbio(&fd, true).unwrap();
            let _pending = connect(&fd, &address);
            fd
        };
        Self { listener, _waiting: (0..4).map(pending).collect() }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}
