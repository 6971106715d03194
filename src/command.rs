//! What the program does instead of serving: tokens, certificates, `--check`. Writes to the given
//! output; opens no socket.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::auth::{AuthError, Authenticator, Interfaces, Store, TokenSources, machine_name};
use crate::cert::{self, CertError, Certificates, Made};
use crate::config::{self, Command, Config, ConfigError, HTTPS_PORT_DEFAULT, TokenAction};
use crate::tools::{self, Selection, UnknownTool};

/// Does what was asked for. Errors: it cannot be done, and nothing was changed.
pub fn run(command: &Command, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    match command {
        Command::Token(token) => {
            let store = Store::new(&config.state_folder);
            match &token.action {
                TokenAction::Add(add) => token_add(&store, &add.name, config, out),
                TokenAction::List(_) => token_list(&store, config, out),
                TokenAction::Revoke(revoke) => token_revoke(&store, &revoke.name, out),
            }
        }
        Command::Cert(cert) => make_certificate(&cert.names, config, out),
    }
}

/// Prints every setting with where it comes from, then says whether a server would start with
/// them as far as that can be told without opening a port or making a file.
/// Errors: it would not.
pub fn check(config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    write!(out, "{}", config.report)?;
    let sources = TokenSources {
        state_folder: config.state_folder.clone(),
        file: config.token_file.clone(),
        value: config.token.as_ref().map(|token| token.expose().to_owned()),
    };
    let authenticator = Authenticator::open(sources, config.home_open)?;
    config.check_exposure(authenticator.required())?;
    tools::check(&selection(&config.tools))?;
    if let Some(files) = config.certificate.clone().filter(|_| config.has_https()) {
        Certificates::open_foreign(&files.cert, &files.key)?;
    }
    let home = if authenticator.home_rule() { "the home network" } else { "nobody" };
    let tokens = authenticator.tokens();
    writeln!(out, "\naccess: {home} without a token; tokens known: {tokens}")?;
    Ok(())
}

/// Which tools the settings show.
pub(crate) fn selection(config: &config::ToolsConfig) -> Selection {
    Selection {
        profile: match config.profile {
            config::Profile::Minimal => tools::Profile::Minimal,
            config::Profile::Standard => tools::Profile::Standard,
            config::Profile::Full => tools::Profile::Full,
            config::Profile::Classic => tools::Profile::Classic,
        },
        enable: config.enable.clone(),
        disable: config.disable.clone(),
        aliases: !config.aliases.is_empty(),
    }
}

