//! The command line of the real binary: what it prints, refuses and keeps.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::scratch::{Scratch, mode, set_mode};

#[test]
fn check_tells_every_setting_with_its_origin() {
    let scratch = Scratch::new();
    let output = run(
        &scratch,
        &["--check", "--host", "127.0.0.1", "--san", "a.lan", "--san=10.1.1.1"],
        &[("HTTPS_PORT", "4010"), ("HOST", "::1"), ("DEFAULT_MODEL", "qwen"), ("HTTP_PORT", "")],
    );
    let text = succeeded(&output);
    for (name, value, origin) in [
        ("transport", "https", "default"),
        ("https-port", "4010", "environment HTTPS_PORT"),
        ("host", "127.0.0.1", "flag --host"),
        ("san", "a.lan,10.1.1.1", "flag --san"),
        ("model", "qwen", "environment DEFAULT_MODEL"),
        ("prefill-timeout-s", "600", "default"),
        ("lm-studio-url", "http://localhost:1234", "default"),
    ] {
        assert_eq!(row(&text, name), Some((value.to_owned(), origin.to_owned())), "{text}");
    }
}

#[test]
fn check_knows_every_flag_of_the_help() {
    let scratch = Scratch::new();
    let help = succeeded(&run(&scratch, &["--help"], &[]));
    let text =
        succeeded(&run(&scratch, &["--check", "--transport", "https,http", "--home-open"], &[]));
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  --"))
        .map(|line| line.split([' ', ',']).next().unwrap())
        .filter(|flag| !["help", "check", "version", "port"].contains(flag))
        .collect();
    assert!(flags.len() > 20, "{help}");
    for flag in flags {
        assert!(row(&text, flag).is_some(), "--{flag} is missing:\n{text}");
    }
}

#[test]
fn every_flag_of_the_help_names_its_twin() {
    let help = succeeded(&run(&Scratch::new(), &["--help"], &[]));
    let options = help.split("Options:").nth(1).unwrap().split("Commands:").next().unwrap();
    for option in options.split("\n  --").skip(1) {
        let own = ["check", "version", "help"].iter().any(|name| option.starts_with(name));
        let twin = option.split(|c: char| !(c.is_ascii_uppercase() || "_()".contains(c)));
        let has_twin = twin.into_iter().any(|word| word.starts_with('(') && word.len() > 3);
        assert!(own || has_twin, "{option}");
    }
}

#[test]
fn secrets_are_shown_as_set_and_never_printed() {
    let scratch = Scratch::new();
    let file = scratch.put("lm-token", "sk-very-secret-1\n");
    let output = run(
        &scratch,
        &["--check", "--lm-studio-token-file", file.to_str().unwrap()],
        &[("MCP_TOKEN", "very-secret-token-2"), ("MCP_LOG", "trace")],
    );
    let text = succeeded(&output);
    let from_file = ("set".to_owned(), "flag --lm-studio-token-file".to_owned());
    assert_eq!(row(&text, "lm-studio-token-file"), Some(from_file));
    let from_variable = ("set".to_owned(), "environment MCP_TOKEN".to_owned());
    assert_eq!(row(&text, "token"), Some(from_variable));
    assert!(!everything(&output).contains("very-secret"), "{}", everything(&output));
}

