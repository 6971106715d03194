//! The whole house in this process: a server on loopback, with a stand-in for LM Studio behind it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail here")]

use std::net::SocketAddr;

use local_llm_mcp::config::{self, Config, Environment, Flags, Limits, Scheme};
use local_llm_mcp::server::{Server, StartError};
use serde_json::Value;

use super::client::Client;
use super::stand_in::{Script, Stall, StandIn};
use crate::scratch::Scratch;

/// A running house; it ends when this is dropped.
pub(crate) struct House {
    // In the order in which they end.
    pub(crate) server: Server,
    pub(crate) stand_in: Option<StandIn>,
    pub(crate) scratch: Scratch,
}

/// What a house is built from.
pub(crate) struct Plan {
    script: Script,
    variables: Vec<(String, String)>,
    limits: Limits,
    changes: Vec<fn(&mut Config)>,
    /// Generations that run and that wait at the model server.
    places: (usize, usize),
    /// Its state folder.
    pub(crate) scratch: Scratch,
}

impl Plan {
    /// Plain HTTP on a free port, every limit as usual.
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let plan = Self {
            script: Script::default(),
            variables: Vec::new(),
            limits: Limits::default(),
            changes: Vec::new(),
            places: (4, 16),
            scratch,
        };
        let folder = plan.scratch.path().to_str().unwrap().to_owned();
        plan.set("HOST", "127.0.0.1")
            .set("PORT", "0")
            .set("MCP_TRANSPORT", "http")
            .set("MCP_STATE_DIR", &folder)
    }

    /// HTTPS with a certificate of our own CA.
    pub(crate) fn https() -> Self {
        Self::new().set("MCP_TRANSPORT", "https")
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// What only a configuration file says.
    pub(crate) fn with(mut self, change: fn(&mut Config)) -> Self {
        self.changes.push(change);
        self
    }

    /// One generation at a time, on the only thread there is for them.
    pub(crate) fn alone(mut self) -> Self {
        self.places = (1, 0);
        self.limits(|limits| limits.calls_spare_max = 0)
    }

    /// How many generations run and wait at the model server.
    pub(crate) fn places(mut self, running: usize, waiting: usize) -> Self {
        self.places = (running, waiting);
        self
    }

    pub(crate) fn script(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// Every generation stalls before its first word.
    pub(crate) fn stalling(self) -> Self {
        self.script(Script { stall: Stall::BeforeFirst, ..Script::default() })
    }

    /// What the settings come to, with this upstream.
    pub(crate) fn config(&self, upstream: &str) -> Config {
        let own = [("LM_STUDIO_URL".to_owned(), upstream.to_owned())];
        let environment: Environment = own.into_iter().chain(self.variables.clone()).collect();
        let mut config = Self::resolve(&environment).unwrap();
        config.limits = self.limits;
        for upstream in &mut config.upstreams {
            (upstream.concurrency, upstream.queue) = self.places;
        }
        for change in &self.changes {
            change(&mut config);
        }
        config
    }

    /// The settings, or the sentence that refuses them.
    pub(crate) fn try_config(&self) -> Result<Config, String> {
        let environment: Environment = self.variables.iter().cloned().collect();
        Self::resolve(&environment).map_err(|error| error.to_string())
    }

    fn resolve(environment: &Environment) -> Result<Config, config::ConfigError> {
        let Ok(flags) = config::parse(&[]).unwrap() else { panic!("no flags are no help") };
        let flags: Flags = flags;
        config::resolve(&flags, environment)
    }

    pub(crate) fn try_start(self) -> Result<House, StartError> {
        let stand_in = StandIn::start(self.script.clone());
        let server = Server::start(&self.config(&stand_in.url()))?;
        Ok(House { server, stand_in: Some(stand_in), scratch: self.scratch })
    }

    pub(crate) fn start(self) -> House {
        self.try_start().unwrap()
    }
}

impl House {
    pub(crate) fn stand_in(&self) -> &StandIn {
        self.stand_in.as_ref().unwrap()
    }

    pub(crate) fn address(&self, scheme: Scheme) -> SocketAddr {
        self.server.bound().iter().find(|bound| bound.scheme == scheme).unwrap().address
    }

    /// A client of the plain port.
    pub(crate) fn client(&self) -> Client {
        Client::plain(self.address(Scheme::Http))
    }

    /// A client of the HTTPS port that trusts the CA of the state folder.
    pub(crate) fn tls_client(&self) -> Client {
        Client::tls(self.address(Scheme::Https), "localhost", &self.scratch.read("ca.pem"))
    }

    /// What `/health` tells somebody at home.
    pub(crate) fn health(&self) -> Value {
        self.client().get("/health").json()
    }
}
