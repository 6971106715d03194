//! The tool `local_reasoning`.

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::generate::{Engine, generation, messages, shared, with_reasoning};
use crate::tools::outcome::{Failure, answered};
use crate::tools::toolbox::Toolbox;

/// Lets a model work on a problem.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let prompt = arguments.needed("prompt")?;
    let mut request = shared(&arguments, toolbox, context)?;
    if let Some(params) = arguments.inner("model_params")? {
        let older = shared(&params, toolbox, context)?;
        if arguments.value("max_tokens").is_none() {
            request.max_tokens = older.max_tokens;
        }
        request.temperature = request.temperature.or(older.temperature);
        request.top_p = request.top_p.or(older.top_p);
        request.frequency_penalty = request.frequency_penalty.or(older.frequency_penalty);
        request.presence_penalty = request.presence_penalty.or(older.presence_penalty);
        if request.stop.is_empty() {
            request.stop = older.stop;
        }
    }
    request.messages = messages(arguments.text("system_prompt")?, prompt.to_owned());
    let include_reasoning = with_reasoning(&arguments, toolbox)?;
    let answer = Engine::new(toolbox, context, "local_reasoning").ask(&request)?;
    let generation = generation(&answer, include_reasoning);
    Ok(answered(answer.text, &generation))
}
