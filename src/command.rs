//! What the program does instead of serving: tokens, certificates, `--check`. Writes to the given
//! output; opens no socket.

mod granting;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::{
    AuthError, Authenticator, Door, Interfaces, Store, TokenSources, machine_name, system_now_s,
};
use crate::cert::{self, CertError, Certificates, Made};
use crate::config::{
    self, AuthAction, ClientAction, Command, Config, ConfigError, GrantsAction, HTTPS_PORT_DEFAULT,
    Proof, TokenAction, TokenAdd,
};
use crate::tools::{self, Selection, UnknownTool};

/// Does what was asked for. Errors: it cannot be done, and nothing was changed.
pub fn run(command: &Command, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    match command {
        Command::Token(token) => {
            let store = Store::new(&config.state_folder);
            match &token.action {
                TokenAction::Add(add) => token_add(&store, add, config, out),
                TokenAction::List(_) => token_list(&store, config, out),
                TokenAction::Revoke(revoke) => token_revoke(&store, &revoke.name, out),
            }
        }
        Command::Auth(auth) => {
            let AuthAction::Passphrase(how) = &auth.action;
            granting::passphrase(config, how.stdin, out)
        }
        Command::Grants(grants) => match &grants.action {
            GrantsAction::List(_) => granting::list_grants(config, out),
            GrantsAction::Revoke(revoke) => granting::revoke_grant(config, &revoke.id, out),
        },
        Command::Client(client) => match &client.action {
            ClientAction::Add(add) => granting::add_client(config, add, out),
            ClientAction::List(_) => granting::list_clients(config, out),
            ClientAction::Remove(remove) => granting::remove_client(config, &remove.name, out),
        },
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
    let (home_open, oauth) = (config.home_open, config.oauth.is_some());
    let door = Door { home_open, oauth, clock: Arc::new(system_now_s) };
    let authenticator = Authenticator::open_with(sources, door)?;
    check_passphrase(config, &authenticator)?;
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

/// Errors: OAuth is to ask for a passphrase that was never made.
pub fn check_passphrase(config: &Config, authenticator: &Authenticator) -> Result<(), AuthError> {
    let asks = config.oauth.is_some_and(|oauth| oauth.proof == Proof::Passphrase);
    if asks && authenticator.passphrase().is_none() {
        return Err(AuthError::NoPassphrase);
    }
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
    add: &TokenAdd,
    config: &Config,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let name = &add.name;
    let until = add.days.map(|days| system_now_s() + i64::from(days) * 86_400);
    let token = store.add_until(name, system_now_s(), until)?;
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
    let records = store.read()?.tokens;
    let width = records.iter().map(|record| record.name.len()).max().unwrap_or(0);
    for record in &records {
        let (name, id) = (&record.name, record.id());
        let used = record.used_s.map_or_else(|| "never".to_owned(), cert::day);
        write!(out, "{name:width$}  made {}  used {used}", cert::day(record.created_s))?;
        match record.expires_s {
            Some(ends) if ends <= system_now_s() => write!(out, "  ended {}", cert::day(ends))?,
            Some(ends) => write!(out, "  ends {}", cert::day(ends))?,
            None => {}
        }
        writeln!(out, "  id {id}")?;
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
    let left = store.revoke(name)?;
    writeln!(out, "The token {name} is revoked; a running server refuses it within a second.")?;
    if left.tokens.is_empty() {
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
    let made = cert::make(&config.state_folder, &machine, &addresses, &extras, system_now_s())?;
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
    if let Some(url) = config.public_url() {
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