#[test]
fn a_setting_that_cannot_be_followed_is_one_line_and_exit_code_2() {
    let scratch = Scratch::new();
    let empty = scratch.put("empty", "\n# nothing\n");
    let empty = empty.to_str().unwrap();
    for (arguments, what, remedy) in [
        (&["--prot", "1"][..], "Unrecognized argument: --prot", "local-llm-mcp --help"),
        (&["frobnicate"], "frobnicate", "--help"),
        (&["--port"], "--port", "--help"),
        (&["token", "add"], "name", "--help"),
        (&["--port", "x"], "--port: \"x\" is not a port", "a number up to 65535"),
        (&["--https-port=70000"], "--https-port: \"70000\"", "a number up to 65535"),
        (&["--transport", "ftp"], "\"ftp\" is no transport", "https, http, stdio, or several"),
        (&["--transport", ""], "is no transport", "https, http"),
        (&["--transport", "stdio", "--http-port", "1"], "nothing listens for http", "leave it out"),
        (&["--transport", "https,http", "--port", "1"], "two listeners", "--https-port PORT"),
        (&["--port", "1", "--https-port", "2"], "--https-port is 2, but --port is 1", "leave out"),
        (&["--http-port", "1"], "nothing listens for http", "--transport http"),
        (
            &["--transport", "http,https", "--http-port", "7", "--https-port", "7"],
            "both have port 7",
            "--http-port 3000",
        ),
        (&["--host", "desk"], "\"desk\" is not an IP address", "localhost"),
        (&["--cert", "c.pem"], "without its private key", "--key FILE"),
        (&["--key", "k.pem"], "without its certificate", "--cert FILE"),
        (&["--transport", "http", "--key", "k"], "https, which is not among", "leave them out"),
        (&["--san", "a b"], "\"a b\" is neither a host name nor an address", "192.168.1.100"),
        (&["--lm-studio-url", "desk:1234"], "is not a URL", "http://192.168.1.5:1234"),
        (&["--lm-studio-token-file", "/none"], "/none", "ls -l /none"),
        (&["--idle-timeout-s", "2m"], "\"2m\" is not a time", "whole seconds from 1 to 86400"),
        (&["--idle-timeout-s", "0"], "is not a time", "from 1"),
        (&["--public-url", "desk"], "is not a server's URL", "https://mcp.example.org"),
        (&["--trusted-proxy", "desk"], "is not an IP address", "192.168.1.100"),
        (&["--allow-host", "http://desk"], "is no host name", "the name alone"),
        (&["--allow-origin", "desk"], "is not an origin", "https://chat.lan:8080"),
        (&["--config", "/none"], "--config: cannot read /none", "ls -l /none"),
        (&["--upstream", "desk"], "\"desk\" is not name=url", "desk=http://desk.lan:1234"),
        (&["--upstream", "a b=http://c:1"], "\"a b\" cannot name a model server", "as in desk"),
        (&["--upstream", "a=b:1"], "\"b:1\" is not a URL", "http://192.168.1.5:1234"),
        (&["--upstream=a=http://b", "--upstream=a=http://c"], "two model servers", "another"),
        (&["--upstream=a=http://b", "--lm-studio-url=http://c"], "both say where", "leave out"),
        (&["--profile", "large"], "\"large\" is no profile", "standard, full or classic"),
        (&["--tools", "chat"], "\"chat\" says neither + nor -", "+NAME or -NAME"),
        (&["--check", "--tools", "+chatt"], "no tool is named \"chatt\"", "there is chat"),
        (&["--check", "--tools", "-embed,-x"], "no tool is named", "there is"),
        (&["--prompts-dir", "/none"], "--prompts-dir: cannot read /none", "ls -l /none"),
        (&["--log", "loud"], "\"loud\" is no log filter", "trace"),
        (&["--log-file", "/none/log"], "/none/log", "--log-file FILE"),
        (&["--token-file", "/none", "--check"], "cannot read /none", "ls -l /none"),
        (&["--token-file", empty, "--check"], "holds no token", "token add NAME"),
        (&["--cert", "/none", "--key", "/none", "--check"], "/none is not there", "--cert"),
        (&["token", "add", "a b"], "\"a b\" cannot name a token", "token add laptop"),
        (&["token", "revoke", "laptop"], "no token is named \"laptop\"", "token add NAME"),
        (&["cert", "a b"], "\"a b\" cannot stand in a certificate", "a host name or an address"),
    ] {
        refused(&run(&scratch, arguments, &[]), what, remedy);
    }
}

