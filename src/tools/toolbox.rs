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
use crate::tools::conversations::{ConversationLimits, Conversations};
use crate::tools::entries::{ALIASES, ENTRIES, Run};
use crate::tools::list_models::LastShown;
use crate::tools::outcome::failed;
use crate::tools::pick::Choices;
use crate::tools::profile::{Selection, UnknownTool};
use crate::tools::prompts::{OwnPrompt, Prompts};
use crate::tools::resources;
use crate::tools::sight::{Seen, Sight};
use crate::tools::spec::{self, Traits};
use crate::tools::usage::Counters;
use crate::upstream::{Fleet, Listed, UpstreamError};

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
    /// How much is kept of conversations.
    pub conversations: ConversationLimits,
    /// Sessions whose own default model is remembered.
    pub session_models_max: usize,
    /// The system's random source, for the names of conversations.
    pub random: fn() -> Option<[u8; 16]>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            tools: Selection::default(),
            prompts: Vec::new(),
            prompt_bytes_max: usize::MAX,
            conversations: ConversationLimits::default(),
            session_models_max: usize::MAX,
            random: || None,
        }
    }
}

/// Whether every tool that is named exists. Errors: one does not.
pub fn check(selection: &Selection) -> Result<(), UnknownTool> {
    let aliases = ALIASES.iter().map(|alias| alias.name);
    selection.check(ENTRIES.iter().map(|entry| entry.name).chain(aliases))
}

/// Everything that the house offers, over its upstreams.
pub struct Toolbox {
    fleet: Arc<Fleet>,
    defaults: Defaults,
    facts: Facts,
    /// Those that are shown: how each runs, as clients see it, and an example; in the same order.
    runs: Vec<Run>,
    tools: Vec<Tool>,
    examples: Vec<Value>,
    prompts: Prompts,
    conversations: Conversations,
    choices: Choices,
    usage: Counters,
    names: Names,
    seen: Seen,
    shown: LastShown,
}

impl Toolbox {
    /// The tools over `fleet`, those of the standard profile, and our prompts.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>, defaults: Defaults, facts: Facts) -> Self {
        let toolbox = Self {
            fleet,
            defaults,
            facts,
            runs: Vec::new(),
            tools: Vec::new(),
            examples: Vec::new(),
            prompts: Prompts::default(),
            conversations: Conversations::new(ConversationLimits::default(), || None),
            choices: Choices::new(usize::MAX),
            usage: Counters::default(),
            names: Names::default(),
            seen: Seen::default(),
            shown: LastShown::default(),
        };
        toolbox.filled(Shown::default())
    }

    /// The same with other tools, or more prompts. Errors: a tool is named that there is not.
    pub fn showing(self, shown: Shown) -> Result<Self, UnknownTool> {
        check(&shown.tools)?;
        Ok(self.filled(shown))
    }

    fn filled(mut self, shown: Shown) -> Self {
        (self.runs, self.tools, self.examples) = (Vec::new(), Vec::new(), Vec::new());
        // What would only be refused is not shown.
        let kept = self.defaults.conversations;
        let can = |name: &str| kept || !name.ends_with(OF_CONVERSATIONS);
        let entries = ENTRIES.iter().filter(|entry| shown.tools.shows(entry.name));
        for entry in entries.filter(|entry| can(entry.name)) {
            self.add(entry.name, entry.spec, entry.run);
        }
        let aliases = ALIASES.iter().filter(|alias| shown.tools.shows_alias(alias.name));
        for alias in aliases.filter(|alias| can(alias.name)) {
            if let Some(target) = ENTRIES.iter().find(|entry| entry.name == alias.means) {
                self.add(alias.name, target.spec, alias.run.unwrap_or(target.run));
            }
        }
        Self {
            prompts: Prompts::new(shown.prompts, shown.prompt_bytes_max),
            conversations: Conversations::new(shown.conversations, shown.random),
            choices: Choices::new(shown.session_models_max),
            ..self
        }
    }

    fn add(&mut self, name: &'static str, spec: &'static str, run: Run) {
        let traits = Traits {
            several: self.fleet.upstreams().len() > 1,
            conversations: self.defaults.conversations,
        };
        let tool = spec::common().and_then(|common| spec::tool(name, spec, &common, traits));
        if let Some((tool, example)) = tool {
            self.runs.push(run);
            self.tools.push(tool);
            self.examples.push(example);
        }
    }

    /// Asks the upstreams for their models and tells what has changed since the last look, or since
    /// somebody first read a resource. Blocks as long as a list may take: 30 s.
    #[must_use]
    pub fn look(&self, cancel: &Cancel) -> Vec<Change> {
        let lists = self.fleet.lists(cancel);
        if cancel.is_fired() { Vec::new() } else { self.seen.look(Sight::of(&lists)) }
    }

    /// What the upstreams have, for somebody who reads a resource.
    pub(super) fn lists(&self, cancel: &Cancel) -> Vec<Listed> {
        let lists = self.fleet.lists(cancel);
        let cancelled = |listed: &Listed| matches!(listed.models, Err(UpstreamError::Cancelled));
        if !lists.iter().any(cancelled) {
            self.seen.begin(|| Sight::of(&lists));
        }
        lists
    }

    /// The ids of the models, or of those that chat; none while no upstream tells.
    pub(super) fn names(&self, chats_only: bool, cancel: &Cancel) -> Vec<String> {
        if let Some(names) = self.names.known(chats_only, Instant::now()) {
            return names;
        }
        let lists = self.fleet.lists(cancel);
        if cancel.is_fired() {
            return Vec::new();
        }
        self.names.keep(&lists, Instant::now());
        self.names.known(chats_only, Instant::now()).unwrap_or_default()
    }

    /// Every tool with arguments that show what it is for.
    pub(super) fn tools_with_examples(&self) -> impl Iterator<Item = (&Tool, Value)> {
        self.tools.iter().zip(self.examples.iter().cloned())
    }

    /// The prompts, ours and the owner's.
    pub(super) fn all_prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// What resources tell that tools do not know.
    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What `list_models` showed last.
    pub(super) fn shown(&self) -> &LastShown {
        &self.shown
    }

    /// Every upstream.
    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The conversations that are kept.
    pub(super) fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// The models that callers chose.
    pub(super) fn choices(&self) -> &Choices {
        &self.choices
    }

    /// What was generated since the start.
    pub(super) fn usage(&self) -> &Counters {
        &self.usage
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
        let at = self.tools.iter().position(|tool| tool.name == call.name);
        let run = at.and_then(|at| self.runs.get(at));
        let run = run.ok_or_else(|| Unusable::Tool(call.name.clone()))?;
        let outcome = run(self, call, context);
        Ok(Outcome::Done(outcome.unwrap_or_else(|failure| failed(&failure))))
    }

    fn offer(&self) -> Offer {
        Offer {
            resources: true,
            subscribe: true,
            prompts: true,
            completions: true,
            logging: true,
            list_changed: false,
            resources_changed: true,
        }
    }

    fn resources(&self) -> &[Resource] {
        resources::RESOURCES
    }

    fn templates(&self) -> &[Resource] {
        let kept = usize::from(self.defaults.conversations);
        resources::TEMPLATES.get(..=kept).unwrap_or_default()
    }

    fn read(
        &self,
        uri: &str,
        context: &CallContext<'_>,
    ) -> Result<Outcome<Vec<ResourceContents>>, Unusable> {
        resources::read(self, uri, context).map(Outcome::Done)
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

/// How the names of tools end that are only for kept conversations.
const OF_CONVERSATIONS: &str = "_conversation";

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toolbox")
            .field("fleet", &self.fleet)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}