/// Why a command did not do what was asked. The process ends with exit code 2.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommandError {
    /// The settings cannot be followed.
    Config(ConfigError),
    /// The tokens cannot be read or changed.
    Auth(AuthError),
    /// A tool is to be shown or hidden that there is not.
    Tools(UnknownTool),
    /// The certificate cannot be made or used.
    Cert(CertError),
    /// Nobody reads what is printed.
    Output(io::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Auth(error) => error.fmt(f),
            Self::Tools(error) => error.fmt(f),
            Self::Cert(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot print ({error})"),
        }
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Auth(error) => error.source(),
            Self::Tools(_) => None,
            Self::Cert(error) => error.source(),
            Self::Output(error) => Some(error),
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<AuthError> for CommandError {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<UnknownTool> for CommandError {
    fn from(error: UnknownTool) -> Self {
        Self::Tools(error)
    }
}

impl From<CertError> for CommandError {
    fn from(error: CertError) -> Self {
        Self::Cert(error)
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn token_add(
    store: &Store,
    name: &str,
    config: &Config,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let token = store.add(name, now_s())?;
    let url = url_for_clients(config);
    // As in the entry that the server prints: our own CA is not known on the laptop.
    let own = config.has_https() && config.certificate.is_none();
    let trust = if own { "\"NODE_TLS_REJECT_UNAUTHORIZED\": \"0\", " } else { "" };
    writeln!(
        out,
        "The token {name}, shown only now:\n\n  {token}\n\n\
         Its entry for mcp-remote, under mcpServers:\n\n  \
         \"local-llm\": {{\n    \"command\": \"npx\",\n    \
         \"args\": [\"-y\", \"mcp-remote\", \"{url}\", \"--header\", \
         \"Authorization:${{AUTH_HEADER}}\"],\n    \
         \"env\": {{ {trust}\"AUTH_HEADER\": \"Bearer {token}\" }}\n  }}\n"
    )?;
    let rule = if config.home_open {
        "The home network is still let in without one (--home-open)."
    } else {
        "From now on every client needs a token; --home-open keeps the home network let in."
    };
    writeln!(
        out,
        "{rule}\nA running server knows it within a second ({}).",
        store.path().display()
    )?;
    Ok(())
}

fn token_list(store: &Store, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    let records = store.read()?;
    let width = records.iter().map(|record| record.name.len()).max().unwrap_or(0);
    for record in &records {
        let (name, id) = (&record.name, record.id());
        writeln!(out, "{name:width$}  made {}  id {id}", cert::day(record.created_s))?;
    }
    let file = config.token_file.as_ref().map(|path| path.display().to_string());
    let variable = config.token.as_ref().map(|_| "MCP_TOKEN".to_owned());
    for place in file.into_iter().chain(variable) {
        writeln!(out, "and what {place} holds")?;
    }
    if records.is_empty() {
        let store = store.path().display();
        writeln!(out, "{store} holds none; make one with: local-llm-mcp token add NAME")?;
    }
    Ok(())
}

fn token_revoke(store: &Store, name: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    store.revoke(name)?;
    writeln!(out, "The token {name} is revoked; a running server refuses it within a second.")?;
    if store.read()?.is_empty() {
        writeln!(
            out,
            "It was the last one of {}: after a restart the home network is let in without one.",
            store.path().display()
        )?;
    }
    Ok(())
}

fn make_certificate(
    extras: &[String],
    config: &Config,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let machine = machine_name();
    let extras: Vec<String> = config.extra_names.iter().chain(extras).cloned().collect();
    let addresses = Interfaces::new().addresses();
    let made = cert::make(&config.state_folder, &machine, &addresses, &extras, now_s())?;
    let opened = Certificates::open_own(&config.state_folder, &machine, &addresses, &extras)?;
    let summary = opened.summary();
    writeln!(out, "certificate  {}", summary.path.display())?;
    writeln!(out, "key          {}", summary.key_path.display())?;
    writeln!(out, "names        {}", summary.names.join(", "))?;
    writeln!(out, "expires      {}; issued again by itself before", summary.not_after)?;
    if let Some(authority) = &summary.authority {
        writeln!(out, "CA           {}", authority.path.display())?;
        writeln!(out, "SHA-256      {}", authority.fingerprint)?;
    }
    writeln!(
        out,
        "{}",
        match made {
            Made::AuthorityAndLeaf => "The CA is new: every client has to trust it once.",
            Made::Leaf => "The CA is the one that was there.",
        }
    )?;
    Ok(())
}

/// Where a client would connect, as far as the settings tell: what is public first, then an
/// address that others at home can reach.
fn url_for_clients(config: &Config) -> String {
    if let Some(url) = &config.public_url {
        return format!("{url}/sse");
    }
    let reachable = |address: &IpAddr| address.is_ipv4() && !address.is_loopback();
    let host = if config.host.is_unspecified() {
        Interfaces::new().addresses().into_iter().find(reachable)
    } else {
        Some(config.host)
    };
    let host = host.map_or_else(
        || "localhost".to_owned(),
        |host| if host.is_ipv6() { format!("[{host}]") } else { host.to_string() },
    );
    let listener = config.listeners.first();
    let scheme = listener.map_or("https", |listener| listener.scheme.as_str());
    // With stdio alone nobody needs a token; it is for a server that will listen.
    let port = listener.map_or(HTTPS_PORT_DEFAULT, |listener| listener.port);
    format!("{scheme}://{host}:{port}/sse")
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
