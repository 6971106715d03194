//! The tool `set_default_model`.

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::outcome::{Failure, data, object};
use crate::tools::pick::{Whose, default_of};
use crate::tools::survey::Survey;
use crate::tools::toolbox::Toolbox;

/// Chooses the model of calls that name none.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let name = arguments.needed("model")?.trim();
    let scopes = [("session", false), ("server", true)];
    let for_all = arguments.word("scope", &scopes)?.unwrap_or(false);
    let survey = Survey::take(toolbox, None, context.cancel)?;
    let (_, model) = survey.find(name).ok_or_else(|| survey.unknown(name))?;
    let previous = default_of(&survey, toolbox, context);
    let chosen = model.name_for(name).to_owned();
    let whom = if for_all {
        toolbox.choices().choose_for_all(chosen.clone());
        "everybody who chose none, until the server stops"
    } else {
        toolbox.choices().choose(Whose::of(context), chosen.clone());
        if context.session.is_some() { "this session" } else { "your calls" }
    };
    Ok(data(&object!({
        "success": true,
        "defaultModel": chosen.as_str(),
        "previousDefault": previous.map(|it| it.name),
        "scope": if for_all { "server" } else { "session" },
        "message": format!("{chosen} is now the default model for {whom}."),
    })))
}
