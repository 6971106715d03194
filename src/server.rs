//! The composition root: builds the rooms, owns every handle, starts in order and stops in
//! reverse. Imported by `main` alone.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod banner;
mod error;
mod limits;
mod run;
mod status;
mod watch;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::SecureRandom;

use crate::auth::{Authenticator, HostNames, Interfaces, TokenSources, machine_name};
use crate::cert::Certificates;
use crate::config::{Config, Listener, Scheme};
use crate::edge::{Cors, Edge, Listening, Policy, bind, server_config};
use crate::mcp::{Bulletin, Dispatcher, Service};
use crate::seal::Seal;
use crate::session::{EndedIds, KeptSessions, LegacyTickets, Registry};
use crate::tools::{Defaults, Facts, Toolbox};
use crate::transport::{CaPem, Health, House, Lanes, Legacy, Router, Sse, Streamable, routes};
use crate::upstream::{BaseUrl, Settings, Upstream};

use limits::{edge_limits, house_settings, kept_limits, lane_limits, session_limits};
use status::Status;
use watch::{Look, Watch};

pub use error::StartError;
pub use run::{Outcome, run};

/// The running server.
#[derive(Debug)]
pub struct Server {
    // In the order in which they are stopped.
    edge: Arc<Edge>,
    registry: Arc<Registry>,
    streamable: Arc<Streamable>,
    lanes: Arc<Lanes>,
    watch: Watch,
    upstream: Arc<Upstream>,
    certificates: Option<Arc<Certificates>>,
    authenticator: Arc<Authenticator>,
    interfaces: Arc<Interfaces>,
    bound: Vec<Bound>,
    drain_ms_max: u64,
}

/// A listener with the port that it really has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// With TLS or without.
    pub scheme: Scheme,
    /// The address and port.
    pub address: SocketAddr,
}

