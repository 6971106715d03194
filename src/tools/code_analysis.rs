//! The tool `code_analysis`.

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::analysis::Analyses;
use crate::tools::arguments::Arguments;
use crate::tools::generate::{Engine, beside, shared};
use crate::tools::outcome::{Failure, data};
use crate::tools::toolbox::Toolbox;

/// Lets a model review code.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let (code, language) = (arguments.needed("code")?, arguments.needed("language")?);
    let focus = arguments
        .word("analysis_focus", &FOCUS.map(|focus| (focus, focus)))?
        .ok_or_else(|| arguments.missing("analysis_focus"))?;
    let request = shared(&arguments, toolbox, context)?;
    let task = Analyses::read().task("code", "technical");
    let mut engine = Engine::new(toolbox, context, "code_analysis");
    let content = format!("Language: {language}\nFocus: {focus}\n\nCode:\n{code}");
    let (answer, mut result) = task.ask(&mut engine, request, content)?;
    result.insert("_generation".to_owned(), beside(&answer));
    Ok(data(&result))
}

const FOCUS: [&str; 5] = ["security", "quality", "documentation", "optimization", "bugs"];
