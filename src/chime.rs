//! Wakes a poll from another thread.

use std::io;
#[cfg(not(target_os = "linux"))]
use std::io::{Read, Write};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(not(target_os = "linux"))]
use std::os::unix::net::UnixStream;

#[cfg(target_os = "linux")]
use rustix::event::{EventfdFlags, eventfd};

/// A descriptor that becomes readable from another thread.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Chime(OwnedFd);

#[cfg(target_os = "linux")]
impl Chime {
    /// Errors: no descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    /// Makes it readable. Never waits.
    pub fn strike(&self) {
        // Fails only when it was struck 2^64 times unheard; then it is readable all the same.
        rustix::io::write(&self.0, &1_u64.to_ne_bytes()).unwrap_or_default();
    }

    /// Makes it unreadable again; unheard, it stays struck.
    pub fn hear(&self) {
        // Nothing there means that the wake was for something else.
        rustix::io::read(&self.0, &mut [0; 8]).unwrap_or_default();
    }
}

#[cfg(target_os = "linux")]
impl AsFd for Chime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The same where there is no eventfd.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Chime(UnixStream, UnixStream);

#[cfg(not(target_os = "linux"))]
impl Chime {
    /// Errors: no descriptors.
    pub fn new() -> io::Result<Self> {
        let (hammer, ear) = UnixStream::pair()?;
        hammer.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self(hammer, ear))
    }

    /// Makes it readable. Never waits.
    pub fn strike(&self) {
        // A full pipe means that it is readable already.
        drop((&self.0).write(&[1]));
    }

    /// Makes it unreadable again; unheard, it stays struck.
    pub fn hear(&self) {
        drop((&self.1).read(&mut [0; 8]));
    }
}

#[cfg(not(target_os = "linux"))]
impl AsFd for Chime {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}
