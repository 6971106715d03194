//! Tools, resources and prompts behind the protocol's [`Service`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cancel::Cancel;
use crate::mcp::{
    CallContext, CallToolResult, Change, Completion, Completions, Offer, Outcome, Prompt,
    PromptResult, Resource, ResourceContents, Service, Tool, ToolCall, Unusable,
};
use crate::tools::complete::{self, Names};
use crate::tools::outcome::{Failure, failed};
use crate::tools::profile::{Selection, UnknownTool};
use crate::tools::prompts::{OwnPrompt, Prompts};
use crate::tools::sight::{Seen, Sight};
use crate::tools::{chat, list_models, resources};
use crate::upstream::{Fleet, ModelList, Upstream, UpstreamError};

/// What a call means that leaves something out.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The model of calls that name none; without it the upstream's list decides.
    pub model: Option<String>,
    /// The most tokens of an answer; without it the upstream decides.
    pub max_tokens: Option<u32>,
    /// After this long an answer is what has come until then; without it as the upstream's own
    /// limit says.
    pub timeout: Option<Duration>,
    /// Whether answers come with what the model thought.
    pub include_reasoning: bool,
    /// Whether conversations are kept between calls.
    pub conversations: bool,
}

/// What resources tell that tools do not know.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `settings` of `local://config`; holds nothing secret.
    pub config: Value,
}

/// What clients see of it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which tools.
    pub tools: Selection,
    /// The owner's prompts, besides ours.
    pub prompts: Vec<OwnPrompt>,
    /// Longest prompt with its arguments filled in.
    pub prompt_bytes_max: usize,
}

impl Default for Shown {
    fn default() -> Self {
        Self { tools: Selection::default(), prompts: Vec::new(), prompt_bytes_max: usize::MAX }
    }
}

/// Whether every tool that is named exists. Errors: one does not.
pub fn check(selection: &Selection) -> Result<(), UnknownTool> {
    selection.check(ENTRIES.iter().map(|entry| entry.name))
}

/// Everything that the house offers, over its upstreams.
pub struct Toolbox {
    fleet: Arc<Fleet>,
    defaults: Defaults,
    facts: Facts,
    /// Those that are shown, and as clients see them, in the same order.
    entries: Vec<&'static Entry>,
    tools: Vec<Tool>,
    prompts: Prompts,
    names: Names,
    seen: Seen,
}

impl Toolbox {
    /// The tools over `fleet`, those of the standard profile, and our prompts.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, defaults: Defaults, facts: Facts) -> Self {
        let toolbox = Self {
            fleet,
            defaults,
            facts,
            entries: Vec::new(),
            tools: Vec::new(),
            prompts: Prompts::default(),
            names: Names::default(),
            seen: Seen::default(),
        };
        toolbox.filled(Shown::default())
    }

    /// The same with other tools, or more prompts. Errors: a tool is named that there is not.
    pub fn showing(self, shown: Shown) -> Result<Self, UnknownTool> {
        check(&shown.tools)?;
        Ok(self.filled(shown))
    }

    fn filled(self, shown: Shown) -> Self {
        let is_shown = |entry: &&Entry| shown.tools.shows(entry.name);
        let entries: Vec<_> = ENTRIES.iter().filter(is_shown).collect();
        Self {
            tools: entries.iter().map(|entry| (entry.describe)()).collect(),
            entries,
            prompts: Prompts::new(shown.prompts, shown.prompt_bytes_max),
            ..self
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
        self.tools.iter().zip(self.entries.iter().map(|entry| (entry.example)()))
    }

    /// The prompts, ours and the owner's.
    pub(super) fn all_prompts(&self) -> &Prompts {
        &self.prompts
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
        let entry = self
            .entries
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
        self.prompts.listed()
    }

    fn prompt(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
        _context: &CallContext<'_>,
    ) -> Result<Outcome<PromptResult>, Unusable> {
        self.prompts.fill(name, arguments).map(Outcome::Done)
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
