//! Brings an event stream to its client on the client's own connection thread: runs what makes its
//! words there, if anything does, and waits for rings, for silence and for the client to leave.

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::minder::{Minded, Minder};
use super::relay::{Opening, Relay, try_lock};
use super::reply::{Finished, head, left, poll_both};
use super::stream::{Ear, Handed};
use super::wire::Wire;
use super::{Admitted, EdgeLimits, Method, Reply};
use crate::cancel::Reason;
use crate::worker::lock;

/// Brings an event stream to the client until one side ends it.
pub(super) fn stream(
    wire: Wire,
    handed: Handed,
    reply: &Reply,
    admitted: &Arc<Admitted>,
    limits: &EdgeLimits,
    minder: &Minder,
) -> (Wire, Finished) {
    let Handed { source, ear, work, has_end } = handed;
    call_this_thread(&source.name());
    let chunked = !admitted.head.http_1_0;
    // Behind a call's answer the next one comes; a stream that was asked for alone ends with its
    // connection.
    let keep = chunked && admitted.head.keep_alive && admitted.head.method == Method::Post;
    let socket = wire.socket();
    let opening = Opening {
        // Clients that pool their connections have to know before. The head goes out with the first
        // event, at once.
        head: head(reply, None, !chunked, keep),
        chunked,
        keep,
        write_limit: Duration::from_millis(limits.write_ms_max),
    };
    let relay = Relay::new(wire, source, opening);
    let relay = Arc::new(Mutex::new(Some(relay)));
    let is_working = Arc::new(AtomicBool::new(work.is_some()));
    let (other, working) = (Arc::clone(&relay), Arc::clone(&is_working));
    let own = std::thread::current().id();
    ear.deliver_with(move || {
        // This thread while it is at work: nobody waits for the client under the lock then, and it looks
        // after the rest when it has done. Anybody else who comes while it sends wakes it.
        let is_own = working.load(Ordering::Acquire) && std::thread::current().id() == own;
        let mut relay = if is_own { Some(lock(&other)) } else { try_lock(&other) };
        let relay = relay.as_mut().and_then(|relay| relay.as_mut());
        relay.is_some_and(Relay::send_at_once) || is_own
    });
    if let Some(work) = work {
        if let Some(relay) = lock(&relay).as_mut() {
            relay.send_at_once();
        }
        let minding = minder.mind(Minded::new(&relay, &socket, admitted));
        let worked = catch_unwind(AssertUnwindSafe(work));
        drop(minding);
        is_working.store(false, Ordering::Release);
        if let Some(relay) = lock(&relay).as_mut().filter(|_| worked.is_err()) {
            log::error!("a call ended by a panic; please report it");
            relay.break_off();
            admitted.hang_up.fire(Reason::SessionEnded);
        }
    }
    let ended = watch(&relay, &socket, &ear, admitted);
    let last = lock(&relay).take();
    let hung_up = admitted.hang_up.is_fired();
    // By that its call may have ended, and so the stream. One that answers nothing has no other end.
    let has_left = admitted.gone.reason() == Some(Reason::ClientLeft);
    let gone = has_end && (has_left || (ended.is_err() && !hung_up));
    let is_over = last.as_ref().is_none_or(Relay::is_over);
    let keep = keep && ended.is_ok() && !is_over && !hung_up;
    if let Err(error) = ended {
        left(admitted, &error);
    }
    admitted.gone.fire(Reason::ClientLeft);
    // It serves on as the connection's thread that it was.
    call_this_thread(std::thread::current().name().unwrap_or_default());
    let status = reply.status;
    match last {
        Some(relay) => {
            let bytes = relay.bytes;
            (relay.wire, Finished { status, left: gone, bytes, keep })
        }
        None => (Wire::new(socket, None), Finished { status, left: true, bytes: 0, keep: false }),
    }
}

/// What the stream's own thread does when it has no work: waits for rings, for silence, and for the
/// client to leave. Until the source's end (`Ok`), or until the client left (`Err`).
fn watch(
    relay: &Mutex<Option<Relay>>,
    socket: &TcpStream,
    ear: &Ear,
    admitted: &Admitted,
) -> io::Result<()> {
    let mut client = PollFlags::empty();
    let mut standing = Standing::new();
    loop {
        let is_revoked = standing.is_revoked(admitted);
        if is_revoked {
            admitted.gone.fire(Reason::SessionEnded);
        }
        let (watched, silence) = {
            let mut relay = lock(relay);
            let Some(relay) = relay.as_mut() else { return Ok(()) };
            if is_revoked {
                relay.close();
            }
            relay.turn(client, admitted)?;
            relay.send_waiting()?;
            if relay.has_ended() {
                return Ok(());
            }
            (relay.is_watched(), relay.silence(admitted))
        };
        let rung;
        (rung, client) = poll_both(ear, socket, watched, Some(silence));
        if rung {
            ear.hear();
        }
    }
}

/// Asks now and then whether a stream's client may still be here.
pub(super) struct Standing {
    looked: Instant,
    is_revoked: bool,
}

impl Standing {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now(), is_revoked: false }
    }

    pub(super) fn is_revoked(&mut self, admitted: &Admitted) -> bool {
        if !self.is_revoked && self.looked.elapsed() >= LOOK_PAUSE {
            self.looked = Instant::now();
            self.is_revoked = !admitted.stands();
            if self.is_revoked {
                log::info!("a stream ends: what let its client in was revoked");
            }
        }
        self.is_revoked
    }
}

#[cfg(target_os = "linux")]
fn call_this_thread(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // Only for whoever looks at the threads.
        rustix::thread::set_name(&name).unwrap_or_default();
    }
}

#[cfg(not(target_os = "linux"))]
fn call_this_thread(_name: &str) {}

/// How often a busy stream asks whether its client may still be here.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
