//! README.md held against the program: what it shows is printed, what it lists is all there is.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use local_llm_mcp::config::{self, Limits};
use serde_json::{Value, json};

use crate::scratch::Scratch;
use crate::support::house::Plan;
use crate::support::program::Program;
use crate::support::stand_in::{Script, StandIn};

#[test]
fn the_first_screen_shows_what_the_program_prints() {
    let said = banner();
    let printed: Vec<String> = said.lines().map(masked).collect();
    let (command, shown) = blocks("console").remove(0).split_once('\n').map(owned).unwrap();
    assert_eq!(command, "$ cargo run --release");
    // Between two `…` the lines stand together as they are printed.
    for part in shown.split("…\n").filter(|part| !part.is_empty()) {
        let part: Vec<String> = part.lines().map(masked).collect();
        let together = printed.windows(part.len()).any(|window| window == part);
        assert!(together, "the README shows\n{}\nbut printed is\n{said}", part.join("\n"));
    }
    assert_eq!(shown.lines().filter(|line| *line != "…").count(), 7, "{shown}");
}

#[test]
fn the_entry_to_paste_is_the_one_that_the_program_prints() {
    let said = banner();
    let (_, behind) = said.split_once("claude_desktop_config.json\n").unwrap();
    let printed = serde_json::Deserializer::from_str(behind).into_iter().next().unwrap().unwrap();
    let shown = serde_json::from_str(&blocks("json")[0]).unwrap();
    let without_url = |mut entry: Value| {
        let url = entry["mcpServers"]["local-llm"]["args"][2].take();
        assert!(url.as_str().unwrap().starts_with("https://"), "{url}");
        assert!(url.as_str().unwrap().ends_with("/sse"), "{url}");
        entry
    };
    assert_eq!(without_url(shown), without_url(printed));
    for line in ["curl -k -o local-llm-ca.pem https://", "openssl x509 -in local-llm-ca.pem -noout"]
    {
        assert!(said.contains(line) && readme().contains(line), "{line}");
    }
}

#[test]
fn every_entry_for_a_client_is_json() {
    let entries = blocks("json");
    assert!(entries.len() > 1);
    for entry in entries {
        let entry: Value = serde_json::from_str(&entry).unwrap();
        let server = &entry["mcpServers"]["local-llm"];
        let starts_us = server["args"] == json!(["--transport", "stdio"]);
        let program = server["command"].as_str().unwrap().rsplit('/').next();
        assert_eq!(program, Some(if starts_us { "local-llm-mcp" } else { "npx" }), "{entry}");
    }
}

#[test]
fn the_tools_are_those_that_are_listed() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let listed = session.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let listed: Vec<_> =
        listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let shown: Vec<String> =
        table("| tool |").into_iter().map(|row| code(&row[0]).remove(0)).collect();
    assert_eq!(shown, listed);
}

#[test]
fn the_prompts_are_those_that_are_listed() {
    let house = Plan::new().start();
    let mut session = house.client().open();
    session.initialize("2025-11-25");
    let listed = session.ask("prompts/list", &json!({}))["result"]["prompts"].clone();
    let shown = table("| prompt |");
    assert_eq!(shown.len(), listed.as_array().unwrap().len());
    for (row, prompt) in shown.iter().zip(listed.as_array().unwrap()) {
        let (required, optional) = row[1].split_once('[').unwrap();
        let mut names = code(&row[0]);
        names.extend(code(required.split(", also").next().unwrap()));
        let count = names.len();
        names.extend(code(optional));
        let arguments = prompt["arguments"].as_array().unwrap();
        let listed = arguments.iter().map(|argument| &argument["name"]);
        assert!(std::iter::once(&prompt["name"]).chain(listed).eq(&names), "{row:?}");
        for (at, argument) in arguments.iter().enumerate() {
            assert_eq!(argument["required"], at + 1 < count, "{row:?}");
        }
    }
}

/// What the README shows of files is taken by the program as it stands.
#[test]
fn the_files_that_are_shown_are_understood() {
    let shown = blocks("toml");
    let [config_file, prompt] = shown.as_slice() else { panic!("{shown:?}") };
    let scratch = Scratch::new();
    let file = scratch.put("x.toml", config_file);
    scratch.put("desk.token", "sk-desk");
    scratch.put("prompts/translate.toml", prompt);
    let prompts = scratch.file("prompts");
    let arguments =
        ["--config", file.to_str().unwrap(), "--prompts-dir", prompts.to_str().unwrap()];
    let arguments = arguments.map(str::to_owned);
    let environment = [("HOME".to_owned(), "/home/pi".to_owned())].into_iter().collect();
    let flags = config::parse(&arguments).unwrap().unwrap();
    let config = config::resolve(&flags, &environment).unwrap();
    assert_eq!(config.upstreams[0].name, "desk");
    assert_eq!(config.prompts[0].name, "translate");
}

