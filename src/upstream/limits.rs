//! How long an upstream may take, and why a wait for one ended. Knows no socket.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// The named timeouts of a request to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Finding and reaching the machine, its TLS handshake included.
    Connect,
    /// From the request to the first word of the answer: loading a model and reading the prompt.
    Prefill,
    /// Between two pieces of the answer.
    Idle,
    /// The whole request.
    Call,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Prefill => "prefill",
            Self::Idle => "idle",
            Self::Call => "call",
        })
    }
}

/// The lengths of the named timeouts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`Limit::Connect`].
    pub connect: Duration,
    /// See [`Limit::Prefill`].
    pub prefill: Duration,
    /// See [`Limit::Idle`].
    pub idle: Duration,
    /// See [`Limit::Call`].
    pub call: Duration,
}

impl Limits {
    /// The length of one of them.
    pub(super) fn length(&self, limit: Limit) -> Duration {
        match limit {
            Limit::Connect => self.connect,
            Limit::Prefill => self.prefill,
            Limit::Idle => self.idle,
            Limit::Call => self.call,
        }
    }
}

impl Default for Limits {
    /// A machine on the same network answers a connect within milliseconds, so five seconds mean
    /// that it is off. A large model loads and reads a long prompt for minutes without a byte.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            prefill: Duration::from_secs(600),
            idle: Duration::from_secs(120),
            call: Duration::from_secs(900),
        }
    }
}

/// Why a wait on a socket ended without bytes; travels through ureq inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The call was cancelled and its socket is shut down.
    Cancelled,
    /// A timeout fired.
    Limit(Limit),
    /// Nothing is wrong: the caller asked to be woken while the upstream is silent.
    Beat,
    /// A connection is needed, which is made where its caller can be woken meanwhile.
    Dial,
}

impl Stop {
    /// The stop inside `error`, if it is one.
    pub(super) fn within(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Limit(limit) => write!(f, "the {limit} timeout fired"),
            Self::Beat | Self::Dial => f.write_str("still waiting"),
        }
    }
}

impl Error for Stop {}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> Self {
        Self::other(stop)
    }
}

impl From<Stop> for ureq::Error {
    fn from(stop: Stop) -> Self {
        Self::Io(stop.into())
    }
}
