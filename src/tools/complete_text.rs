//! The tool `complete`.

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::generate::{Engine, generation, shared};
use crate::tools::outcome::{Failure, answered};
use crate::tools::toolbox::Toolbox;

/// Lets a model go on with a text.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let prompt = arguments.needed("prompt")?;
    let echo = arguments.flag("echo")?.unwrap_or(false);
    let mut request = shared(&arguments, toolbox, context)?;
    request.complete = Some(prompt.to_owned());
    let mut answer = Engine::new(toolbox, context, "complete").ask(&request)?;
    if echo {
        answer.text.insert_str(0, prompt);
    }
    let generation = generation(&answer, false);
    Ok(answered(answer.text, &generation))
}
