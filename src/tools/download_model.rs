//! The tools `download_model` and `download_status`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::mcp::{CallContext, CallToolResult, ToolCall};
use crate::tools::arguments::Arguments;
use crate::tools::outcome::{Failure, data, object};
use crate::tools::pace::Pace;
use crate::tools::toolbox::Toolbox;
use crate::upstream::{ChatEvent, Download};

/// Begins a download, and waits for it where that is wanted.
pub(super) fn run(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let model = arguments.needed("model")?.trim();
    let quantization = arguments.text("quantization")?;
    let wait = arguments.flag("wait")?.unwrap_or(false);
    let seconds = arguments.integer("timeout_s", 1, WAIT_S_MAX)?.unwrap_or(WAIT_S_MAX);
    let upstream = arguments.text("upstream")?;
    let mut pace = Pace::new(context.progress);
    pace.begin(Instant::now());
    let (fleet, beat) = (toolbox.fleet(), pace.beat());
    let on_beat = &mut || pace.hear(ChatEvent::Waiting, Instant::now());
    let begun = fleet.download(upstream, model, quantization, context.cancel, beat, on_beat)?;
    if !wait || begun.is_over() {
        return Ok(data(&shown(&begun)));
    }
    let until = Instant::now() + Duration::from_secs(seconds.unsigned_abs());
    let mut on = |now: &Download| {
        let done = now.percent().unwrap_or(0.0);
        let rate = now.bytes_per_second.unwrap_or(0) / MEGABYTE;
        let left = now.eta().map_or_else(String::new, |eta| format!(", {} s left", eta.as_secs()));
        pace.share(done, &format!("downloading, {done} %, {rate} MB/s{left}"));
    };
    let last = fleet.follow_download(begun, context.cancel, until, beat, &mut on)?;
    Ok(data(&shown(&last)))
}

/// Tells how far a download is.
pub(super) fn status(
    toolbox: &Toolbox,
    call: &ToolCall,
    context: &CallContext<'_>,
) -> Result<CallToolResult, Failure> {
    let arguments = Arguments::new(&call.arguments);
    let (job, upstream) = (arguments.needed("job_id")?.trim(), arguments.text("upstream")?);
    let fleet = toolbox.fleet();
    let status = fleet.download_status(upstream, job, context.cancel, None, &mut || ())?;
    Ok(data(&shown(&status)))
}

fn shown(download: &Download) -> Value {
    object!({
        "job_id": download.job_id.as_deref(),
        "status": download.status.as_str(),
        "upstream": download.upstream.as_str(),
        "total_size_bytes": download.total_size_bytes,
        "downloaded_bytes": download.downloaded_bytes,
        "bytes_per_second": download.bytes_per_second,
        "percent": download.percent(),
        "eta_s": download.eta().map(|eta| eta.as_secs()),
        "error": download.error.as_deref(),
    })
}

/// A day.
const WAIT_S_MAX: i64 = 86_400;
const MEGABYTE: u64 = 1_000_000;
