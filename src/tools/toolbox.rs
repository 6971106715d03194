//! Tools, resources and prompts behind the protocol's [`Service`].

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::cancel::Cancel;
use crate::mcp::{
    CallContext, CallToolResult, Change, Completion, Completions, Offer, Outcome, Prompt,
    PromptResult, Resource, ResourceContents, Service, Tool, ToolCall, Unusable,
};
use crate::tools::complete::{self, Names};
use crate::tools::outcome::{Failure, failed};
use crate::tools::sight::{Seen, Sight};
use crate::tools::{chat, list_models, prompts, resources};
use crate::upstream::{Fleet, ModelList, Upstream, UpstreamError};

/// What a call means that leaves something out.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The model of calls that name none; without it the upstream's list decides.
    pub model: Option<String>,
}

/// What resources tell that tools do not know.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `settings` of `local://config`; holds nothing secret.
    pub config: Value,
}

/// Everything that the house offers, over its upstreams.
pub struct Toolbox {
    fleet: Arc<Fleet>,
    defaults: Defaults,
    facts: Facts,
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
    names: Names,
    seen: Seen,
}

impl Toolbox {
    /// The tools over `fleet`.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, defaults: Defaults, facts: Facts) -> Self {
        Self {
            fleet,
            defaults,
            facts,
            tools: ENTRIES.iter().map(|entry| (entry.describe)()).collect(),
            prompts: prompts::list(),
            names: Names::default(),
            seen: Seen::default(),
        }
    }

    /// Asks the upstream for its models and tells which resources have changed since the last look,
    /// or since somebody first read one. Blocks as long as a list may take: 30 s.
    #[must_use]
    pub fn look(&self, cancel: &Cancel) -> Vec<Change> {
        match self.upstream().list_models(cancel) {
            Err(UpstreamError::Cancelled) => Vec::new(),
            outcome => self.seen.look(self.sight(outcome.as_deref())),
        }
    }

    /// The upstream's models, for somebody who reads a resource.
    pub(super) fn list(&self, cancel: &Cancel) -> Result<Arc<ModelList>, Failure> {
        let outcome = self.upstream().list_models(cancel);
        if !matches!(outcome, Err(UpstreamError::Cancelled)) {
            self.seen.begin(|| self.sight(outcome.as_deref()));
        }
        Ok(outcome?)
    }

    fn sight(&self, outcome: Result<&ModelList, &UpstreamError>) -> Sight {
        Sight {
            models: outcome.cloned().map_err(UpstreamError::code),
            reachable: self.upstream().state().reachable,
        }
    }

    /// The ids of the models, or of those that chat; none while the upstream does not tell.
    pub(super) fn names(&self, chats_only: bool, cancel: &Cancel) -> Vec<String> {
        if let Some(names) = self.names.known(chats_only, Instant::now()) {
            return names;
        }
        match self.upstream().list_models(cancel) {
            Err(UpstreamError::Cancelled) => return Vec::new(),
            outcome => self.names.keep(outcome.as_deref().ok(), Instant::now()),
        }
        self.names.known(chats_only, Instant::now()).unwrap_or_default()
    }

    /// Every tool with arguments that show what it is for.
    pub(super) fn tools_with_examples(&self) -> impl Iterator<Item = (&Tool, Value)> {
        self.tools.iter().zip(ENTRIES.iter().map(|entry| (entry.example)()))
    }

    /// What resources tell that tools do not know.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Every upstream.
    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The default upstream.
    pub(super) fn upstream(&self) -> &Upstream {
        self.fleet.main()
    }

    /// What a call means that leaves something out.
    pub(super) fn defaults(&self) -> &Defaults {
        &self.defaults
    }
}

impl Service for Toolbox {
    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn call(
        &self,
        call: &ToolCall,
        context: &CallContext<'_>,
    ) -> Result<Outcome<CallToolResult>, Unusable> {
        let entry = ENTRIES
            .iter()
            .find(|entry| entry.name == call.name)
            .ok_or_else(|| Unusable::Tool(call.name.clone()))?;
        let outcome = (entry.run)(self, call, context);
        let upstream = self.upstream().base_url().as_str();
        Ok(Outcome::Done(outcome.unwrap_or_else(|failure| failed(&failure, upstream))))
    }

    fn offer(&self) -> Offer {
        Offer {
            resources: true,
            subscribe: true,
            prompts: true,
            completions: true,
            logging: true,
            list_changed: false,
        }
    }

    fn resources(&self) -> &[Resource] {
        resources::RESOURCES
    }

    fn templates(&self) -> &[Resource] {
        resources::TEMPLATES
    }

    fn read(
        &self,
        uri: &str,
        context: &CallContext<'_>,
    ) -> Result<Outcome<Vec<ResourceContents>>, Unusable> {
        resources::read(self, uri, context.cancel).map(Outcome::Done)
    }

    fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    fn prompt(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
        _context: &CallContext<'_>,
    ) -> Result<Outcome<PromptResult>, Unusable> {
        prompts::fill(name, arguments).map(Outcome::Done)
    }

    fn complete(&self, completion: &Completion, context: &CallContext<'_>) -> Completions {
        complete::complete(self, completion, context.cancel)
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toolbox")
            .field("fleet", &self.fleet)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

type Run = fn(&Toolbox, &ToolCall, &CallContext<'_>) -> Result<CallToolResult, Failure>;

/// One line a tool.
struct Entry {
    name: &'static str,
    describe: fn() -> Tool,
    example: fn() -> Value,
    run: Run,
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: list_models::NAME,
        describe: list_models::describe,
        example: list_models::example,
        run: list_models::run,
    },
    Entry { name: chat::NAME, describe: chat::describe, example: chat::example, run: chat::run },
];
