//! Has large buffers given back to the system when they are freed.
//!
//! glibc takes the first large buffer that is freed as a sign that more will come, and from then on
//! keeps them: a night of large requests would leave a gigabyte behind in a process that does
//! nothing. Only its environment tells it not to, and that is read before `main`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Starts the program anew in its own place (the process keeps its id), once, with the environment
/// that the allocator needs. Where that cannot be done it goes on as it is. To be called before the
/// first thread and the first descriptor that matters.
pub(super) fn settle() {
    if std::env::var_os(SETTLED).is_some() || std::env::var_os(THRESHOLD).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("local-llm-mcp"));
    let Ok(program) = std::env::current_exe() else { return };
    // Its own mark beside: a program with file capabilities is not shown the allocator's variable.
    let error = Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(THRESHOLD, THRESHOLD_BYTES)
        .env(SETTLED, "1")
        .exec();
    log::debug!("large buffers may be kept by the allocator: {error}");
}

/// glibc, mallopt(3): `M_MMAP_THRESHOLD`; set, it is no longer adjusted.
const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
const THRESHOLD_BYTES: &str = "1048576";
const SETTLED: &str = "LOCAL_LLM_MCP_ALLOCATOR_SETTLED";
