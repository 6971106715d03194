//! The configuration file and the owner's prompts, as the real binary reads them.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use local_llm_mcp::config::{
    self, Config, ConfigError, Environment, Limits, Profile, UpstreamKind, file_keys,
};

use crate::cli::{everything, refused, row, run, succeeded};
use crate::scratch::Scratch;
use crate::support::program::Program;
use crate::support::stand_in::{Script, StandIn};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/local-llm-mcp.toml");

#[test]
fn the_file_is_named_or_found_here_or_in_the_state_folder() {
    let scratch = Scratch::new();
    let origin = |arguments: &[&str], variables: &[(&str, &str)]| {
        let text = succeeded(&run(&scratch, arguments, variables));
        (row(&text, "config").unwrap(), row(&text, "https-port").unwrap().0)
    };
    let told = |path: &str, origin: &str, port: &str| {
        ((path.to_owned(), origin.to_owned()), port.to_owned())
    };
    assert_eq!(origin(&["--check"], &[]), told("none", "default", "3010"));
    scratch.put("certs/local-llm-mcp.toml", "port = 1001");
    let found = origin(&["--check"], &[]);
    assert_eq!(found, told("certs/local-llm-mcp.toml", "default", "1001"));
    scratch.put("local-llm-mcp.toml", "port = 1002");
    assert_eq!(origin(&["--check"], &[]), told("local-llm-mcp.toml", "default", "1002"));
    scratch.put("third.toml", "port = 1003");
    scratch.put("fourth.toml", "port = 1004");
    let variable = [("MCP_CONFIG", "third.toml")];
    let named = told("third.toml", "environment MCP_CONFIG", "1003");
    assert_eq!(origin(&["--check"], &variable), named);
    let flag = origin(&["--check", "--config", "fourth.toml"], &variable);
    assert_eq!(flag, told("fourth.toml", "flag --config", "1004"));
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let scratch = Scratch::new();
    scratch.put(
        "local-llm-mcp.toml",
        "# one\nhost = \"10.0.0.1\"\nmodel = \"c\"\nsan = [\"a.lan\", \"b.lan\"]\nhome_open = true\n\
         prefill_timeout_s = 61\nidle_timeout_s = 62\nhttps_port = 4001\n[tools]\n\
         profile = \"minimal\"\nenable = [\"chat\"]\n",
    );
    let output = run(
        &scratch,
        &["--check", "--model", "a", "--port", "4003"],
        &[("DEFAULT_MODEL", "b"), ("MCP_IDLE_TIMEOUT_S", "63")],
    );
    let text = succeeded(&output);
    for (name, value, origin) in [
        ("host", "10.0.0.1", "file, line 2"),
        ("model", "a", "flag --model"),
        ("san", "a.lan,b.lan", "file, line 4"),
        ("home-open", "yes", "file, line 5"),
        ("prefill-timeout-s", "61", "file, line 6"),
        ("idle-timeout-s", "63", "environment MCP_IDLE_TIMEOUT_S"),
        ("https-port", "4003", "flag --port"),
        ("profile", "minimal", "file, line 10"),
        ("tools", "+chat", "file, line 11"),
        ("call-timeout-s", "900", "default"),
    ] {
        assert_eq!(row(&text, name), Some((value.to_owned(), origin.to_owned())), "{text}");
    }
}

