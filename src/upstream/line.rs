//! Makes connections for ureq, and lets a request leave the wait for its answer and come back.
//!
//! ureq gives up a request when the wait for the answer's head ends without one. A caller that
//! wants to be woken meanwhile gets [`Stop::Beat`]: the connection is parked with the request,
//! and when the same request is sent again it continues here, the writes being dropped because
//! the upstream has them. A connection, too, is made outside of ureq ([`Stop::Dial`]), because that
//! takes long when a machine is off. Its TLS handshake is made inside, silent until the connect limit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, RustlsConnector,
    Transport,
};

use crate::upstream::call;
use crate::upstream::limits::Stop;
use crate::upstream::socket::{INPUT_BYTES, OUTPUT_BYTES, Wire};

/// ureq agents for one upstream.
pub(super) struct Agents {
    /// Keeps connections; for requests that may be asked again.
    pub(super) pooled: Agent,
    /// Keeps connections for a moment; for generations, which must never meet a connection that
    /// the upstream has just closed, since they are not asked twice.
    pub(super) recent: Agent,
    /// Makes a connection a request.
    pub(super) fresh: Agent,
}

impl Agents {
    /// Agents over the connections that their requests make, with TLS and `roots` as the trusted
    /// certificates when the URLs are https.
    pub(super) fn new(roots: Vec<Certificate<'static>>) -> Self {
        let tls = tls_config(roots);
        let agent = |idle_max: usize, age_max: Duration| {
            let connector = Line { rustls: RustlsConnector::default() };
            Agent::with_parts(config(tls.clone(), idle_max, age_max), connector, Unresolved)
        };
        Self {
            pooled: agent(IDLE_CONNECTIONS_MAX, IDLE_AGE_MAX),
            recent: agent(IDLE_CONNECTIONS_MAX, RECENT_AGE_MAX),
            fresh: agent(0, Duration::ZERO),
        }
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").finish_non_exhaustive()
    }
}

/// No timeout of ureq's is set: the transport has its own, and two of ureq's start a thread a
/// call. No proxy, because the environment's would be asked for machines at home. No redirect is
/// followed, because it would carry the token elsewhere.
fn config(tls: TlsConfig, idle_max: usize, age_max: Duration) -> Config {
    Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_idle_connections(idle_max)
        .max_idle_connections_per_host(idle_max)
        .max_idle_age(age_max)
        .max_response_header_size(INPUT_BYTES / 2)
        .input_buffer_size(INPUT_BYTES)
        .output_buffer_size(OUTPUT_BYTES)
        .user_agent(concat!("local-llm-mcp/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
}

fn tls_config(roots: Vec<Certificate<'static>>) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(provider)
        .build()
}

#[derive(Debug)]
struct Line {
    rustls: RustlsConnector,
}

impl Connector for Line {
    type Out = Patient;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Patient>, ureq::Error> {
        let call = call::current()?;
        if let Some(inner) = call.unpark() {
            return Ok(Some(Patient { inner, resumed: true }));
        }
        let wire = Wire::new(call.take_dialed().ok_or(Stop::Dial)?, &call);
        let inner: Box<dyn Transport> = match self.rustls.connect(details, Some(wire))? {
            Some(Either::A(plain)) => Box::new(plain),
            Some(Either::B(secured)) => Box::new(secured),
            None => return Ok(None),
        };
        call.connected();
        Ok(Some(Patient { inner, resumed: false }))
    }
}

/// A connection that can be parked while it waits for the head of an answer.
struct Patient {
    inner: Box<dyn Transport>,
    /// What is written now was written before.
    resumed: bool,
}

impl Transport for Patient {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, wait: NextTimeout) -> Result<(), ureq::Error> {
        if self.resumed { Ok(()) } else { self.inner.transmit_output(amount, wait) }
    }

    fn await_input(&mut self, wait: NextTimeout) -> Result<bool, ureq::Error> {
        self.resumed = false;
        let waited = self.inner.await_input(wait);
        if matches!(waited, Ok(true)) {
            call::current()?.heard();
        }
        if let Err(ureq::Error::Io(error)) = &waited
            && Stop::within(error) == Some(Stop::Beat)
        {
            let call = call::current()?;
            if !call.has_received() {
                call.park(std::mem::replace(&mut self.inner, Box::new(Gone::default())));
            }
        }
        waited
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl fmt::Debug for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Stands where a parked connection was; ureq only drops it.
#[derive(Debug)]
struct Gone(LazyBuffers);

impl Default for Gone {
    fn default() -> Self {
        Self(LazyBuffers::new(1, 1))
    }
}

impl Transport for Gone {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.0
    }

    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        Err(ureq::Error::ConnectionFailed)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        Err(ureq::Error::ConnectionFailed)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

/// ureq resolves for every request, also for one that a pooled connection will serve; the
/// connector looks names up itself, when it needs them.
#[derive(Debug)]
struct Unresolved;

impl Resolver for Unresolved {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}

/// As many as may ask at the same time before connections are made anew for each.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// LM Studio closes an idle connection after five seconds.
const IDLE_AGE_MAX: Duration = Duration::from_secs(4);
/// Whoever keeps connections at all keeps them longer than this.
const RECENT_AGE_MAX: Duration = Duration::from_secs(1);