#[test]
fn a_variable_that_cannot_be_followed_is_named() {
    let scratch = Scratch::new();
    for (name, value, what) in [
        ("MCP_TRANSPORT", "tcp", "MCP_TRANSPORT: \"tcp\" is no transport"),
        ("PORT", "http", "PORT: \"http\" is not a port"),
        ("HOST", "desk", "HOST: \"desk\" is not an IP address"),
        ("LMSTUDIO_HOST", "a b", "LMSTUDIO_HOST: \"http://a b:1234\" is not a URL"),
        ("MCP_HOME_OPEN", "maybe", "MCP_HOME_OPEN: \"maybe\" is neither yes nor no"),
        ("MCP_LOG", "loud", "MCP_LOG: \"loud\" is no log filter"),
        ("MCP_TOKEN", "short", "MCP_TOKEN is not a usable token"),
        ("LM_API_TOKEN", "two words", "LM_API_TOKEN holds no token"),
    ] {
        refused(&run(&scratch, &["--check"], &[(name, value)]), what, ";");
    }
    let both = [("LM_API_TOKEN", "a"), ("LM_API_TOKEN_FILE", "b")];
    refused(&run(&scratch, &["--check"], &both), "are both set", "unset LM_API_TOKEN_FILE");
}

#[test]
fn a_server_that_strangers_can_reach_needs_a_token() {
    let scratch = Scratch::new();
    let public = [
        ["--check", "--public-url", "https://mcp.example.org"],
        ["--check", "--trusted-proxy", "10.0.0.1"],
        ["--check", "--host", "8.8.8.8"],
    ];
    for arguments in &public {
        refused(&run(&scratch, arguments, &[]), "lets strangers reach", "token add NAME");
    }
    for at_home in ["https://pi.local:3010", "https://192.168.1.5", "https://nas.lan"] {
        succeeded(&run(&scratch, &["--check", "--public-url", at_home], &[]));
    }
    succeeded(&run(&scratch, &["token", "add", "laptop"], &[]));
    for arguments in &public {
        succeeded(&run(&scratch, arguments, &[]));
    }
}

#[test]
fn a_token_is_shown_once_listed_by_name_and_revoked() {
    let scratch = Scratch::new();
    let added = succeeded(&run(&scratch, &["token", "add", "laptop"], &[]));
    let token = added.split_whitespace().find(|word| word.starts_with("mcps_")).unwrap();
    assert_eq!(token.len(), 48);
    let env = format!(
        "\"env\": {{ \"NODE_TLS_REJECT_UNAUTHORIZED\": \"0\", \"AUTH_HEADER\": \"Bearer {token}\" }}"
    );
    assert!(added.contains(&env), "{added}");
    assert_eq!(mode(&scratch.file("certs/tokens.json")), 0o600);
    let kept = scratch.read("certs/tokens.json");
    assert!(!kept.contains(token) && kept.contains("\"sha256\""), "{kept}");

    refused(
        &run(&scratch, &["token", "add", "laptop"], &[]),
        "named laptop",
        "token revoke laptop",
    );
    // The folder may also be given behind the command.
    let listed = succeeded(&run(&scratch, &["token", "list", "--state-dir", "certs"], &[]));
    assert!(listed.starts_with("laptop  made 20") && !listed.contains("mcps_"), "{listed}");

    refused(&run(&scratch, &["token", "revoke", "phone"], &[]), "\"phone\"", "laptop");
    let revoked = succeeded(&run(&scratch, &["token", "revoke", "laptop"], &[]));
    assert!(revoked.contains("the last one"), "{revoked}");
    let listed = succeeded(&run(&scratch, &["token", "list"], &[]));
    assert!(listed.contains("holds none"), "{listed}");
}

