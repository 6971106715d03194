//! The tools behind the protocol's [`Service`].

use std::fmt;
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::mcp::{CallContext, CallToolResult, Change, Outcome, Service, Tool, ToolCall, Unusable};
use crate::tools::outcome::{Failure, failed};
use crate::tools::{chat, list_models};
use crate::upstream::Upstream;

/// What a call means that leaves something out.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The model of calls that name none; without it the upstream's list decides.
    pub model: Option<String>,
}

/// What resources tell that tools do not know.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `local://config`.
    pub config: serde_json::Value,
}

/// Every tool of the house, over one upstream.
pub struct Toolbox {
    upstream: Arc<Upstream>,
    defaults: Defaults,
    tools: Vec<Tool>,
}

impl Toolbox {
    /// The tools over `upstream`.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, defaults: Defaults, _facts: Facts) -> Self {
        let tools = ENTRIES.iter().map(|entry| (entry.describe)()).collect();
        Self { upstream, defaults, tools }
    }

    /// Looks once and tells what has changed since the last look.
    pub fn look(&self, _cancel: &Cancel) -> Vec<Change> {
        Vec::new()
    }

    /// The upstream that the tools ask.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
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
        let upstream = self.upstream.base_url().as_str();
        Ok(Outcome::Done(outcome.unwrap_or_else(|failure| failed(&failure, upstream))))
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Toolbox")
            .field("upstream", &self.upstream)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

type Run = fn(&Toolbox, &ToolCall, &CallContext<'_>) -> Result<CallToolResult, Failure>;

/// One line a tool.
struct Entry {
    name: &'static str,
    describe: fn() -> Tool,
    run: Run,
}

const ENTRIES: &[Entry] = &[
    Entry { name: list_models::NAME, describe: list_models::describe, run: list_models::run },
    Entry { name: chat::NAME, describe: chat::describe, run: chat::run },
];
