//! The tools `load_model` and `unload_model`.

use std::time::{Duration, Instant};

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::{Arguments, Unusable};
use crate::tools::generate::tenths;
use crate::tools::outcome::{Failure, data, object};
use crate::tools::pace::Pace;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{ChatEvent, LoadRequest};

/// Brings a model into memory.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let mut pace = Pace::new(context.progress);
    let window = arguments.integer("context_length", 1, WINDOW_MAX)?;
    let ttl = arguments.integer("ttl_s", 1, TTL_S_MAX)?;
    let request = LoadRequest {
        upstream: arguments.text("upstream")?.map(str::to_owned),
        model: arguments.needed("model")?.trim().to_owned(),
        context_length: window.and_then(|number| u32::try_from(number).ok()),
        flash_attention: arguments.flag("flash_attention")?,
        ttl: ttl.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
        beat: pace.beat(),
    };
    pace.begin(Instant::now());
    let mut on = |event: ChatEvent<'_>| pace.hear(event, Instant::now());
    let loaded = toolbox.fleet().load(&request, context.cancel, &mut on)?;
    Ok(data(&object!({
        "model": loaded.model,
        "instance_id": loaded.instance_id,
        "upstream": loaded.upstream,
        "already_loaded": loaded.already_loaded,
        "load_time_seconds": tenths(loaded.took.as_secs_f64()),
        "contextWindow": loaded.context_length,
        "warnings": loaded.warnings,
    })))
}

/// Takes a model, or one copy of it, out of memory.
pub(super) fn unload(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let name = arguments.text("instance_id")?.or(arguments.text("model")?).map(str::trim);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let problem = "is missing; give model or instance_id";
        return Err(Unusable::new(arguments.path_of("model"), problem).into());
    };
    let upstream = arguments.text("upstream")?;
    let mut pace = Pace::new(context.progress);
    pace.begin(Instant::now());
    let beat = pace.beat();
    let mut on = |event: ChatEvent<'_>| pace.hear(event, Instant::now());
    let fleet = toolbox.fleet();
    let (upstream, unloaded) = fleet.unload(upstream, name, beat, context.cancel, &mut on)?;
    Ok(data(&object!({ "unloaded": unloaded, "upstream": upstream })))
}

/// More than any model has.
const WINDOW_MAX: i64 = 1 << 24;
/// A year.
const TTL_S_MAX: i64 = 31_536_000;
