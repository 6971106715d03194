//! The owner's own prompts: a folder of TOML files, read at the start.

use std::fs;
use std::path::{Path, PathBuf};

use super::Limits;
use super::error::ConfigError;
use super::file::read;
use super::flags::Flags;
use super::report::Origin;
use super::resolve::path;
use super::source::{Setting, Source};
use super::toml::{self, Entry, Value};

use crate::order;

/// A prompt as its file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPrompt {
    /// `[A-Za-z0-9_.-]{1,64}`; no two are the same.
    pub name: String,
    /// What people read in the menu.
    pub description: String,
    /// In the order of the file.
    pub arguments: Vec<OwnArgument>,
    /// `{{name}}` stands for an argument; every name is one of `arguments`.
    pub text: String,
}

/// An argument of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnArgument {
    /// `[A-Za-z0-9_.-]{1,64}`.
    pub name: String,
    /// For people.
    pub description: String,
    /// `None`: the prompt needs a value.
    pub default: Option<String>,
}

/// Reads every `*.toml` of the folder, in the order of their names.
/// Errors: a file that is no prompt, with its line; too many or too large ones; a name twice.
pub(super) fn prompts(
    source: &mut Source<'_>,
    flags: &Flags,
    limits: &Limits,
) -> Result<Vec<OwnPrompt>, ConfigError> {
    let origin = source.given(PROMPTS, flags.prompts_dir.as_deref()).map(|given| given.origin);
    let folder = source.optional(PROMPTS, flags.prompts_dir.as_deref(), path)?;
    let Some((folder, origin)) = folder.zip(origin) else { return Ok(Vec::new()) };
    let mut prompts: Vec<OwnPrompt> = Vec::new();
    for path in files(&folder, origin)? {
        if prompts.len() == limits.prompts_max {
            return Err(ConfigError::conflict(
                format!(
                    "{} has more than prompts_max ({}) prompts",
                    folder.display(),
                    prompts.len()
                ),
                "move some of them elsewhere",
            ));
        }
        let text = read(&path, limits.prompt_file_bytes_max)
            .map_err(|error| ConfigError::File(origin, path.clone(), error))?;
        let (line, prompt) = prompt(&text)
            .map_err(|(line, what, remedy)| ConfigError::at(&path, line, what, remedy))?;
        if prompts.iter().any(|other| other.name == prompt.name) {
            let what = format!("another file has the name {:?} already", prompt.name);
            return Err(ConfigError::at(&path, line, what, "choose another name"));
        }
        prompts.push(prompt);
    }
    Ok(prompts)
}

fn files(folder: &Path, origin: Origin) -> Result<Vec<PathBuf>, ConfigError> {
    let wrong = |error| ConfigError::File(origin, folder.to_owned(), error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    Ok(order::rising(paths))
}

/// Line, what is wrong, and what to write.
type Fault = (u32, String, String);

fn fault(line: u32, what: impl Into<String>, remedy: impl Into<String>) -> Fault {
    (line, what.into(), remedy.into())
}

/// Reads a prompt, with the line of its name.
fn prompt(text: &str) -> Result<(u32, OwnPrompt), Fault> {
    let entries = toml::read(text).map_err(|it| fault(it.line, it.what, "correct that line"))?;
    let mut prompt = OwnPrompt::default();
    let (mut name_line, mut text_line) = (1, 1);
    for Entry { path, line, value, .. } in entries {
        let last = prompt.arguments.last_mut();
        match (path.as_str(), value, last) {
            ("name", Value::Text(name), _) => (name_line, prompt.name) = (line, named(name, line)?),
            ("description", Value::Text(text), _) => prompt.description = text,
            ("text", Value::Text(text), _) => (text_line, prompt.text) = (line, text),
            ("arguments", Value::Element, _) => prompt.arguments.push(OwnArgument::default()),
            ("arguments.name", Value::Text(name), Some(last)) => last.name = named(name, line)?,
            ("arguments.description", Value::Text(text), Some(last)) => last.description = text,
            ("arguments.default", Value::Text(text), Some(last)) => last.default = Some(text),
            (_, value, _) => return Err(unknown(&path, line, &value)),
        }
    }
    for (value, what) in
        [(&prompt.name, "name"), (&prompt.description, "description"), (&prompt.text, "text")]
    {
        if value.trim().is_empty() {
            let remedy = format!("write {what} = \"…\" before the first [[arguments]]");
            return Err(fault(1, format!("the prompt has no {what}"), remedy));
        }
    }
    check_arguments(&prompt, name_line, text_line)?;
    Ok((name_line, prompt))
}

fn unknown(path: &str, line: u32, value: &Value) -> Fault {
    if KEYS.contains(&path) {
        let remedy = if path == "arguments" {
            "write [[arguments]] on a line, and name, description and default below"
        } else {
            "write text in quotes"
        };
        return fault(line, format!("{path} cannot be {}", value.kind()), remedy);
    }
    let remedy = "a prompt has name, description, text, and [[arguments]] with name, description \
                  and default";
    fault(line, format!("{path} is no key of a prompt"), remedy)
}

fn check_arguments(prompt: &OwnPrompt, name_line: u32, text_line: u32) -> Result<(), Fault> {
    let names = order::rising(prompt.arguments.iter().map(|it| it.name.as_str()).collect());
    if names.contains(&"") {
        return Err(fault(name_line, "an argument has no name", "write name = \"…\" below it"));
    }
    if let Some(name) = twice(&names) {
        return Err(fault(name_line, format!("two arguments are named {name}"), "rename one"));
    }
    for part in prompt.text.split("{{").skip(1) {
        let name = part.split_once("}}").map(|(name, _)| name.trim());
        match name {
            Some(name) if names.contains(&name) => {}
            Some(name) => {
                let what = format!("the text has {{{{{name}}}}}, but no argument has that name");
                return Err(fault(text_line, what, "write [[arguments]] with it below the text"));
            }
            None => return Err(fault(text_line, "the text has {{ without }}", "close it")),
        }
    }
    Ok(())
}

/// A name that stands twice in a sorted list.
fn twice<'a>(names: &[&'a str]) -> Option<&'a str> {
    let pairs = names.iter().zip(names.iter().skip(1));
    pairs.into_iter().find_map(|(one, other)| (one == other).then_some(*one))
}

