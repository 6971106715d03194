//! The composition root: builds the rooms, owns every handle, starts in order and stops in
//! reverse. Imported by `main` alone.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator;
mod banner;
mod error;
mod limits;
mod network;
mod run;
mod status;
mod watch;

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ring::rand::SecureRandom;

use crate::command::selection;
use crate::config::{Config, UpstreamConfig, UpstreamKind};
use crate::edge::ListenError;
use crate::mcp::{Bulletin, Dispatcher, Service};
use crate::seal::Seal;
use crate::session::KeptSessions;
use crate::tools::{Defaults, Facts, OwnPrompt, Shown, Toolbox};
use crate::transport::{House, Lanes, Stdio, StdioLimits};
use crate::upstream::{BaseUrl, Fleet, Kind, Settings};

use limits::{conversation_limits, house_settings, kept_limits, lane_limits};
use network::{Ground, Network};
use watch::{Look, Watch};

pub use error::StartError;
pub use network::Bound;
pub use run::{Outcome, run};

/// The running server.
#[derive(Debug)]
pub struct Server {
    // In the order in which they are stopped.
    network: Option<Network>,
    stdio: OnceLock<Stdio>,
    lanes: Arc<Lanes>,
    watch: Watch,
    fleet: Arc<Fleet>,
    house: Arc<House>,
    /// Why there is no network although one was asked for.
    refused: Option<ListenError>,
    stdio_limits: StdioLimits,
    drain_ms_max: u64,
}