#[test]
fn what_the_file_cannot_say_is_refused_with_its_line() {
    let scratch = Scratch::new();
    for (content, what, remedy) in [
        ("\nhots = \"x\"", "local-llm-mcp.toml:2: hots is no key of this file", "perhaps host"),
        ("[tool]\n", "local-llm-mcp.toml:1: [tool] is no key", "tools"),
        ("port = \"x\"", ":1: port is text, not a whole number", "a whole number"),
        ("port = 70000", ":1: port: \"70000\" is not a port", "up to 65535"),
        ("a = [1\nb = 2", "local-llm-mcp.toml:", "correct that line"),
        ("token = \"0123456789abcdef\"", ":1: token would keep a secret", "token_file"),
        ("lm_studio_token_file = \"gone\"", ":1: lm_studio_token_file: cannot read gone", "ls -l"),
        ("[tools]\nprofile = \"big\"", ":2: tools.profile: \"big\" is no profile", "standard"),
        ("[tools]\naliases = [\"x\"]", ":2: tools.aliases: \"x\" is no set", "lmstudio-mcp"),
        ("conversations = \"maybe\"", ":1: conversations: \"maybe\" is neither", "yes or no"),
        ("[generation]\ndefault_max_tokens = 0", ":2: generation.default_max_tokens", "131072"),
        ("[[upstream]]\nname = \"a\"", "[[upstream]] number 1 of the file has no", "url = "),
        (
            "lm_studio_url = \"http://a\"\n[[upstream]]\nname = \"a\"\nurl = \"http://b\"",
            "upstream.url and lm_studio_url both say where the model server is",
            "leave out",
        ),
    ] {
        scratch.put("local-llm-mcp.toml", content);
        refused(&run(&scratch, &["--check"], &[]), what, remedy);
    }
    let upstream = "[[upstream]]\nname = \"a\"\nurl = \"http://b:1\"\n";
    for (line, what, remedy) in [
        ("url = \"http://c\"", "local-llm-mcp.toml:4: \"upstream.url\" is there twice", "correct"),
        ("kind = \"x\"", ":4: upstream.kind: \"x\" is no kind", "lmstudio"),
        ("concurrency = 0", ":4: upstream.concurrency: \"0\" is no number of places", "from 1"),
        ("queue = 65", ":4: upstream.queue: \"65\" is no number of places", "from 0 to 64"),
        ("ca_file = \"gone\"", ":4: upstream.ca_file: cannot read gone", "ls -l gone"),
        ("token_env = \"UNSET\"", ":4: upstream.token_env: \"UNSET\" is a variable that", "copy"),
        ("token_file = \"gone\"", ":4: upstream.token_file: cannot read gone", "ls -l gone"),
        ("idle_timeout_s = 0", ":4: upstream.idle_timeout_s: \"0\" is not a time", "86400"),
        ("token = \"x\"", ":4: upstream.token would keep a secret", "token_env"),
    ] {
        scratch.put("local-llm-mcp.toml", format!("{upstream}{line}"));
        refused(&run(&scratch, &["--check"], &[]), what, remedy);
    }
    let many = "#".repeat(Limits::default().config_file_bytes_max + 1);
    scratch.put("local-llm-mcp.toml", many);
    refused(&run(&scratch, &["--check"], &[]), "more than 65536 bytes", "ls -l");
}

/// What a file, flags and variables come to.
fn resolved(
    scratch: &Scratch,
    content: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let file = scratch.put("x.toml", content);
    let file = ["--config".to_owned(), file.to_str().unwrap().to_owned()];
    let arguments = arguments.iter().map(|&it| it.to_owned());
    let arguments: Vec<String> = file.into_iter().chain(arguments).collect();
    let variables = [("HOME", "/home/pi")].iter().chain(variables);
    let environment: Environment =
        variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config::resolve(&config::parse(&arguments)?.unwrap(), &environment)
}

const TWO: &str = "[[upstream]]\nname = \"desk\"\nurl = \"http://desk.lan:1234/v1\"\n\
                   kind = \"lmstudio\"\ntoken_file = \"desk.token\"\nca_file = \"desk.token\"\n\
                   default_model = \"m\"\nconcurrency = 2\nqueue = 3\nprefill_timeout_s = 7\n\
                   [[upstream]]\nname = \"nas\"\nurl = \"https://nas.lan\"\ntoken_env = \"NAS\"\n";