/// A name as the protocol has them.
fn named(name: String, line: u32) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    let what = format!("{name:?} is no name");
    Err(fault(line, what, "use letters, digits, '_', '.' and '-', at most 64"))
}

const KEYS: [&str; 7] = [
    "name",
    "description",
    "text",
    "arguments",
    "arguments.name",
    "arguments.description",
    "arguments.default",
];
const PROMPTS: Setting =
    Setting { flag: "--prompts-dir", key: "prompts_dir", variables: &["MCP_PROMPTS_DIR"] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_read_from_its_file() {
        let text = "name = 'greet'\ndescription = 'Greets.'\ntext = '''\nHello {{who}}, {{ how }}.\n\
                    '''\n[[arguments]]\nname = 'who'\ndescription = 'Whom.'\n[[arguments]]\n\
                    name = 'how'\ndefault = 'well'\n";
        let (line, prompt) = prompt(text).unwrap();
        assert_eq!((line, prompt.name.as_str()), (1, "greet"));
        assert_eq!(prompt.text, "Hello {{who}}, {{ how }}.\n");
        let argument = |name: &str, description: &str, default: Option<&str>| OwnArgument {
            name: name.to_owned(),
            description: description.to_owned(),
            default: default.map(str::to_owned),
        };
        let expected = [argument("who", "Whom.", None), argument("how", "", Some("well"))];
        assert_eq!(prompt.arguments, expected);
    }

    #[test]
    fn what_is_no_prompt_is_told_with_its_line() {
        let head = "name = 'a'\ndescription = 'b'\n";
        for (text, line, what) in [
            ("name = 'a b'".to_owned(), 1, "\"a b\" is no name"),
            ("\nnme = 'a'".to_owned(), 2, "nme is no key of a prompt"),
            ("name = 1".to_owned(), 1, "name cannot be a number"),
            (head.to_owned(), 1, "the prompt has no text"),
            ("name = 'a'\ntext = 'b'".to_owned(), 1, "has no description"),
            (format!("{head}text = '{{{{x}}}}'"), 3, "{{x}}, but no argument"),
            (format!("{head}text = '{{{{x'"), 3, "{{ without }}"),
            (format!("{head}text = 'c'\n[[arguments]]"), 1, "an argument has no name"),
            (format!("{head}text = 'c'\n[arguments]"), 4, "arguments cannot be a table"),
            (
                format!("{head}text = 'c'\n[[arguments]]\nname = 'x'\n[[arguments]]\nname = 'x'"),
                1,
                "two arguments are named x",
            ),
            (format!("{head}text = 'c\n"), 3, "string"),
        ] {
            let (told, said, remedy) = prompt(&text).unwrap_err();
            assert!(said.contains(what), "{text}: {said}");
            assert_eq!(told, line, "{text}: {said}");
            assert!(!remedy.is_empty());
        }
    }
}