#[test]
fn the_flags_are_those_of_the_help() {
    let mut helped: Vec<Flag> = options(&help()).iter().map(|option| Flag::of(option)).collect();
    helped.retain(|flag| flag.name != "--help");
    let shown: Vec<Flag> = table("| flag |")
        .into_iter()
        .map(|row| {
            let default = row[2].trim_matches('`').trim_matches('–').to_owned();
            let variables = code(&row[1]).into_iter().collect();
            Flag { name: code(&row[0]).remove(0), variables, default }
        })
        .collect();
    assert!(shown.len() > 20);
    assert_eq!(shown, helped);
}

#[test]
fn the_limits_are_those_of_the_program() {
    let limits = format!("{:#?}", Limits::new(u64::MAX));
    let all: Vec<(String, String)> = limits
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
        .map(|(name, value)| (name.to_owned(), quantity(name, value.parse().unwrap())))
        .collect();
    let shown: Vec<(String, String)> = table("| limit |")
        .into_iter()
        .map(|row| (code(&row[0]).remove(0), row[1].clone()))
        .collect();
    assert!(shown.len() > 20);
    assert_eq!(shown, all);
}

#[test]
fn the_fields_of_health_are_those_that_it_has() {
    let house = Plan::https().start();
    let health = house.tls_client().get("/health").json();
    let rows = table("| field |");
    let shown: BTreeSet<String> = rows.iter().flat_map(|row| code(&row[0])).collect();
    let fields = health.as_object().unwrap();
    assert_eq!(shown, fields.keys().cloned().collect::<BTreeSet<_>>());
    for row in rows {
        let field = &health[&code(&row[0])[0]];
        for name in field.as_object().into_iter().flat_map(|field| field.keys()) {
            assert!(code(&row[1]).contains(name), "{name} of {}", row[0]);
        }
    }
}

#[test]
fn every_code_of_a_failed_call_is_explained() {
    let mut written = BTreeSet::new();
    for file in ["src/upstream/error.rs", "src/tools/outcome.rs", "src/transport/lanes.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let is_code = |text: &&str| {
            text.len() > 5 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        written.extend(text.split('"').filter(is_code).map(str::to_owned));
    }
    let shown: BTreeSet<String> =
        table("| code |").into_iter().map(|row| code(&row[0]).remove(0)).collect();
    assert!(shown.len() > 12);
    assert_eq!(shown, written);
}

#[test]
fn every_variable_and_refusal_that_is_named_exists() {
    let mut source = String::new();
    for file in [
        "config/flags.rs",
        "config/upstream.rs",
        "config/whereabouts.rs",
        "edge/error.rs",
        "transport/sse.rs",
    ] {
        source += &fs::read_to_string(root().join("src").join(file)).unwrap();
    }
    for row in table("| status |") {
        for code in code(&row[1]) {
            assert!(source.contains(&format!("\"{code}\"")), "no refusal has the code {code}");
        }
    }
    let ours = |word: &String| {
        ["MCP_", "LM_", "LMSTUDIO_", "HTTPS_"].iter().any(|start| word.starts_with(start))
    };
    for name in code(&readme()).into_iter().filter(ours) {
        let name = name.split('=').next().unwrap();
        assert!(source.contains(name), "no setting reads {name}");
    }
}

#[test]
fn every_command_of_ours_is_understood() {
    let mut seen = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let words = line.trim_start_matches("sudo -u local-llm-mcp ");
        let Some(arguments) = words.strip_prefix("local-llm-mcp ") else { continue };
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        assert!(config::parse(&arguments).unwrap().is_ok(), "{line}");
        seen += 1;
    }
    assert!(seen > 5);
}

