//! The tool `continue_conversation`.

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::conversations::Turn;
use crate::tools::generate::{messages, shared, with_reasoning};
use crate::tools::outcome::Failure;
use crate::tools::toolbox::Toolbox;

/// Says something more in a conversation that is kept.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let continued = Some(arguments.needed("conversation_id")?);
    let mut request = shared(&arguments, toolbox, context)?;
    request.messages = messages(None, arguments.needed("message")?.to_owned());
    let include_reasoning = with_reasoning(&arguments, toolbox)?;
    let turn = Turn { request, continued, include_reasoning, tool: "continue_conversation" };
    turn.take(toolbox, context)
}