#[test]
fn the_owners_passphrase_is_shown_once_or_taken_from_stdin() {
    let scratch = Scratch::new();
    let oauth = ["--check", "--oauth", "passphrase", "--public-url", "https://mcp.example.org"];
    refused(&run(&scratch, &oauth, &[]), "needs the owner's passphrase", "auth passphrase");
    let made = succeeded(&run(&scratch, &["auth", "passphrase"], &[]));
    let shown = made.lines().find(|line| line.starts_with("  ")).unwrap().trim().to_owned();
    assert_eq!(shown.len(), 29, "{made}");
    let kept = scratch.read("certs/tokens.json");
    assert!(kept.contains("$argon2id$") && !kept.contains(&shown), "{kept}");
    succeeded(&run(&scratch, &oauth, &[]));
    let mut typed = program(&scratch, &["auth", "passphrase", "--stdin"], &[]);
    typed.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut typed = typed.spawn().unwrap();
    typed.stdin.take().unwrap().write_all(b"too short\n").unwrap();
    refused(&typed.wait_with_output().unwrap(), "12 characters", "auth passphrase");
    assert_eq!(scratch.read("certs/tokens.json"), kept);
}

#[test]
fn clients_and_grants_are_made_listed_and_taken_away() {
    let scratch = Scratch::new();
    let made = succeeded(&run(&scratch, &["client", "add", "claude"], &[]));
    let word = |start: &str| made.split_whitespace().find(|it| it.starts_with(start)).unwrap();
    let (id, secret) = (word("pc1."), word("mcpk_"));
    let listed = succeeded(&run(&scratch, &["client", "list"], &[]));
    assert!(listed.contains(id) && listed.contains("https://claude.ai/api/mcp/auth_callback"));
    assert!(!listed.contains(secret) && !scratch.read("certs/tokens.json").contains(secret));
    refused(
        &run(&scratch, &["client", "add", "claude"], &[]),
        "named claude",
        "client remove claude",
    );
    let bad = ["client", "add", "evil", "--redirect-uri", "http://evil.example/cb"];
    refused(&run(&scratch, &bad, &[]), "can receive no code", "https");
    succeeded(&run(&scratch, &["client", "remove", "claude"], &[]));
    refused(&run(&scratch, &["client", "remove", "claude"], &[]), "\"claude\"", "client add NAME");
    assert!(succeeded(&run(&scratch, &["grants", "list"], &[])).contains("nothing was granted"));
    refused(&run(&scratch, &["grants", "revoke", "ab"], &[]), "\"ab\"", "--oauth");
    let made = succeeded(&run(&scratch, &["token", "add", "guest", "--days", "30"], &[]));
    assert!(made.contains("mcps_"));
    let listed = succeeded(&run(&scratch, &["token", "list"], &[]));
    assert!(listed.contains("used never") && listed.contains("ends 20"), "{listed}");
}

