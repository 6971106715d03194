//! The tool `chat`.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::mcp::{Annotations, CallContext, CallToolResult, Lane, Level, Tool, ToolCall};
use crate::tools::arguments::{Arguments, Unusable, wrong};
use crate::tools::outcome::{Failure, told};
use crate::tools::pace::Pace;
use crate::tools::pick;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{ChatAnswer, ChatEvent, ChatRequest, Finish, Message, Role};

pub(super) const NAME: &str = "chat";

/// Arguments that show what it is for.
pub(super) fn example() -> Value {
    json!({ "message": "What is the capital of France?", "max_tokens": 200 })
}

/// As `tools/list` shows it.
pub(super) fn describe() -> Tool {
    Tool {
        name: NAME,
        title: "Chat with a local model",
        description: "Asks a language model on this home network and returns its answer. Nothing \
                      leaves the house. Give message, or messages for a whole conversation; \
                      without model the loaded one answers.",
        input_schema: input_schema(),
        output_schema: Some(output_schema()),
        annotations: Annotations {
            read_only: true,
            destructive: false,
            idempotent: false,
            open_world: false,
        },
        lane: Lane::Slow,
    }
}

/// Reads the arguments, chooses a model, and lets it answer.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let mut request = read(&arguments)?;
    let named = arguments.text("model")?;
    let include_reasoning = arguments.flag("include_reasoning")?;
    let defaults = toolbox.defaults();
    let include_reasoning = include_reasoning.unwrap_or(defaults.include_reasoning);
    request.max_tokens = request.max_tokens.or(defaults.max_tokens);
    request.deadline = request.deadline.or(defaults.timeout);
    let mut pace = Pace::new(context.progress);
    pace.begin(Instant::now());
    request.beat = pace.beat();
    request.model = pick::model(named, toolbox)?;
    let log = |level, data| context.log(level, NAME, data);
    let mut asked = request.model.clone();
    let mut on = |event: ChatEvent<'_>| {
        if let ChatEvent::Asking { model, .. } = event {
            log(Level::Info, json!({ "event": "asking", "model": model }));
            asked = Some(model.to_owned());
        }
        pace.hear(event, Instant::now());
    };
    let outcome = toolbox.fleet().chat(&request, context.cancel, &mut on);
    let answer = outcome.map_err(|failed| {
        let failure = Failure::from(failed.error);
        // The result says why; an upstream's words may repeat the prompt.
        let data = json!({ "event": "failed", "model": asked, "code": failure.code() });
        if !context.cancel.is_fired() {
            log(Level::Warning, data);
        }
        failure
    })?;
    if !answer.warnings.is_empty() {
        let told = json!({
            "event": "warned", "model": answer.requested_model, "warnings": answer.warnings,
        });
        log(Level::Warning, told);
    }
    let upstream = toolbox.upstream().base_url().as_str();
    let structured = generation(&answer, upstream, include_reasoning);
    Ok(told(answer.text, structured))
}

fn read(arguments: &Arguments<'_>) -> Result<ChatRequest, Unusable> {
    let mut messages = Vec::new();
    if let Some(system) = either(arguments, "system_prompt", "system")? {
        messages.push(Message { role: Role::System, content: system.to_owned() });
    }
    let conversation = arguments.list("messages")?.unwrap_or_default();
    if conversation.len() > MESSAGES_MAX {
        let problem = format!("must have at most {MESSAGES_MAX} entries");
        return Err(Unusable::new(arguments.path_of("messages"), problem));
    }
    for (entry, path) in conversation {
        messages.push(message(entry, path)?);
    }
    if let Some(text) = either(arguments, "message", "prompt")? {
        messages.push(Message { role: Role::User, content: text.to_owned() });
    }
    if messages.iter().all(|message| message.role == Role::System) {
        return Err(Unusable::new(
            arguments.path_of("message"),
            "is missing; give message (a text) or messages (a conversation)",
        ));
    }
    Ok(ChatRequest {
        messages,
        max_tokens: narrow(arguments.integer("max_tokens", 1, TOKENS_MAX)?),
        temperature: arguments.number("temperature", 0.0, 2.0)?,
        top_p: arguments.number("top_p", 0.0, 1.0)?,
        stop: stop(arguments)?,
        seed: arguments.integer("seed", i64::MIN, i64::MAX)?,
        deadline: arguments
            .integer("timeout_s", 1, TIMEOUT_S_MAX)?
            .map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        ..ChatRequest::default()
    })
}

/// A text under its name or under the one that other servers gave it; empty counts as absent.
fn either<'a>(
    arguments: &Arguments<'a>,
    name: &str,
    alias: &str,
) -> Result<Option<&'a str>, Unusable> {
    let text = arguments.text(name)?.filter(|text| !text.trim().is_empty());
    let aliased = arguments.text(alias)?.filter(|text| !text.trim().is_empty());
    Ok(text.or(aliased))
}