impl Server {
    /// Builds every room and starts to listen. Errors: [`StartError`], and nothing is left running.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let upstream = Arc::new(upstream(config)?);
        let toolbox = Arc::new(Toolbox::new(
            Arc::clone(&upstream),
            Defaults { model: config.upstream.model.clone() },
            Facts { config: facts(config) },
        ));
        let bulletin = Arc::<Bulletin>::default();
        let look = Arc::clone(&toolbox);
        let look: Look = Box::new(move |cancel| look.look(cancel));
        Self::build(config, upstream, toolbox, bulletin, look)
    }

    /// The same with another service in place of ours, for trying out the protocol itself.
    /// Errors: as of [`Self::start`].
    pub fn start_with(
        config: &Config,
        service: Arc<dyn Service>,
        bulletin: Arc<Bulletin>,
    ) -> Result<Self, StartError> {
        let upstream = Arc::new(upstream(config)?);
        Self::build(config, upstream, service, bulletin, Box::new(|_| Vec::new()))
    }

    fn build(
        config: &Config,
        upstream: Arc<Upstream>,
        service: Arc<dyn Service>,
        bulletin: Arc<Bulletin>,
        look: Look,
    ) -> Result<Self, StartError> {
        let authenticator = Arc::new(authenticator(config)?);
        config.check_exposure(authenticator.required())?;
        let interfaces = Arc::new(Interfaces::new());
        let names = machine_name();
        let certificates = certificates(config, &names, &interfaces)?;
        let limits = &config.limits;
        let registry = Arc::new(Registry::new(session_limits(limits)));
        let lanes = Arc::new(Lanes::new(&lane_limits(limits)));
        let seal = Arc::new(Seal::open(&config.state_folder)?);
        let kept = Arc::new(KeptSessions::new(kept_limits(limits)));
        let house = Arc::new(House {
            settings: house_settings(limits, random),
            dispatcher: Dispatcher::new(service, Arc::clone(&seal)),
            lanes: Arc::clone(&lanes),
            bulletin: Arc::clone(&bulletin),
        });
        let ended = EndedIds::open(
            Some(config.state_folder.join("ended-sessions")),
            limits.ended_sessions_max,
            now_s(),
        );
        let legacy =
            Legacy::new(Arc::clone(&house), LegacyTickets::new(seal, ended), Arc::clone(&kept));
        let streamable = Arc::new(Streamable::new(Arc::clone(&house), Arc::new(legacy)));
        let sse = Arc::new(Sse::new(house, Arc::clone(&registry)));
        let watch = Watch::start(bulletin, kept, look).map_err(StartError::Threads)?;
        let counted = Arc::new(OnceLock::new());
        let status = Status {
            edge: Arc::clone(&counted),
            registry: Arc::clone(&registry),
            lanes: Arc::clone(&lanes),
            upstream: Arc::clone(&upstream),
            certificates: certificates.clone(),
        };
        let ca = certificates.clone();
        let router = Router {
            health: Health { started: Instant::now(), source: Arc::new(move || status.json()) },
            ca: CaPem(Arc::new(move || ca.as_ref().and_then(|certificates| certificates.ca_pem()))),
            sse,
            streamable: Arc::clone(&streamable),
        };
        let (listening, bound) = listen(config, certificates.as_ref())?;
        let configured = host_names(config, certificates.as_deref());
        let hosts = HostNames::new(&names, &configured);
        let policy = policy(config, Arc::clone(&authenticator), hosts);
        let edge = Edge::start(
            listening,
            &inner_folder()?,
            policy,
            Arc::clone(&interfaces),
            edge_limits(limits),
            Arc::new(router),
        );
        let edge = Arc::new(edge.map_err(StartError::Inner)?);
        drop(counted.set(Arc::downgrade(&edge)));
        Ok(Self {
            edge,
            registry,
            streamable,
            lanes,
            watch,
            upstream,
            certificates,
            authenticator,
            interfaces,
            bound,
            drain_ms_max: limits.drain_ms_max,
        })
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Stops in an orderly way: accepts nothing more, stops the calls and ends the streams, waits
    /// for what is being answered until `drain_ms_max`, joins every thread.
    pub fn stop(&self) {
        let deadline = Instant::now() + Duration::from_millis(self.drain_ms_max);
        self.edge.stop_accepting();
        self.watch.stop();
        self.registry.close();
        self.streamable.close();
        self.edge.finish(deadline);
        self.lanes.close();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The names that a client may call the server besides local ones: those that were set, and those
/// that an owner's own certificate vouches for.
fn host_names(config: &Config, certificates: Option<&Certificates>) -> Vec<String> {
    let mut names: Vec<String> =
        config.allow_hosts.iter().chain(&config.extra_names).cloned().collect();
    if let Some(certificates) = certificates.filter(|_| config.certificate.is_some()) {
        names.extend(certificates.summary().names.iter().cloned());
    }
    names
}

/// What the gate compares with.
fn policy(config: &Config, authenticator: Arc<Authenticator>, hosts: HostNames) -> Policy {
    let public_url = config.public_url.as_ref();
    Policy {
        routes: routes(),
        authenticator,
        hosts,
        origins: config.allow_origins.clone(),
        cors: CORS,
        prefix: public_url.map(|url| url.path().to_owned()).unwrap_or_default(),
        public_host: public_url.map(|url| url.host().to_owned()),
    }
}

/// The headers of MCP over HTTP in all revisions, for web pages of configured origins.
const CORS: Cors = Cors {
    allow_headers: "Content-Type, Authorization, Accept, MCP-Protocol-Version, Mcp-Session-Id, \
                    Last-Event-ID, Mcp-Method, Mcp-Name",
    allow_header_prefix: "mcp-param-",
    expose_headers: "Mcp-Session-Id, WWW-Authenticate",
};

fn authenticator(config: &Config) -> Result<Authenticator, StartError> {
    let sources = TokenSources {
        state_folder: config.state_folder.clone(),
        file: config.token_file.clone(),
        value: config.token.as_ref().map(|token| token.expose().to_owned()),
    };
    Ok(Authenticator::open(sources, config.home_open)?)
}

fn upstream(config: &Config) -> Result<Upstream, StartError> {
    let wanted = &config.upstream;
    let mut settings = Settings::new(BaseUrl::parse(&wanted.url)?);
    settings.api_token = wanted.token.as_ref().map(|token| token.expose().to_owned());
    settings.limits.connect = wanted.connect_timeout;
    settings.limits.prefill = wanted.prefill_timeout;
    settings.limits.idle = wanted.idle_timeout;
    settings.limits.call = wanted.call_timeout;
    settings.reply_bytes_max = config.limits.reply_bytes_max;
    Ok(Upstream::new(settings)?)
}

fn certificates(
    config: &Config,
    machine: &str,
    interfaces: &Interfaces,
) -> Result<Option<Arc<Certificates>>, StartError> {
    if !config.has_https() {
        return Ok(None);
    }
    let certificates = match &config.certificate {
        Some(files) => Certificates::open_foreign(&files.cert, &files.key)?,
        None => Certificates::open_own(
            &config.state_folder,
            machine,
            &interfaces.addresses(),
            &config.extra_names,
        )?,
    };
    Ok(Some(Arc::new(certificates)))
}

fn listen(
    config: &Config,
    certificates: Option<&Arc<Certificates>>,
) -> Result<(Vec<Listening>, Vec<Bound>), StartError> {
    let mut listening = Vec::new();
    let mut bound = Vec::new();
    for Listener { scheme, port } in &config.listeners {
        let listener = match bind(SocketAddr::new(config.host, *port)) {
            Err(error) if config.host_is_default && error.is_no_family() => {
                bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), *port))?
            }
            other => other?,
        };
        let tls = match (scheme, certificates) {
            (Scheme::Https, Some(certificates)) => {
                let resolver = Arc::clone(certificates);
                Some(server_config(resolver).map_err(StartError::Tls)?)
            }
            _ => None,
        };
        let address = listener.local_addr().map_err(StartError::Inner)?;
        bound.push(Bound { scheme: *scheme, address });
        listening.push(Listening { listener, tls });
    }
    Ok((listening, bound))
}

/// A folder for the inner socket that does not exist yet. A socket's path has at most 104 bytes on
/// some systems, so a long temporary folder is passed over.
fn inner_folder() -> Result<PathBuf, StartError> {
    let random = random().ok_or(StartError::Random)?;
    let name = random
        .iter()
        .take(8)
        .fold(String::from("local-llm-mcp-"), |name, byte| name + &format!("{byte:02x}"));
    let temporary = std::env::temp_dir();
    let short = temporary.as_os_str().len() < 60;
    Ok(if short { temporary } else { PathBuf::from("/tmp") }.join(name))
}

/// The settings as `local://config` tells them, without anything secret.
fn facts(config: &Config) -> serde_json::Value {
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| serde_json::json!({ "transport": listener.scheme.as_str(), "port": listener.port }))
        .collect();
    serde_json::json!({
        "upstream": config.upstream.url,
        "defaultModel": config.upstream.model,
        "listeners": listeners,
        "publicUrl": config.public_url.as_ref().map(ToString::to_string),
    })
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}