#[test]
fn tokens_made_at_the_same_time_are_all_kept() {
    let scratch = Scratch::new();
    let start = |number: u32| {
        let name = format!("client-{number}");
        program(&scratch, &["token", "add", &name], &[]).stdout(Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listed = succeeded(&run(&scratch, &["token", "list"], &[]));
    assert_eq!(listed.lines().count(), 8, "{listed}");
}

#[test]
fn a_token_store_that_is_open_or_broken_is_refused_and_left_as_it_is() {
    let scratch = Scratch::new();
    let store = scratch.put("certs/tokens.json", "{\"v\":1,\"tokens\":[]}");
    set_mode(&store, 0o644);
    for arguments in [&["token", "add", "a"][..], &["token", "list"], &["--check"]] {
        refused(&run(&scratch, arguments, &[]), "open to other users (mode 0644)", "chmod 600 ");
    }
    for (content, what) in [
        ("{\"v\":1,\"tok", "is not a token store"),
        ("{\"v\":1,\"tokens\":[{\"name\":\"a\",\"sha256\":\"12\",\"created_s\":1}]}", "sha256"),
        ("{\"v\":3,\"tokens\":[]}", "has version 3"),
    ] {
        scratch.put("certs/tokens.json", content);
        for arguments in [&["token", "add", "a"][..], &["token", "revoke", "a"], &["--check"]] {
            refused(&run(&scratch, arguments, &[]), what, ";");
        }
        assert_eq!(scratch.read("certs/tokens.json"), content);
    }
}

#[test]
fn the_state_folder_is_beside_certs_or_of_the_user() {
    let scratch = Scratch::new();
    let beside = succeeded(&run(&scratch, &["--check"], &[]));
    assert_eq!(row(&beside, "state-dir").unwrap().0, "certs");
    std::fs::remove_dir(scratch.file("certs")).unwrap();
    for (variables, folder) in [
        (&[("HOME", "/home/pi")][..], "/home/pi/.local/state/local-llm-mcp"),
        (&[("HOME", "/h"), ("XDG_STATE_HOME", "/var/state")], "/var/state/local-llm-mcp"),
        (&[("HOME", "/h"), ("MCP_STATE_DIR", "here")], "here"),
    ] {
        let mut command = program(&scratch, &["--check"], variables);
        std::fs::remove_dir(scratch.file("certs")).unwrap();
        let output = command.output().unwrap();
        assert_eq!(row(&succeeded(&output), "state-dir").unwrap().0, folder);
    }
    let mut homeless = program(&scratch, &["--check"], &[]);
    std::fs::remove_dir(scratch.file("certs")).unwrap();
    refused(&homeless.output().unwrap(), "no home folder", "--state-dir");
}

#[test]
fn help_and_version_go_to_stdout() {
    let scratch = Scratch::new();
    let version = succeeded(&run(&scratch, &["--version"], &[]));
    assert_eq!(version.trim(), concat!("local-llm-mcp ", env!("CARGO_PKG_VERSION")));
    assert!(succeeded(&run(&scratch, &["token", "--help"], &[])).contains("revoke"));
}

#[test]
fn a_reader_who_has_left_is_no_failure() {
    let scratch = Scratch::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = program(&scratch, &["--check"], &[]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_script_makes_the_certificate_ahead() {
    let scratch = Scratch::new();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/gen-selfsigned.sh"))
        .args(["mcp.example.org", "10.9.8.7"])
        .env("LOCAL_LLM_MCP", BINARY)
        .env("MCP_STATE_DIR", scratch.path())
        .output()
        .unwrap();
    let text = succeeded(&output);
    assert!(text.contains("mcp.example.org, 10.9.8.7"), "{text}");
    assert_eq!(scratch.names(), ["ca.key", "ca.pem", "cert.pem", "key.pem"]);
}

#[test]
fn the_log_goes_to_a_file_as_well() {
    let scratch = Scratch::new();
    let token = scratch.put("token", "0123456789abcdef");
    set_mode(&token, 0o644);
    let output = run(&scratch, &["--check", "--token-file", "token", "--log-file", "log"], &[]);
    succeeded(&output);
    let line = scratch.read("log");
    assert!(line.contains("WARN") && line.contains("chmod 600 token"), "{line}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600 token"));
}

const BINARY: &str = env!("CARGO_BIN_EXE_local-llm-mcp");

/// The binary in a folder with `certs` in it, and nothing else in its environment.
fn program(scratch: &Scratch, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    std::fs::create_dir_all(scratch.file("certs")).unwrap();
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(scratch.path()).env_clear();
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

pub(crate) fn run(scratch: &Scratch, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    program(scratch, arguments, variables).output().unwrap()
}

pub(crate) fn succeeded(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", everything(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn refused(output: &Output, what: &str, remedy: &str) {
    let said = everything(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(error.lines().count(), 1, "{said}");
    assert!(error.starts_with("local-llm-mcp: "), "{said}");
    let (before, after) = error.split_once(';').unwrap_or((&error, &error));
    assert!(error.contains(what), "{what} is not said: {said}");
    assert!(after.contains(remedy) || remedy == ";", "{remedy} is not said: {before};{after}");
}

pub(crate) fn everything(output: &Output) -> String {
    let mut all = output.stdout.clone();
    all.write_all(&output.stderr).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Value and origin of a setting in what `--check` prints.
pub(crate) fn row(text: &str, name: &str) -> Option<(String, String)> {
    let line = text.lines().find(|line| line.split("  ").next() == Some(name))?;
    let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).skip(1);
    Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
}