fn message(entry: &Value, path: String) -> Result<Message, Unusable> {
    let entry = Arguments::object(entry, path)?;
    let roles = [("system", Role::System), ("user", Role::User), ("assistant", Role::Assistant)];
    let missing = |name| Unusable::new(entry.path_of(name), "is missing");
    let role = entry.word("role", &roles)?.ok_or_else(|| missing("role"))?;
    let content = entry.text("content")?.ok_or_else(|| missing("content"))?;
    Ok(Message { role, content: content.to_owned() })
}

/// One text or some of them, as OpenAI's clients write it.
fn stop(arguments: &Arguments<'_>) -> Result<Vec<String>, Unusable> {
    if let Ok(Some(text)) = arguments.text("stop") {
        return Ok(vec![text.to_owned()]);
    }
    let entries = arguments.list("stop")?.unwrap_or_default();
    if entries.len() > STOPS_MAX {
        let problem = format!("must have at most {STOPS_MAX} entries");
        return Err(Unusable::new(arguments.path_of("stop"), problem));
    }
    let text = |(entry, path): (&Value, String)| match entry {
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong(path, "a string", other)),
    };
    entries.into_iter().map(text).collect()
}

fn narrow(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

/// The answer as data.
fn generation(answer: &ChatAnswer, upstream: &str, include_reasoning: bool) -> Value {
    let usage = answer.usage;
    let counts = [
        ("prompt_tokens", usage.prompt_tokens),
        ("completion_tokens", usage.completion_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
    ];
    let usage: Map<_, _> = counts
        .into_iter()
        .filter_map(|(name, count)| Some((name.to_owned(), Value::from(count?))))
        .collect();
    let mut timings = Map::new();
    timings.insert("total_ms".to_owned(), milliseconds(answer.total));
    if let Some(first) = answer.first_token {
        timings.insert("first_token_ms".to_owned(), milliseconds(first));
    }
    if let Some(rate) = answer.tokens_per_second() {
        timings.insert("tokens_per_second".to_owned(), ((rate * 10.0).round() / 10.0).into());
    }
    let mut generation = json!({
        "text": answer.text,
        "model": answer.model,
        "requested_model": answer.requested_model,
        "upstream": upstream,
        "finish_reason": answer.finish.as_str(),
        "truncated": answer.finish == Finish::Length || answer.partial,
        "partial": answer.partial,
        "usage": usage,
        "timings": timings,
        "warnings": answer.warnings,
    });
    if let Some(all) = generation.as_object_mut()
        && include_reasoning
    {
        all.insert("reasoning".to_owned(), answer.reasoning.clone().into());
    }
    generation
}

fn milliseconds(duration: Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

/// Without `oneOf`, which clients' converters and some grammars choke on.
fn input_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "message": {
                "type": "string",
                "description": "What to ask. Use this or messages; with both it comes last."
            },
            "messages": {
                "type": "array",
                "maxItems": MESSAGES_MAX,
                "description": "A conversation, oldest first.",
                "items": {
                    "type": "object",
                    "properties": {
                        "role": {"type": "string", "enum": ["system", "user", "assistant"]},
                        "content": {"type": "string"}
                    },
                    "required": ["role", "content"]
                }
            },
            "system_prompt": {"type": "string", "description": "Instructions for the model."},
            "model": {
                "type": "string",
                "description": "An id from list_models; without it the loaded model answers."
            },
            "temperature": {"type": "number", "minimum": 0, "maximum": 2},
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": TOKENS_MAX},
            "top_p": {"type": "number", "minimum": 0, "maximum": 1},
            "stop": {"type": "array", "items": {"type": "string"}, "maxItems": STOPS_MAX},
            "seed": {"type": "integer"},
            "timeout_s": {
                "type": "integer", "minimum": 1, "maximum": TIMEOUT_S_MAX,
                "description": "After this many seconds the answer is what has come until then."
            },
            "include_reasoning": {
                "type": "boolean", "default": false,
                "description": "Also return what the model thought."
            }
        }
    })
}

fn output_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "model": {"type": "string"},
            "requested_model": {"type": "string"},
            "upstream": {"type": "string"},
            "finish_reason": {"type": "string"},
            "truncated": {"type": "boolean"},
            "partial": {"type": "boolean"},
            "usage": {"type": "object"},
            "timings": {"type": "object"},
            "reasoning": {"type": "string"},
            "warnings": {"type": "array", "items": {"type": "string"}}
        },
        "required": ["text", "model", "finish_reason", "partial"]
    })
}

/// Longer conversations do not fit into a local model's window.
const MESSAGES_MAX: usize = 200;

/// As many as the API takes.
const STOPS_MAX: usize = 4;

/// The largest window that local models have.
const TOKENS_MAX: i64 = 131_072;

/// An hour; nobody waits longer for one answer.
const TIMEOUT_S_MAX: i64 = 3600;
