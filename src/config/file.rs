//! The optional configuration file: found, read, and every key of it known before any is used.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::flags::Flags;
use super::keys::{KEYS, Kind, UPSTREAM, file_keys};
use super::report::Origin;
use super::resolve::state_folder_of;
use super::source::{Environment, Given, Setting};
use super::toml::{self, Entry, Value};
use crate::near::near;

/// What a configuration file says; nothing, where there is none.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) path: Option<PathBuf>,
    /// How it was chosen.
    pub(super) origin: Option<Origin>,
    given: Vec<Known>,
    /// How many `[[upstream]]` it has.
    pub(super) upstreams: usize,
}

#[derive(Debug)]
struct Known {
    key: &'static str,
    upstream: Option<usize>,
    line: u32,
    text: String,
}

impl File {
    /// What it says for a key, in one of its `[[upstream]]` or in none.
    pub(super) fn given(&self, key: &str, upstream: Option<usize>) -> Option<Given> {
        let known = self.given.iter().find(|it| it.key == key && it.upstream == upstream)?;
        let origin = Origin::File { key: known.key, line: known.line };
        Some(Given { text: known.text.clone(), origin })
    }
}

/// Finds and reads it: the named one, else the one in the current folder, else the one in the state
/// folder. Errors: a named one that is not there, one that cannot be read, an unknown key.
pub(super) fn open(
    flags: &Flags,
    environment: &Environment,
    bytes_max: usize,
) -> Result<File, ConfigError> {
    let flag = flags.config.as_deref().map(|path| (path, Origin::Flag(CONFIG.flag)));
    let variable = CONFIG
        .variables
        .iter()
        .find_map(|name| environment.value(name).map(|path| (path, Origin::Environment(name))));
    if let Some((path, origin)) = flag.or(variable) {
        let path = PathBuf::from(path);
        let text = read(&path, bytes_max);
        let text = text.map_err(|error| ConfigError::File(origin, path.clone(), error))?;
        return parse(&text, path, Some(origin));
    }
    let state_folder = state_folder_of(flags, environment).ok();
    for folder in [Some(PathBuf::new()), state_folder].into_iter().flatten() {
        let path = folder.join(NAME);
        match read(&path, bytes_max) {
            Ok(text) => return parse(&text, path, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ConfigError::File(Origin::Default, path, error)),
        }
    }
    Ok(File::default())
}

