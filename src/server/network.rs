//! The part of the house that is reached over a network: certificate, tokens, listeners, edge.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::error::StartError;
use super::limits::{edge_limits, session_limits};
use super::random;
use super::run::say;
use super::status::Status;
use crate::auth::{
    Authenticator, Door, HostNames, Interfaces, Lifetimes, TokenSources, machine_name, system_now_s,
};
use crate::cert::Certificates;
use crate::command::check_passphrase;
use crate::config::{self, Config, Listener, Scheme};
use crate::edge::{Cors, Edge, Handler, Listening, Policy, Site, bind, server_config};
use crate::oauth::{self, Oauth, OauthGround, OauthSettings, WideNet, oauth_routes};
use crate::seal::Seal;
use crate::session::{EndedIds, KeptSessions, LegacyTickets, Registry};
use crate::transport::{CaPem, Health, House, Legacy, Router, Sse, Streamable, now_s, routes};
use crate::upstream::Fleet;

/// A listener with the port that it really has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// With TLS or without.
    pub scheme: Scheme,
    /// The address and port.
    pub address: SocketAddr,
}

/// What the network part is built over.
pub(super) struct Ground {
    pub(super) house: Arc<House>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) seal: Arc<Seal>,
    pub(super) kept: Arc<KeptSessions>,
}

/// Everything between the listeners and the house.
#[derive(Debug)]
pub(super) struct Network {
    // In the order in which they are stopped.
    pub(super) edge: Arc<Edge>,
    registry: Arc<Registry>,
    streamable: Arc<Streamable>,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) interfaces: Arc<Interfaces>,
    pub(super) bound: Vec<Bound>,
}

impl Network {
    /// Begins to listen; nothing where no listener was asked for.
    /// Errors: as of `Server::start`; nothing is left running.
    pub(super) fn start(config: &Config, ground: Ground) -> Result<Option<Self>, StartError> {
        if config.listeners.is_empty() {
            return Ok(None);
        }
        let authenticator = Arc::new(authenticator(config)?);
        config.check_exposure(authenticator.required())?;
        check_passphrase(config, &authenticator)?;
        let interfaces = Arc::new(Interfaces::new());
        let names = machine_name();
        let certificates = certificates(config, &names, &interfaces)?;
        // Before the files that only one server at a time may write.
        let (listening, bound) = listen(config, certificates.as_ref())?;
        let Ground { house, fleet, seal, kept } = ground;
        let sites = sites(config);
        let oauth = oauth(config, &sites, &authenticator, &seal, &interfaces);
        let limits = &config.limits;
        let registry = Arc::new(Registry::new(session_limits(limits)));
        let ended = EndedIds::open(
            Some(config.state_folder.join("ended-sessions")),
            limits.ended_sessions_max,
            now_s(),
        );
        let tickets = LegacyTickets::new(seal, ended);
        let legacy = Legacy::new(Arc::clone(&house), tickets, Arc::clone(&kept));
        let streamable = Arc::new(Streamable::new(Arc::clone(&house), Arc::new(legacy)));
        let counted = Arc::new(OnceLock::new());
        let status = Status {
            edge: Arc::clone(&counted),
            registry: Arc::clone(&registry),
            kept,
            streamable: Arc::clone(&streamable),
            lanes: Arc::clone(&house.lanes),
            fleet,
            certificates: certificates.clone(),
        };
        let ca = certificates.clone();
        let router = Router {
            health: Health { started: Instant::now(), source: Arc::new(move || status.json()) },
            ca: CaPem(Arc::new(move || ca.as_ref().and_then(|certificates| certificates.ca_pem()))),
            sse: Arc::new(Sse::new(house, Arc::clone(&registry))),
            streamable: Arc::clone(&streamable),
            beyond: oauth.map(|oauth| oauth as Arc<dyn Handler>),
        };
        let configured = host_names(config, certificates.as_deref());
        let hosts = HostNames::new(&names, &configured);
        let policy = policy(config, Arc::clone(&authenticator), hosts, sites);
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
        Ok(Some(Self {
            edge,
            registry,
            streamable,
            certificates,
            authenticator,
            interfaces,
            bound,
        }))
    }

    /// Stops the calls and ends the streams.
    pub(super) fn close(&self) {
        self.registry.close();
        self.streamable.close();
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
fn policy(
    config: &Config,
    authenticator: Arc<Authenticator>,
    hosts: HostNames,
    sites: Vec<Arc<Site>>,
) -> Policy {
    let beyond = config.oauth.iter().flat_map(|_| oauth_routes());
    Policy {
        routes: routes().chain(beyond).collect(),
        authenticator,
        hosts,
        origins: config.allow_origins.clone(),
        cors: CORS,
        sites,
        proxies: config.trusted_proxies.clone(),
    }
}

fn sites(config: &Config) -> Vec<Arc<Site>> {
    let urls = config.public_urls.iter().map(ToString::to_string);
    urls.filter_map(|url| Site::new(&url)).map(Arc::new).collect()
}

/// The headers of MCP over HTTP in all revisions, for web pages of configured origins.
const CORS: Cors = Cors {
    allow_headers: "Content-Type, Authorization, Accept, MCP-Protocol-Version, Mcp-Session-Id, \
                    Last-Event-ID, Mcp-Method, Mcp-Name",
    allow_header_prefix: "mcp-param-",
    expose_headers: "Mcp-Session-Id, WWW-Authenticate",
};

fn oauth(
    config: &Config,
    sites: &[Arc<Site>],
    authenticator: &Arc<Authenticator>,
    seal: &Arc<Seal>,
    interfaces: &Arc<Interfaces>,
) -> Option<Arc<Oauth>> {
    let wanted = config.oauth?;
    let settings = OauthSettings {
        proof: match wanted.proof {
            config::Proof::Passphrase => oauth::Proof::Passphrase,
            config::Proof::Console => oauth::Proof::Console,
        },
        lifetimes: Lifetimes { access_s: wanted.access_s.into(), grace_s: wanted.grace_s.into() },
        first_route: routes().len(),
    };
    let ground = OauthGround {
        authenticator: Arc::clone(authenticator),
        seal: Arc::clone(seal),
        sites: sites.to_vec(),
        net: Arc::new(WideNet::default()),
        interfaces: Arc::clone(interfaces),
        say: Arc::new(say),
        clock: Arc::new(system_now_s),
    };
    Some(Arc::new(Oauth::new(settings, ground)))
}

fn authenticator(config: &Config) -> Result<Authenticator, StartError> {
    let sources = TokenSources {
        state_folder: config.state_folder.clone(),
        file: config.token_file.clone(),
        value: config.token.as_ref().map(|token| token.expose().to_owned()),
    };
    let (home_open, oauth) = (config.home_open, config.oauth.is_some());
    let door = Door { home_open, oauth, clock: Arc::new(system_now_s) };
    Ok(Authenticator::open_with(sources, door)?)
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