impl Server {
    /// Builds every room and starts to listen. Errors: [`StartError`], and nothing is left running.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let fleet = Arc::new(Fleet::new(upstreams(config)?)?);
        let facts = Facts { config: facts(config) };
        let toolbox = Toolbox::new(Arc::clone(&fleet), defaults(config), facts);
        let toolbox = Arc::new(toolbox.showing(shown(config))?);
        let bulletin = Arc::<Bulletin>::default();
        let look = Arc::clone(&toolbox);
        let look: Look = Box::new(move |cancel| look.look(cancel));
        Self::build(config, fleet, toolbox, bulletin, look)
    }

    /// The same with another service in place of ours, for trying out the protocol itself.
    /// Errors: as of [`Self::start`].
    pub fn start_with(
        config: &Config,
        service: Arc<dyn Service>,
        bulletin: Arc<Bulletin>,
    ) -> Result<Self, StartError> {
        let fleet = Arc::new(Fleet::new(upstreams(config)?)?);
        Self::build(config, fleet, service, bulletin, Box::new(|_| Vec::new()))
    }

    fn build(
        config: &Config,
        fleet: Arc<Fleet>,
        service: Arc<dyn Service>,
        bulletin: Arc<Bulletin>,
        look: Look,
    ) -> Result<Self, StartError> {
        let limits = &config.limits;
        let lanes = Arc::new(Lanes::new(&lane_limits(limits, places(config))));
        let seal = Arc::new(Seal::open(&config.state_folder)?);
        let kept = Arc::new(KeptSessions::new(kept_limits(limits)));
        let house = Arc::new(House {
            settings: house_settings(limits, random),
            dispatcher: Dispatcher::new(service, Arc::clone(&seal), limits.page_entries_max),
            lanes: Arc::clone(&lanes),
            bulletin: Arc::clone(&bulletin),
        });
        let ground = Ground {
            house: Arc::clone(&house),
            fleet: Arc::clone(&fleet),
            seal,
            kept: Arc::clone(&kept),
        };
        let (network, refused) = match Network::start(config, ground) {
            Ok(network) => (network, None),
            // Two programs of one desktop start a server each: the second serves its own program.
            Err(StartError::Listen(refused)) if config.stdio => (None, Some(refused)),
            Err(error) => return Err(error),
        };
        let authenticator = network.as_ref().map(|it| Arc::clone(&it.authenticator));
        let watch =
            Watch::start(bulletin, kept, authenticator, look).map_err(StartError::Threads)?;
        Ok(Self {
            network,
            stdio: OnceLock::new(),
            lanes,
            watch,
            fleet,
            house,
            refused,
            stdio_limits: StdioLimits {
                line_bytes_max: limits.body_bytes_max,
                drain_ms_max: limits.drain_ms_max,
            },
            drain_ms_max: limits.drain_ms_max,
        })
    }

    /// Serves the program that started this one over a pair of descriptors; at most once. `left` is
    /// called when that program has gone, with whether it ever said anything.
    /// Errors: the system refuses a thread.
    pub fn serve_stdio(
        &self,
        pipes: (OwnedFd, OwnedFd),
        left: impl FnOnce(bool) + Send + 'static,
    ) -> Result<(), StartError> {
        let stdio = Stdio::start(Arc::clone(&self.house), self.stdio_limits, pipes, left);
        drop(self.stdio.set(stdio.map_err(StartError::Threads)?));
        Ok(())
    }

    /// The listeners with their real ports.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        self.network.as_ref().map_or(&[], |network| network.bound.as_slice())
    }

    /// Stops in an orderly way: accepts nothing more, stops the calls and ends the streams, waits
    /// for what is being answered until `drain_ms_max`, joins every thread.
    pub fn stop(&self) {
        let deadline = Instant::now() + Duration::from_millis(self.drain_ms_max);
        if let Some(network) = &self.network {
            network.edge.stop_accepting();
        }
        self.watch.stop();
        if let Some(network) = &self.network {
            network.close();
        }
        if let Some(stdio) = self.stdio.get() {
            stdio.stop(deadline);
        }
        if let Some(network) = &self.network {
            network.edge.finish(deadline);
        }
        self.lanes.close();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What each model server of the settings is made from.
fn upstreams(config: &Config) -> Result<Vec<Settings>, StartError> {
    config.upstreams.iter().map(|wanted| upstream(wanted, config)).collect()
}

fn upstream(wanted: &UpstreamConfig, config: &Config) -> Result<Settings, StartError> {
    let mut settings = Settings::new(BaseUrl::parse(&wanted.url)?);
    settings.name.clone_from(&wanted.name);
    settings.kind = kind(wanted.kind);
    settings.api_token = wanted.token.as_ref().map(|token| token.expose().to_owned());
    settings.ca_file.clone_from(&wanted.ca_file);
    settings.default_model.clone_from(&wanted.default_model);
    settings.concurrency = wanted.concurrency;
    settings.queue = wanted.queue;
    settings.limits.connect = wanted.connect_timeout;
    settings.limits.prefill = wanted.prefill_timeout;
    settings.limits.idle = wanted.idle_timeout;
    settings.limits.call = in_time(wanted.call_timeout, config);
    settings.reply_bytes_max = config.limits.reply_bytes_max;
    Ok(settings)
}

/// Generations that run or wait, over all model servers.
fn places(config: &Config) -> usize {
    config.upstreams.iter().map(|upstream| upstream.concurrency + upstream.queue).sum()
}

/// What is left of a time of the settings for an answer to be written in, since it still has to
/// arrive; a second at least.
fn in_time(whole: Duration, config: &Config) -> Duration {
    whole.saturating_sub(config.generation.deadline_margin).max(Duration::from_secs(1).min(whole))
}

fn kind(wanted: UpstreamKind) -> Option<Kind> {
    match wanted {
        UpstreamKind::Auto => None,
        UpstreamKind::LmStudio => Some(Kind::LmStudio),
        UpstreamKind::Ollama => Some(Kind::Ollama),
        UpstreamKind::LlamaCpp => Some(Kind::LlamaCpp),
        UpstreamKind::Vllm => Some(Kind::Vllm),
        UpstreamKind::OpenAi => Some(Kind::OpenAiCompatible),
    }
}

/// What calls mean that leave something out.
fn defaults(config: &Config) -> Defaults {
    let generation = &config.generation;
    Defaults {
        model: config.model.clone(),
        max_tokens: generation.default_max_tokens,
        timeout: generation.default_timeout.map(|whole| in_time(whole, config)),
        include_reasoning: generation.include_reasoning,
        conversations: generation.conversations,
    }
}

fn default_model(config: &Config) -> Option<&str> {
    let own = || config.upstreams.iter().find_map(|upstream| upstream.default_model.as_deref());
    config.model.as_deref().or_else(own)
}

fn shown(config: &Config) -> Shown {
    let own = config.prompts.iter().map(|prompt| OwnPrompt {
        name: prompt.name.clone(),
        description: prompt.description.clone(),
        text: prompt.text.clone(),
        arguments: prompt
            .arguments
            .iter()
            .map(|it| (it.name.clone(), it.description.clone(), it.default.clone()))
            .collect(),
    });
    Shown {
        tools: selection(&config.tools),
        prompts: own.collect(),
        prompt_bytes_max: config.limits.prompt_bytes_max,
        conversations: conversation_limits(&config.limits),
        session_models_max: config.limits.session_models_max,
        random,
    }
}

/// The settings as `local://config` tells them, without anything secret.
fn facts(config: &Config) -> serde_json::Value {
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| serde_json::json!({ "transport": listener.scheme.as_str(), "port": listener.port }))
        .chain(config.stdio.then(|| serde_json::json!({ "transport": "stdio" })))
        .collect();
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| serde_json::json!({ "name": upstream.name, "url": upstream.url }))
        .collect();
    serde_json::json!({
        "upstream": config.upstreams.first().map(|upstream| upstream.url.as_str()),
        "upstreams": upstreams,
        "defaultModel": default_model(config),
        "listeners": listeners,
        "publicUrl": config.public_url().map(ToString::to_string),
    })
}

fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok().map(|()| bytes)
}