#[test]
fn several_model_servers_are_read_with_what_is_their_own() {
    let scratch = Scratch::new();
    scratch.put("desk.token", "sk-desk\n");
    let variables = [("NAS", "sk-nas"), ("LM_API_TOKEN", "sk-default")];
    let config = resolved(&scratch, TWO, &["--idle-timeout-s", "9"], &variables).unwrap();
    let [desk, nas] = config.upstreams.as_slice() else { panic!("{config:?}") };
    assert_eq!((desk.name.as_str(), desk.url.as_str()), ("desk", "http://desk.lan:1234"));
    assert_eq!(desk.kind, UpstreamKind::LmStudio);
    assert_eq!(desk.token.as_ref().unwrap().expose(), "sk-desk");
    assert_eq!(desk.ca_file, Some(scratch.file("desk.token")));
    assert_eq!(desk.default_model.as_deref(), Some("m"));
    assert_eq!((desk.concurrency, desk.queue), (2, 3));
    assert_eq!(desk.prefill_timeout.as_secs(), 7);
    assert_eq!(desk.idle_timeout.as_secs(), 9);
    assert_eq!((nas.name.as_str(), nas.url.as_str()), ("nas", "https://nas.lan"));
    assert_eq!(nas.kind, UpstreamKind::Auto);
    // Each server gets its own token and no other.
    assert_eq!(nas.token.as_ref().unwrap().expose(), "sk-nas");
    assert_eq!((nas.concurrency, nas.queue, nas.prefill_timeout.as_secs()), (1, 8, 600));
    assert!(!format!("{config:?}{}", config.report).contains("sk-"));
    let rows = config.report.to_string();
    assert_eq!(
        row(&rows, "upstream.desk.kind"),
        Some(("lmstudio".to_owned(), "file, line 4".to_owned()))
    );
    assert_eq!(row(&rows, "lm-studio-url").unwrap().0, "not used");
    assert_eq!(row(&rows, "lm-studio-token-file").unwrap().0, "set, not used");
    assert_eq!(row(&rows, "upstream").unwrap().0, "desk,nas");
}

