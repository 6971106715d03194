//! Real clients against the real binary, a short walk; the whole one is `tests/clients/run.py`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The statement itself takes minutes and a browser: `.ci/run` proves it with the release build.
#[test]
fn statement_25_real_clients_log_in_over_oauth() {
    let listed = Command::new("python3")
        .args(["tests/clients/run.py", "--list", "--only", "statement 25"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let listed = match listed {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) if std::env::var_os("CI").is_none() => {
            return say(&format!("SKIPPED: the list of scenarios (needs python3: {error})"));
        }
        Err(error) => panic!("CI must not skip the list of scenarios: {error}"),
    };
    for who in ["mcp-remote 0.15.1", "mcp-remote 0.1.38", "the TypeScript SDKs", "30 s"] {
        let found = listed.lines().filter(|line| line.contains(who)).count();
        assert_eq!(found, 1, "no login of {who}: {listed}");
    }
}

#[test]
fn real_clients_list_chat_and_cancel() {
    let binary = Path::new(env!("CARGO_BIN_EXE_local-llm-mcp"));
    let stand_in = binary.parent().unwrap().join("examples/stand_in");
    let run = Command::new("python3")
        .args(["tests/clients/run.py", "--quick"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("LOCAL_LLM_MCP_BIN", binary)
        .env("LOCAL_LLM_MCP_STAND_IN", stand_in)
        .stdin(Stdio::null())
        .output();
    let output = match run {
        Ok(output) => output,
        Err(error) if std::env::var_os("CI").is_none() => {
            return say(&format!("SKIPPED: the real clients (needs python3: {error})"));
        }
        Err(error) => panic!("CI must not skip the real clients: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in said.lines().filter(|line| line.contains("SKIPPED")) {
        say(line);
    }
    assert!(output.status.success(), "{said}{errors}");
}

/// Past the capture of the test runner: whoever runs the tests is to see what was skipped.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
