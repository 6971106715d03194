//! Finds and reaches the machine of an upstream, within the connect limit and until cancelled.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use crate::upstream::call::Call;
use crate::upstream::limits::{Limit, Stop};
use crate::worker::{self, lock};

/// A machine and port, with the addresses that were found for it.
#[derive(Debug)]
pub(super) struct Dial {
    host: Host,
    port: u16,
    lookup: Arc<Lookup>,
}

impl Dial {
    /// For a host as it stands in a URL: a name, an IPv4 address, or an IPv6 one in brackets.
    pub(super) fn new(host: &str, port: u16) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) if bare.eq_ignore_ascii_case("localhost") => Host::Localhost,
            Err(_) => Host::Name(bare.to_owned()),
        };
        Self { host, port, lookup: Arc::default() }
    }

    /// A connected stream with TCP_NODELAY, from the first address that answers; every address
    /// gets an equal share of the time that is left. `beat` is called as often as the call asks.
    pub(super) fn connect(
        &self,
        call: &Call,
        until: Instant,
        beat: &mut dyn FnMut(),
    ) -> io::Result<TcpStream> {
        let addresses = self.addresses(call, until, beat)?;
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failed = None;
        for address in addresses {
            let now = Instant::now();
            let share = until.saturating_duration_since(now) / left.max(1);
            match reach(address, now + share, call, beat) {
                Ok(stream) => return Ok(stream),
                Err(error) if Stop::within(&error) == Some(Stop::Cancelled) => return Err(error),
                Err(error) => failed = Some(error),
            }
            left -= 1;
        }
        Err(failed.unwrap_or_else(|| self.unknown()))
    }

    fn addresses(
        &self,
        call: &Call,
        until: Instant,
        beat: &mut dyn FnMut(),
    ) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Address(address) => Ok(vec![SocketAddr::new(*address, self.port)]),
            // Without a look-up (RFC 6761, 6.3), and IPv4 first: LM Studio listens there only.
            Host::Localhost => Ok([IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
                .map(|address| SocketAddr::new(address, self.port))
                .to_vec()),
            Host::Name(name) => {
                let found = self.lookup.find((name, self.port), call, until, beat)?;
                if found.is_empty() { Err(self.unknown()) } else { Ok(found) }
            }
        }
    }

    fn unknown(&self) -> io::Error {
        let name = match &self.host {
            Host::Name(name) => name.as_str(),
            Host::Localhost | Host::Address(_) => "this machine",
        };
        io::Error::new(ErrorKind::NotFound, format!("no machine is called {name:?}"))
    }
}

#[derive(Debug)]
enum Host {
    Address(IpAddr),
    Localhost,
    Name(String),
}

/// Connects without blocking and looks at the `Cancel` in between.
fn reach(
    address: SocketAddr,
    until: Instant,
    call: &Call,
    beat: &mut dyn FnMut(),
) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&fd, true)?;
    match connect(&fd, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS | Errno::INTR) => finish(&fd, until, call, beat)?,
        Err(error) => return Err(error.into()),
    }
    ioctl_fionbio(&fd, false)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    Ok(TcpStream::from(fd))
}

fn finish(fd: &OwnedFd, until: Instant, call: &Call, beat: &mut dyn FnMut()) -> io::Result<()> {
    loop {
        call.look()?;
        if call.is_beat_due(Instant::now()) {
            beat();
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Stop::Limit(Limit::Connect).into());
        }
        let slice = Timespec::try_from(left.min(SLICE)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&slice)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(sockopt::socket_error(fd)??),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Look-ups of one name: at most one runs at a time, and what it found serves for a while.
#[derive(Debug, Default)]
struct Lookup {
    state: Mutex<Found>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Found {
    addresses: Vec<SocketAddr>,
    at: Option<Instant>,
    running: bool,
    /// Counts look-ups that ended, so that a waiter knows that one ended since it began.
    ended: u64,
}

impl Lookup {
    fn find(
        self: &Arc<Self>,
        (name, port): (&str, u16),
        call: &Call,
        until: Instant,
        beat: &mut dyn FnMut(),
    ) -> io::Result<Vec<SocketAddr>> {
        let waker = Arc::clone(self);
        // The lock makes sure that a waiter either sees the flag or is woken.
        let _hook = call.cancel().hook(move || {
            drop(lock(&waker.state));
            waker.changed.notify_all();
        });
        let mut state = lock(&self.state);
        if state.at.is_some_and(|at| at.elapsed() < FOUND_FOR) && !state.addresses.is_empty() {
            return Ok(state.addresses.clone());
        }
        if !state.running {
            state.running = true;
            drop(state);
            self.begin(name, port)?;
            state = lock(&self.state);
        }
        let begun = state.ended;
        while state.running && state.ended == begun {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stop::Limit(Limit::Connect).into());
            }
            let left = left.min(SLICE);
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            call.check()?;
            if call.is_beat_due(Instant::now()) {
                drop(state);
                beat();
                state = lock(&self.state);
            }
        }
        Ok(state.addresses.clone())
    }

    /// The system's look-up cannot be stopped and may outlast the connect limit, so it has a
    /// thread of its own, which nobody joins for the same reason: it ends by itself.
    fn begin(self: &Arc<Self>, name: &str, port: u16) -> io::Result<()> {
        let lookup = Arc::clone(self);
        let name = name.to_owned();
        let started = worker::start("resolve", STACK_BYTES, move || {
            let found: Vec<_> = (name.as_str(), port)
                .to_socket_addrs()
                .map(|found| found.take(ADDRESSES_MAX).collect())
                .unwrap_or_default();
            lookup.end(found);
        });
        if let Err(error) = started {
            self.end(Vec::new());
            return Err(error);
        }
        Ok(())
    }

    fn end(&self, addresses: Vec<SocketAddr>) {
        let mut state = lock(&self.state);
        state.addresses = addresses;
        state.at = Some(Instant::now());
        state.running = false;
        state.ended += 1;
        drop(state);
        self.changed.notify_all();
    }
}

/// How late a connect that hangs sees a `Cancel` or a beat.
const SLICE: Duration = Duration::from_millis(50);

/// How long found addresses are used without asking again; a desktop that got a new address is
/// found within this time.
const FOUND_FOR: Duration = Duration::from_secs(30);

/// A name with more addresses is no machine at home.
const ADDRESSES_MAX: usize = 8;

/// Name service plug-ins of the system run on this stack.
const STACK_BYTES: usize = 256 * 1024;
