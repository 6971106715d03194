//! Who is there: the model servers by name and URL, from one place. Knows nothing else of them.

use super::error::ConfigError;
use super::flags::Flags;
use super::report::Origin;
use super::resolve::NONE;
use super::source::{Given, Setting, Source};
use super::url::Url;

/// Name, URL, and which `[[upstream]]` of the file it is.
pub(super) type Named = (Given, Given, Option<usize>);

/// Who is there by name: by flag, by variable, or in the file.
pub(super) fn named(source: &Source<'_>, flags: &Flags) -> Result<Vec<Named>, ConfigError> {
    let of_file = |at| source.file.given("upstream.name", Some(at));
    let mut in_file = Vec::with_capacity(source.file.upstreams);
    for at in 0..source.file.upstreams {
        let url = source.file.given("upstream.url", Some(at));
        let (Some(name), Some(url)) = (of_file(at), url) else {
            return Err(ConfigError::conflict(
                format!("[[upstream]] number {} of the file has no name or no url", at + 1),
                "write name = \"desk\" and url = \"http://desk.lan:1234\" below it",
            ));
        };
        in_file.push((check_name(name)?, url, Some(at)));
    }
    let joined = (!flags.upstream.is_empty()).then(|| flags.upstream.join(","));
    let Some(given) = source.given(UPSTREAM, joined.as_deref()) else { return Ok(in_file) };
    let mut all = Vec::new();
    for part in given.parts() {
        let Some((name, url)) = part.text.split_once('=') else {
            let remedy = "type it as in desk=http://desk.lan:1234";
            return Err(part.wrong("is not name=url", remedy));
        };
        let of_part = |text: &str| Given { text: text.trim().to_owned(), origin: part.origin };
        let name = check_name(of_part(name))?;
        let element = in_file.iter().find(|(known, ..)| known.text == name.text);
        let element = element.and_then(|(_, _, element)| *element);
        all.push((name, of_part(url), element));
    }
    Ok(all)
}

fn check_name(name: Given) -> Result<Given, ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=32).contains(&name.text.len()) && name.text.bytes().all(plain) {
        return Ok(name);
    }
    let remedy = "use letters, digits, '_', '.' and '-', at most 32, as in desk";
    Err(name.wrong("cannot name a model server", remedy))
}

/// The one server of those who have one.
pub(super) fn single(source: &Source<'_>, flags: &Flags) -> Option<Given> {
    let of_file = |given: &Given| given.origin.line().is_some();
    let given = source.given(URL, flags.lm_studio_url.as_deref());
    match given {
        Some(given) if !of_file(&given) => Some(given),
        given => host_and_port(source).or(given),
    }
}

/// Chooses between the list and the single server and notes both down.
pub(super) fn decide(
    source: &mut Source<'_>,
    named: Vec<Named>,
    single: Option<Given>,
) -> Result<Vec<Named>, ConfigError> {
    let listed = named.first().map(|(_, url, _)| url.origin);
    if let (Some(listed), Some(single)) = (listed, &single)
        && listed.rank() == single.origin.rank()
    {
        let (one, other) = (listed.setting(), single.origin.setting());
        return Err(ConfigError::conflict(
            format!("{one} and {other} both say where the model server is"),
            format!("leave out {other}"),
        ));
    }
    let rank = single.as_ref().map_or(Origin::Default, |single| single.origin).rank();
    if let Some(listed) = listed.filter(|listed| listed.rank() > rank) {
        let names: Vec<&str> = named.iter().map(|(name, ..)| name.text.as_str()).collect();
        source.note(URL, "not used", Origin::Default);
        source.note(UPSTREAM, names.join(","), listed);
        return Ok(named);
    }
    let default = || Given { text: URL_DEFAULT.to_owned(), origin: Origin::Default };
    let url = single.unwrap_or_else(default);
    source.note(URL, parse_url(&url)?, url.origin);
    source.note(UPSTREAM, NONE, Origin::Default);
    let is_default = |(name, ..): &&Named| name.text == NAME_DEFAULT;
    let element = named.iter().find(is_default).and_then(|(_, _, element)| *element);
    let name = Given { text: NAME_DEFAULT.to_owned(), origin: Origin::Default };
    Ok(vec![(name, url, element)])
}

/// The pair that older servers of this kind are configured with.
fn host_and_port(source: &Source<'_>) -> Option<Given> {
    let host = source.variable("LMSTUDIO_HOST");
    let port = source.variable("LMSTUDIO_PORT");
    let origin = host.as_ref().or(port.as_ref())?.origin;
    let host = host.map_or_else(|| "localhost".to_owned(), |host| host.text);
    let host = if host.contains("://") { host } else { format!("http://{host}") };
    let port = port.map_or_else(|| PORT_DEFAULT.to_owned(), |port| port.text);
    let has_port = Url::parse(&host).is_some_and(|url| url.port.is_some());
    let text = if has_port { host } else { format!("{host}:{port}") };
    Some(Given { text, origin })
}

pub(super) fn parse_url(given: &Given) -> Result<String, ConfigError> {
    let remedy = "type it as in http://192.168.1.5:1234";
    let url = Url::parse(given.text.trim()).ok_or_else(|| given.wrong("is not a URL", remedy))?;
    // Other clients are configured with the OpenAI-compatible part's path, and people copy it.
    let path = url.path.strip_suffix("/v1").unwrap_or(&url.path);
    Ok(format!("{}{path}", url.origin()))
}

const URL: Setting =
    Setting { flag: "--lm-studio-url", key: "lm_studio_url", variables: &["LM_STUDIO_URL"] };
const URL_DEFAULT: &str = "http://localhost:1234";
/// LM Studio's own.
const PORT_DEFAULT: &str = "1234";
const UPSTREAM: Setting = Setting { flag: "--upstream", key: "", variables: &["MCP_UPSTREAMS"] };
/// What the server is called that has no name.
pub(super) const NAME_DEFAULT: &str = "default";
