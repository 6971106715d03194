//! The tool `chat`.

use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::{Arguments, Unusable};
use crate::tools::generate::{Engine, generation, shared, with_reasoning};
use crate::tools::outcome::{Failure, answered};
use crate::tools::toolbox::Toolbox;
use crate::tools::{conversations, images, structured};
use crate::upstream::{Message, Role};

const NAME: &str = "chat";

/// Reads the arguments and lets a model answer.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    answer(toolbox, call, context, false)
}

/// The same, and keeps the conversation: `start_conversation` of LMStudio-MCP.
pub(super) fn start(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    answer(toolbox, call, context, true)
}

fn answer(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
    store: bool,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let mut request = shared(&arguments, toolbox, context)?;
    request.messages = conversation(&arguments)?;
    request.images = images::read(&arguments)?;
    let include_reasoning = with_reasoning(&arguments, toolbox)?;
    let schema = structured::schema(&arguments, "json_schema")?;
    request.json_schema = schema.map(Value::to_string);
    let continued = arguments.text("conversation_id")?;
    let store = store || arguments.flag("store")?.unwrap_or(false);
    if continued.is_some() || store {
        if schema.is_some() {
            let problem = "cannot be used in a kept conversation";
            return Err(Unusable::new(arguments.path_of("json_schema"), problem).into());
        }
        let turn = conversations::Turn { request, continued, include_reasoning, tool: NAME };
        return turn.take(toolbox, context);
    }
    let mut engine = Engine::new(toolbox, context, NAME);
    let Some(schema) = schema else {
        let answer = engine.ask(&request)?;
        let generation = generation(&answer, include_reasoning);
        return Ok(answered(answer.text, &generation));
    };
    let (answer, json) = structured::ask(&mut engine, &request, schema)?;
    let mut generation = generation(&answer, include_reasoning);
    generation.insert("json".to_owned(), json);
    Ok(answered(answer.text, &generation))
}

fn conversation(arguments: &Arguments<'_>) -> Result<Vec<Message>, Unusable> {
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
    Ok(messages)
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
    let role = entry.word("role", &roles)?.ok_or_else(|| entry.missing("role"))?;
    let content = entry.needed("content")?;
    Ok(Message { role, content: content.to_owned() })
}

/// Longer conversations do not fit into a local model's window.
const MESSAGES_MAX: usize = 200;
