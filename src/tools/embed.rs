//! The tool `embed`.

use std::time::Instant;

use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult, Content, Structured, ToolCall};
use crate::tools::arguments::{Arguments, Unusable, wrong};
use crate::tools::outcome::{Failure, object};
use crate::tools::pace::Pace;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{ChatEvent, EmbedRequest};

/// Turns texts into vectors.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let input = input(&arguments)?;
    let dimensions = arguments.integer("dimensions", 1, DIMENSIONS_MAX)?;
    let mut pace = Pace::new(context.progress);
    pace.begin(Instant::now());
    let count = input.len();
    let request = EmbedRequest {
        upstream: arguments.text("upstream")?.map(str::to_owned),
        model: arguments.text("model")?.map(str::to_owned),
        input: input.into_iter().map(str::to_owned).collect(),
        dimensions: dimensions.and_then(|number| u32::try_from(number).ok()),
        beat: pace.beat(),
    };
    let mut on = |event: ChatEvent<'_>| match event {
        ChatEvent::Embedded(done) => pace.done(done, count, &format!("{done} of {count} texts")),
        event => pace.hear(event, Instant::now()),
    };
    let all = toolbox.fleet().embed(&request, context.cancel, &mut on)?;
    let (vectors, model) = (all.vectors, all.model);
    let number = vectors.first().map_or(0, Vec::len);
    let s = if count == 1 { "" } else { "s" };
    let text = format!("{count} vector{s} of {number} dimensions from {model}.");
    let beside = object!({
        "model": model,
        "upstream": all.upstream,
        "dimensions": number,
        "usage": object!({ "prompt_tokens": all.prompt_tokens.unwrap_or(0) }),
    });
    let structured = Structured::with_vectors(&beside, "embeddings", &vectors);
    Ok(CallToolResult { content: vec![Content::Text(text)], structured, is_error: false })
}

fn input<'a>(arguments: &Arguments<'a>) -> Result<Vec<&'a str>, Unusable> {
    let name = if arguments.value("input").is_some() { "input" } else { "text" };
    if let Ok(text) = arguments.needed(name) {
        return Ok(vec![text]);
    }
    let entries = arguments.list(name)?.ok_or_else(|| arguments.missing("input"))?;
    if entries.is_empty() || entries.len() > INPUTS_MAX {
        let problem = format!("must have 1 to {INPUTS_MAX} entries");
        return Err(Unusable::new(arguments.path_of(name), problem));
    }
    let text = |(entry, path): (&'a Value, String)| {
        entry.as_str().ok_or_else(|| wrong(path, "a string", entry))
    };
    entries.into_iter().map(text).collect()
}

/// The answer of more is larger than clients take.
const INPUTS_MAX: usize = 256;
const DIMENSIONS_MAX: i64 = 65_536;