#[test]
fn every_file_and_heading_that_is_pointed_to_exists() {
    let readme = readme();
    let headings: BTreeSet<String> = readme.lines().filter_map(anchor).collect();
    let targets: Vec<&str> =
        readme.split("](").skip(1).map(|text| text.split(')').next().unwrap()).collect();
    assert!(targets.len() > 10);
    for target in targets {
        match target.strip_prefix('#') {
            Some(heading) => assert!(headings.contains(heading), "no heading is #{heading}"),
            None => assert!(root().join(target).exists(), "{target} is not there"),
        }
    }
    let words = readme.split(|c: char| c.is_whitespace() || "`()[]".contains(c));
    let scripts: BTreeSet<&str> =
        words.filter(|word| word.starts_with("scripts/") || word.starts_with(".ci/")).collect();
    assert!(scripts.len() > 2);
    for script in scripts {
        let found = fs::metadata(root().join(script)).unwrap();
        assert!(found.permissions().mode() & 0o111 != 0, "{script} cannot be run");
    }
    let examples: Vec<&str> = readme.split("--example ").skip(1).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let name = example.split_whitespace().next().unwrap();
        assert!(root().join(format!("examples/{name}.rs")).exists(), "{name}");
    }
}

#[test]
fn the_first_screen_is_no_longer_than_a_screen() {
    let first = readme().lines().position(|line| line.starts_with("## ")).unwrap();
    assert!(first <= 52, "{first} lines");
}

/// A flag as a person sees it.
#[derive(Debug, PartialEq)]
struct Flag {
    name: String,
    variables: BTreeSet<String>,
    /// Empty where there is none.
    default: String,
}

impl Flag {
    /// From its lines in the help: `--name   what it is (TWIN; default value)`.
    fn of(option: &str) -> Self {
        let (name, rest) = option.split_once(' ').unwrap();
        let told = rest.rsplit_once('(').map_or("", |(_, told)| told.trim_end_matches(')'));
        let is_variable = |word: &&str| {
            word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        let words = told.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let default = told.split_once("default").map_or("", |(_, value)| value);
        Self {
            name: name.trim_end_matches(',').to_owned(),
            variables: words.filter(is_variable).map(str::to_owned).collect(),
            default: default.trim_start_matches(':').trim().to_owned(),
        }
    }
}

/// The options of the help, each in one line.
fn options(help: &str) -> Vec<String> {
    let (_, options) = help.split_once("Options:").unwrap();
    let (options, _) = options.split_once("Commands:").unwrap();
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    options.split("\n  --").skip(1).map(|text| one_line(&format!("--{text}"))).collect()
}

fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_local-llm-mcp")).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What the real program prints with a stand-in for LM Studio behind it.
fn banner() -> String {
    let stand_in = StandIn::start(Script::default());
    let variables = [("LM_STUDIO_URL", &*stand_in.url()), ("MCP_STATE_DIR", "certs")];
    // The line of the model server comes last.
    Program::start(&variables).until(|line| line.starts_with("  upstream "))
}

/// A line of the banner without what differs from machine to machine and from day to day.
fn masked(line: &str) -> String {
    let line = line.split("     (and ").next().unwrap();
    let line = line.split("  until ").next().unwrap();
    let line = line.split("  SHA-256 ").next().unwrap();
    match line.split_once("://") {
        Some((before, rest)) => {
            let authority = rest.split(['/', ' ']).next().unwrap();
            format!("{before}://HOST{}", rest.strip_prefix(authority).unwrap())
        }
        None => line.to_owned(),
    }
}

/// A number as people read it, in the unit that the name ends with.
fn quantity(name: &str, value: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    if name.contains("_bytes") {
        if value.is_multiple_of(MIB) {
            format!("{} MiB", value / MIB)
        } else {
            format!("{} KiB", value / KIB)
        }
    } else if name.contains("_ms") {
        format!("{} s", value / 1000)
    } else if value >= 1000 {
        format!("{},{:03}", value / 1000, value % 1000)
    } else {
        value.to_string()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("```{language}\n");
    let block = |text: &str| text.split("```").next().unwrap().to_owned();
    readme.split(&fence).skip(1).map(block).collect()
}

/// The rows of the table whose first line begins like this, each cell trimmed.
fn table(head: &str) -> Vec<Vec<String>> {
    let readme = readme();
    let rows = readme.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let cells = |row: &str| {
        let row = row.trim_start_matches('|').trim_end_matches('|');
        row.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands in backticks.
fn code(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The anchor that a heading gets.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix("##")?.trim_start_matches('#').trim().to_lowercase();
    let kept = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-';
    Some(heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}
