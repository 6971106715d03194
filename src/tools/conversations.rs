//! Conversations that are kept between calls, each for the principal that began it: by LM Studio
//! where that can, and always here, so that another upstream can go on with them too.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult};
use crate::tools::arguments::Unusable;
use crate::tools::generate::{Engine, generation};
use crate::tools::outcome::{Failure, answered, object};
use crate::tools::toolbox::Toolbox;
use crate::upstream::{ChatRequest, Message, Role};
use crate::worker::lock;

/// The limits; explained where all are listed, in `config`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "documented once, on config::Limits")]
pub struct ConversationLimits {
    pub conversations_max: usize,
    pub conversation_bytes_max: usize,
    pub conversation_idle_s_max: u64,
}

impl Default for ConversationLimits {
    fn default() -> Self {
        Self {
            conversations_max: usize::MAX,
            conversation_bytes_max: usize::MAX,
            conversation_idle_s_max: u64::MAX,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Conversations {
    limits: ConversationLimits,
    random: fn() -> Option<[u8; 16]>,
    map: Mutex<HashMap<String, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    principal: String,
    upstream: String,
    model: String,
    /// What the upstream calls it, as long as it knows it.
    stored: Option<String>,
    turns: Vec<Message>,
    /// A turn had images, which are not among the turns.
    images: bool,
    used: Instant,
    /// A turn is being answered; another one at the same time would be lost.
    busy: bool,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.turns.iter().map(|turn| turn.content.len()).sum()
    }
}

impl Conversations {
    pub(super) fn new(limits: ConversationLimits, random: fn() -> Option<[u8; 16]>) -> Self {
        Self { limits, random, map: Mutex::default() }
    }

    /// One as it stands now; where a turn of it `begins`, others find it busy from then on.
    fn find(&self, id: &str, principal: &str, begins: bool) -> Option<Kept> {
        let now = Instant::now();
        let idle = Duration::from_secs(self.limits.conversation_idle_s_max);
        let mut map = lock(&self.map);
        map.retain(|_, kept| now.saturating_duration_since(kept.used) < idle);
        let kept = map.get_mut(id).filter(|kept| kept.principal == principal)?;
        let found = kept.clone();
        kept.busy |= begins;
        Some(found)
    }

    /// Keeps one; past the limit the one that was not used for longest is forgotten.
    fn keep(&self, id: String, kept: Kept) {
        let mut map = lock(&self.map);
        map.insert(id, kept);
        if map.len() > self.limits.conversations_max {
            let oldest = map.iter().min_by_key(|(_, kept)| kept.used).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                map.remove(&oldest);
            }
        }
    }

    /// The upstream no longer knows it.
    fn forget_stored(&self, id: &str) {
        if let Some(kept) = lock(&self.map).get_mut(id) {
            kept.stored = None;
        }
    }

    /// A conversation as the resource shows it; `None`: there is none of this principal's.
    pub(super) fn shown(&self, id: &str, principal: &str) -> Option<Value> {
        let kept = self.find(id, principal, false)?;
        let turn = |turn: &Message| {
            let role = match turn.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            object!({ "role": role, "content": turn.content.as_str() })
        };
        Some(object!({
            "id": id,
            "model": kept.model,
            "upstream": kept.upstream,
            "turns": kept.turns.iter().map(turn).collect::<Vec<_>>(),
        }))
    }
}

/// The time during which a turn is answered; then the conversation is free for the next one.
struct Answering<'a> {
    all: &'a Conversations,
    id: &'a str,
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if let Some(kept) = lock(&self.all.map).get_mut(self.id) {
            kept.busy = false;
        }
    }
}

/// A turn of a conversation that is kept.
pub(super) struct Turn<'a> {
    /// What is said now.
    pub(super) request: ChatRequest,
    /// The conversation that it belongs to; a new one when absent.
    pub(super) continued: Option<&'a str>,
    pub(super) include_reasoning: bool,
    pub(super) tool: &'static str,
}

impl Turn<'_> {
    /// Lets the model answer and keeps both. Errors: as of the engine; or no conversations are
    /// kept, this one is unknown, busy with another turn, or has reached a limit.
    pub(super) fn take(
        mut self,
        toolbox: &Toolbox,
        context: &CallContext<'_>,
    ) -> Result<CallToolResult, Failure> {
        let all = toolbox.conversations();
        let refuse = |problem: &str| Unusable::new("$.conversation_id", problem);
        if !toolbox.defaults().conversations {
            let problem = "means a kept conversation, and this server keeps none; its owner can \
                           set conversations = \"on\" in local-llm-mcp.toml";
            return Err(refuse(problem).into());
        }
        let (id, before) = match self.continued {
            None => {
                let random =
                    (all.random)().ok_or_else(|| refuse("cannot be made: no random bytes"))?;
                (format!("conv_{:032x}", u128::from_be_bytes(random)), None)
            }
            Some(id) => {
                let kept = all.find(id, context.principal, true);
                let kept =
                    kept.ok_or_else(|| refuse("is unknown, or was forgotten; begin a new one"))?;
                if kept.busy {
                    return Err(Failure::Busy);
                }
                (id.to_owned(), Some(kept))
            }
        };
        let _answering = Answering { all, id: &id };
        let said = self.request.messages.clone();
        let size: usize = said.iter().map(|message| message.content.len()).sum();
        let bytes = size + before.as_ref().map_or(0, Kept::bytes);
        if bytes > all.limits.conversation_bytes_max {
            let limit = all.limits.conversation_bytes_max;
            let problem = format!(
                "has reached the limit conversation_bytes_max ({limit} bytes); begin a new one"
            );
            return Err(refuse(&problem).into());
        }
        self.request.store = true;
        let blind = before.as_ref().is_some_and(|before| self.go_on(before));
        let images = before.as_ref().is_some_and(|it| it.images) || !self.request.images.is_empty();
        let asked = Engine::new(toolbox, context, self.tool).ask(&self.request);
        let mut answer = asked.inspect_err(|failure| {
            // It may have been restarted; the next turn brings everything along.
            if matches!(failure.code(), "BAD_REQUEST" | "UPSTREAM_ERROR") {
                all.forget_stored(&id);
            }
        })?;
        if blind {
            answer.warnings.push(BLIND.to_owned());
        }
        let mut turns = before.map(|before| before.turns).unwrap_or_default();
        turns.extend(said);
        turns.push(Message { role: Role::Assistant, content: answer.text.clone() });
        let kept = Kept {
            principal: context.principal.to_owned(),
            upstream: answer.upstream.clone(),
            model: answer.requested_model.clone(),
            stored: answer.conversation.clone(),
            turns,
            images,
            used: Instant::now(),
            busy: true,
        };
        all.keep(id.clone(), kept);
        let mut generation = generation(&answer, self.include_reasoning);
        generation.insert("conversation_id".to_owned(), id.as_str().into());
        Ok(answered(answer.text, &generation))
    }

    /// Has this turn go on with what was said before; says whether images of then are left out.
    fn go_on(&mut self, before: &Kept) -> bool {
        self.request.upstream = Some(before.upstream.clone());
        self.request.model = Some(before.model.clone());
        // LM Studio's own chat takes less than the other one, which has to be told all turns.
        if before.stored.is_some() && self.request.is_native() {
            self.request.conversation.clone_from(&before.stored);
            return false;
        }
        self.request.messages.splice(0..0, before.turns.iter().cloned());
        before.images
    }
}

const BLIND: &str = "the images of earlier turns were not sent again";
