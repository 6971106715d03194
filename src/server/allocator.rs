//! Has memory given back to the system when it is not used any more.
//!
//! glibc takes the first large buffer that is freed as a sign that more will come, and from then on
//! keeps them: a night of large requests would leave a gigabyte behind in a process that does
//! nothing. It also keeps the stacks of threads that have ended, touched as they were, and gives
//! them to new ones: every waiting connection would cost what the busiest one once needed. Only
//! its environment tells it not to, and that is read before `main`.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Starts the program anew in its own place (the process keeps its id), once, with the environment
/// that the C library needs. Where that cannot be done it goes on as it is. To be called before the
/// first thread and the first descriptor that matters.
pub(super) fn settle() {
    if std::env::var_os(SETTLED).is_some() || std::env::var_os(THRESHOLD).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("local-llm-mcp"));
    let Ok(program) = std::env::current_exe() else { return };
    // Its own mark beside: a program with file capabilities is not shown the library's variables.
    let error = Command::new(program)
        .arg0(name)
        .args(arguments)
        .env(THRESHOLD, THRESHOLD_BYTES)
        .env(TUNABLES, tunables(std::env::var_os(TUNABLES).as_deref()))
        .env(SETTLED, "1")
        .exec();
    log::debug!("memory may be kept by the C library: {error}");
}

/// What the owner set already comes last, and so it counts.
fn tunables(set: Option<&OsStr>) -> OsString {
    let mut all = OsString::from(NO_STACKS_KEPT);
    if let Some(set) = set.filter(|set| !set.is_empty()) {
        all.push(":");
        all.push(set);
    }
    all
}

/// glibc, mallopt(3): `M_MMAP_THRESHOLD`; set, it is no longer adjusted.
const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
const THRESHOLD_BYTES: &str = "1048576";
/// glibc 2.34 and newer, "POSIX Thread Tunables".
const TUNABLES: &str = "GLIBC_TUNABLES";
const NO_STACKS_KEPT: &str = "glibc.pthread.stack_cache_size=0";
const SETTLED: &str = "LOCAL_LLM_MCP_ALLOCATOR_SETTLED";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunables_of_the_owner_are_kept_and_count() {
        assert_eq!(tunables(None), NO_STACKS_KEPT);
        assert_eq!(tunables(Some(OsStr::new(""))), NO_STACKS_KEPT);
        let both = tunables(Some(OsStr::new("glibc.malloc.arena_max=1")));
        assert_eq!(both, "glibc.pthread.stack_cache_size=0:glibc.malloc.arena_max=1");
    }
}