#[test]
fn who_is_there_comes_from_one_place_and_the_file_adds_what_is_known_of_them() {
    let scratch = Scratch::new();
    scratch.put("desk.token", "sk-desk\n");
    let named = |arguments: &[&str], variables: &[(&str, &str)]| {
        let config = resolved(&scratch, TWO, arguments, variables).unwrap();
        let shown = |it: &config::UpstreamConfig| {
            let token = it.token.as_ref().map_or("", |token| token.expose());
            format!("{}={} {token}", it.name, it.url)
        };
        config.upstreams.iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    let nas = ("NAS", "sk-nas");
    assert_eq!(
        named(&["--upstream", "nas=http://b", "--upstream=c=http://c:1"], &[nas]),
        "nas=http://b sk-nas, c=http://c:1 "
    );
    let listed = ("MCP_UPSTREAMS", "desk=http://x:1, c=http://c/v1");
    assert_eq!(named(&[], &[listed]), "desk=http://x:1 sk-desk, c=http://c ");
    assert_eq!(named(&["--upstream=c=http://d"], &[listed]), "c=http://d ");
    // The older names stay, as the one server.
    let one = [("LM_STUDIO_URL", "http://e:1"), ("LM_API_TOKEN", "sk-e")];
    assert_eq!(named(&[], &one), "default=http://e:1 sk-e");
    assert_eq!(named(&[], &[("LMSTUDIO_HOST", "f")]), "default=http://f:1234 ");
    assert_eq!(named(&["--lm-studio-url=http://g"], &[listed]), "default=http://g ");
    let both = resolved(&scratch, "", &[], &[listed, one[0]]).unwrap_err().to_string();
    assert!(both.contains("MCP_UPSTREAMS and LM_STUDIO_URL both say"), "{both}");
    let none = resolved(&scratch, "", &[], &[]).unwrap();
    assert_eq!(none.upstreams[0].url, "http://localhost:1234");
}

#[test]
fn the_first_model_server_of_the_file_is_asked() {
    let stand_in = StandIn::start(Script::default());
    let scratch = Scratch::new();
    let content = format!(
        "[[upstream]]\nname = \"desk\"\nurl = \"{}\"\n[[upstream]]\nname = \"gone\"\n\
         url = \"http://127.0.0.1:9\"\n",
        stand_in.url()
    );
    scratch.put("local-llm-mcp.toml", content);
    let mut program = Program::start_in(scratch, &[]);
    let said = program.until(|line| line.starts_with("  upstream "));
    let line = said.lines().last().unwrap();
    assert!(line.contains(&stand_in.url()) && line.ends_with("LM Studio, 3 models"), "{line}");
}

#[test]
fn more_model_servers_than_the_limit_are_refused_by_name() {
    let scratch = Scratch::new();
    let mut content = String::new();
    for number in 0..=Limits::default().upstreams_max {
        writeln!(content, "[[upstream]]\nname = \"u{number}\"\nurl = \"http://a\"").unwrap();
    }
    let refused = resolved(&scratch, &content, &[], &[]).unwrap_err().to_string();
    assert!(refused.contains("upstreams_max is 16"), "{refused}");
}

#[test]
fn the_rest_of_the_file_becomes_settings() {
    let scratch = Scratch::new();
    let content = "conversations = \"on\"\n[generation]\ndefault_max_tokens = 9\n\
                   default_timeout_s = 8\ndeadline_margin_s = 7\ninclude_reasoning = true\n\
                   [tools]\nprofile = \"classic\"\nenable = [\"chat\"]\n\
                   disable = [\"list_models\"]\naliases = [\"lmstudio-mcp\"]\n";
    let config = resolved(&scratch, content, &[], &[]).unwrap();
    let generation = config.generation;
    assert_eq!(generation.default_max_tokens, Some(9));
    assert_eq!(generation.default_timeout.unwrap().as_secs(), 8);
    assert_eq!(generation.deadline_margin.as_secs(), 7);
    assert!(generation.include_reasoning && generation.conversations);
    assert_eq!(config.tools.profile, Profile::Classic);
    assert_eq!(config.tools.enable, ["chat"]);
    assert_eq!(config.tools.disable, ["list_models"]);
    assert_eq!(config.tools.aliases, ["lmstudio-mcp"]);
    let changed = resolved(&scratch, content, &["--tools", "-chat"], &[]).unwrap();
    assert!(changed.tools.enable.is_empty() && changed.tools.disable == ["chat"]);
}

#[test]
fn a_prompt_that_cannot_be_read_is_refused_with_its_file_and_line() {
    let scratch = Scratch::new();
    let head = "name = \"a\"\ndescription = \"b\"\n";
    for (content, what, remedy) in [
        ("nam = \"a\"", "prompts/a.toml:1: nam is no key of a prompt", "name, description, text"),
        (head, "prompts/a.toml:1: the prompt has no text", "write text"),
        (&format!("{head}text = \"{{{{c}}}}\""), "prompts/a.toml:3: the text has {{c}}", "argum"),
        (&format!("{head}text = \"c"), "prompts/a.toml:3: ", "correct that line"),
    ] {
        scratch.put("prompts/a.toml", content);
        refused(&run(&scratch, &["--check", "--prompts-dir", "prompts"], &[]), what, remedy);
    }
    scratch.put("prompts/a.toml", format!("{head}text = \"c\""));
    succeeded(&run(&scratch, &["--check", "--prompts-dir", "prompts"], &[]));
    scratch.put("prompts/b.toml", format!("{head}text = \"c\""));
    let twice = run(&scratch, &["--check", "--prompts-dir", "prompts"], &[]);
    refused(&twice, "prompts/b.toml:1: another file has the name \"a\"", "another name");
    scratch.put("prompts/b.toml", "#".repeat(Limits::default().prompt_file_bytes_max + 1));
    let large = run(&scratch, &["--check", "--prompts-dir", "prompts"], &[]);
    refused(&large, "prompts/b.toml (it has more than 65536 bytes)", "ls -l");
    for number in 0..=Limits::default().prompts_max {
        let content = format!("name = \"p{number}\"\ndescription = \"b\"\ntext = \"c\"");
        scratch.put(&format!("many/{number:03}.toml"), content);
    }
    let many = run(&scratch, &["--check", "--prompts-dir", "many"], &[]);
    refused(&many, "more than prompts_max (64) prompts", "move some");
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let scratch = Scratch::new();
    succeeded(&run(&scratch, &["--check", "--config", EXAMPLE], &[]));
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let mut keys = BTreeSet::new();
    let mut table = String::new();
    let mut uncommented = String::new();
    for line in example.lines() {
        let live = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
        let live = live.unwrap_or(line);
        if let Some(name) = live.strip_prefix('[') {
            table = format!("{}.", name.trim_matches(['[', ']']));
        } else if let Some((key, _)) = live.split_once(" = ").filter(|_| !live.starts_with('#')) {
            assert!(line.starts_with('#'), "{line} is not commented out");
            assert!(keys.insert(format!("{table}{key}")), "{table}{key} is there twice");
        }
        uncommented += live;
        uncommented.push('\n');
    }
    let known: BTreeSet<String> = file_keys().map(str::to_owned).collect();
    assert_eq!(keys, known);
    // With everything in it, it is understood whole; then its settings contradict each other.
    scratch.put("whole.toml", uncommented);
    let output = run(&scratch, &["--check", "--config", "whole.toml"], &[]);
    let said = everything(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("whole.toml:") && said.contains("both say where"), "{said}");
}