/// Reads a text file of at most so many bytes.
pub(super) fn read(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    fs::File::open(path)?.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

fn parse(text: &str, path: PathBuf, origin: Option<Origin>) -> Result<File, ConfigError> {
    let entries = toml::read(text)
        .map_err(|wrong| ConfigError::at(&path, wrong.line, wrong.what, "correct that line"))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut file = File { origin, ..File::default() };
    for entry in entries {
        let line = entry.line;
        let known = known(entry, folder, &mut file.upstreams)
            .map_err(|(what, remedy)| ConfigError::at(&path, line, what, remedy))?;
        file.given.extend(known);
    }
    file.path = Some(path);
    Ok(file)
}

/// An entry as one of the known keys. Errors: what is wrong, and what to write.
fn known(
    entry: Entry,
    folder: &Path,
    upstreams: &mut usize,
) -> Result<Option<Known>, (String, String)> {
    let Entry { path, element, line, value } = entry;
    let name = path.split('.').next().unwrap_or_default();
    let list = "write [[upstream]] on a line, and its keys below".to_owned();
    match value {
        Value::Element if path == UPSTREAM => {
            *upstreams += 1;
            return Ok(None);
        }
        _ if name == UPSTREAM && element.is_none() => {
            return Err((format!("{UPSTREAM} is a list"), list));
        }
        Value::Element => return Err((format!("[[{path}]] is no list of this file"), list)),
        Value::Table if is_table(&path) => return Ok(None),
        _ => {}
    }
    let Some((key, kind)) = KEYS.iter().find(|(key, _)| *key == path) else {
        return Err(unknown(&path, matches!(value, Value::Table)));
    };
    let text = match (kind, value) {
        (Kind::Text | Kind::List, Value::Text(text)) | (Kind::Number, Value::Integer(text)) => text,
        (Kind::Path, Value::Text(text)) if text.trim().is_empty() => text,
        (Kind::Path, Value::Text(text)) => folder.join(text).to_string_lossy().into_owned(),
        (Kind::List, Value::List(parts)) => parts.join(","),
        (Kind::Flag, Value::Flag(flag)) => flag.to_string(),
        (_, value) => {
            let what = format!("{key} is {}, not {}", value.kind(), kind.name());
            return Err((what, format!("write {}", kind.name())));
        }
    };
    Ok(Some(Known { key, upstream: element, line, text }))
}

fn is_table(path: &str) -> bool {
    file_keys().any(|key| key.split_once('.').is_some_and(|(table, _)| table == path))
}

/// What to say of a key that there is not. A secret is refused too: such files are copied, shown
/// and kept in places that others read.
fn unknown(path: &str, is_table: bool) -> (String, String) {
    let name = path.rsplit('.').next().unwrap_or_default();
    if SECRETS.contains(&name) {
        return (
            format!("{path} would keep a secret in this file"),
            "name a file that holds it with token_file, or in [[upstream]] a variable with \
             token_env"
                .to_owned(),
        );
    }
    let what = if is_table { format!("[{path}]") } else { path.to_owned() };
    let mut known = near(path, file_keys());
    if known.is_empty() {
        known = file_keys().filter(|key| key.rsplit('.').next() == Some(name)).collect();
    }
    let remedy = if known.is_empty() {
        "packaging/local-llm-mcp.toml has them all".to_owned()
    } else {
        format!("perhaps {}", known.join(" or "))
    };
    (format!("{what} is no key of this file"), remedy)
}

const NAME: &str = "local-llm-mcp.toml";
pub(super) const CONFIG: Setting =
    Setting { flag: "--config", key: "", variables: &["MCP_CONFIG"] };
const SECRETS: [&str; 6] = ["token", "api_token", "api_key", "password", "secret", "bearer"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<File, String> {
        let path = PathBuf::from("/etc/llm/x.toml");
        parse(text, path, None).map_err(|error| error.to_string())
    }

    #[test]
    fn values_become_what_a_flag_would_say() {
        let file = parsed(
            "san = ['a.lan', 'b.lan']\nport = 4_010\nhome_open = true\ncert = 'c.pem'\n\
             key = '/k.pem'\ntools.profile = 'full'\n[[upstream]]\nname = 'a'\n[[upstream]]\n\
             name = 'b'\ntoken_file = 'b.token'\n[generation]\ndefault_max_tokens = 9\n",
        )
        .unwrap();
        assert_eq!(file.upstreams, 2);
        let text = |key, upstream| file.given(key, upstream).map(|given| given.text);
        for (key, upstream, expected) in [
            ("san", None, "a.lan,b.lan"),
            ("port", None, "4010"),
            ("home_open", None, "true"),
            ("cert", None, "/etc/llm/c.pem"),
            ("key", None, "/k.pem"),
            ("tools.profile", None, "full"),
            ("upstream.name", Some(0), "a"),
            ("upstream.name", Some(1), "b"),
            ("upstream.token_file", Some(1), "/etc/llm/b.token"),
            ("generation.default_max_tokens", None, "9"),
        ] {
            assert_eq!(text(key, upstream).as_deref(), Some(expected), "{key}");
        }
        assert_eq!(text("upstream.token_file", Some(0)), None);
        let origin = file.given("port", None).unwrap().origin;
        assert_eq!(origin, Origin::File { key: "port", line: 2 });
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_line_and_the_near_ones() {
        for (text, said) in [
            ("\nportt = 1", "/etc/llm/x.toml:2: portt is no key of this file; perhaps port"),
            (
                "[tools]\nprofil = 'x'",
                ":2: tools.profil is no key of this file; perhaps tools.prof",
            ),
            ("profile = 'full'", ":1: profile is no key of this file; perhaps tools.profile"),
            ("frobnicate = 1", ":1: frobnicate is no key of this file; packaging/local-llm-mcp"),
            ("[toolz]", ":1: [toolz] is no key of this file; "),
            ("[upstream]", ":1: upstream is a list; write [[upstream]]"),
            ("upstream.url = 'x'", ":1: upstream is a list; write [[upstream]]"),
            ("[[tools]]", ":1: [[tools]] is no list of this file; write [[upstream]]"),
            (
                "[[upstream]]\nulr = 'x'",
                ":2: upstream.ulr is no key of this file; perhaps upstream",
            ),
            ("port = '1'", ":1: port is text, not a whole number; write a whole number"),
            ("host = 1", ":1: host is a number, not text in quotes; write text in quotes"),
            ("home_open = 'yes'", ":1: home_open is text, not true or false; "),
            ("san = [1]", ":1: a list holds text, not a number; correct that line"),
            ("token = 'x'", ":1: token would keep a secret in this file; name a file"),
            ("[[upstream]]\napi_key = 'x'", ":2: upstream.api_key would keep a secret in this"),
            ("a = ", ":1: "),
        ] {
            let told = parsed(text).unwrap_err();
            assert!(told.contains(said), "{text}: {told}");
        }
    }
}
