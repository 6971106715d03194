//! The command line. The doc comments are the help; values are parsed later, in one place with
//! those of the environment.

use argh::FromArgs;

use super::error::ConfigError;

/// local-llm-mcp puts the language models of a home network behind the Model Context Protocol.
/// Every flag has a twin in the environment, given in parentheses; a flag wins over it, and it over
/// the configuration file.
#[derive(FromArgs, Debug, Default)]
pub struct Flags {
    /// the configuration file (MCP_CONFIG; default local-llm-mcp.toml in the current folder or in
    /// the state folder, if it is there)
    #[argh(option, arg_name = "file")]
    pub config: Option<String>,
    /// how clients come: https, http, stdio, or a list as in https,http; dual is https,stdio
    /// (MCP_TRANSPORT; default https)
    #[argh(option, arg_name = "list")]
    pub transport: Option<String>,
    /// the address to listen on: an IP address or localhost (HOST; default: all of this machine)
    #[argh(option, arg_name = "address")]
    pub host: Option<String>,
    /// the port, where there is one listener; 0 takes a free one (PORT)
    #[argh(option, arg_name = "port")]
    pub port: Option<String>,
    /// the port for https (HTTPS_PORT; default 3010)
    #[argh(option, arg_name = "port")]
    pub https_port: Option<String>,
    /// the port for http (HTTP_PORT; default 3000)
    #[argh(option, arg_name = "port")]
    pub http_port: Option<String>,
    /// a certificate chain of your own in PEM, together with --key (HTTPS_CERT_PATH)
    #[argh(option, arg_name = "file")]
    pub cert: Option<String>,
    /// its private key in PEM (HTTPS_KEY_PATH)
    #[argh(option, arg_name = "file")]
    pub key: Option<String>,
    /// a further name or address for our own certificate; may be repeated (CERT_SAN)
    #[argh(option, arg_name = "name")]
    pub san: Vec<String>,
    /// where certificates and tokens are kept (MCP_STATE_DIR; default certs in the current folder
    /// if it is there, else ~/.local/state/local-llm-mcp)
    #[argh(option, arg_name = "folder")]
    pub state_dir: Option<String>,
    /// where LM Studio is (LM_STUDIO_URL; default http://localhost:1234)
    #[argh(option, arg_name = "url")]
    pub lm_studio_url: Option<String>,
    /// a file with LM Studio's API token (LM_API_TOKEN_FILE; the token itself in LM_API_TOKEN)
    #[argh(option, arg_name = "file")]
    pub lm_studio_token_file: Option<String>,
    /// a model server as name=url, in place of the above; may be repeated (MCP_UPSTREAMS)
    #[argh(option, arg_name = "name=url")]
    pub upstream: Vec<String>,
    /// the model of calls that name none (DEFAULT_MODEL; default: the one that is loaded)
    #[argh(option, arg_name = "name")]
    pub model: Option<String>,
    /// seconds to reach LM Studio (MCP_CONNECT_TIMEOUT_S; default 5)
    #[argh(option, arg_name = "seconds")]
    pub connect_timeout_s: Option<String>,
    /// seconds until the first token (MCP_PREFILL_TIMEOUT_S; default 600)
    #[argh(option, arg_name = "seconds")]
    pub prefill_timeout_s: Option<String>,
    /// seconds between two tokens (MCP_IDLE_TIMEOUT_S; default 120)
    #[argh(option, arg_name = "seconds")]
    pub idle_timeout_s: Option<String>,
    /// seconds for one call as a whole (MCP_CALL_TIMEOUT_S; default 900)
    #[argh(option, arg_name = "seconds")]
    pub call_timeout_s: Option<String>,
    /// which tools clients see: minimal, standard, full or classic (MCP_PROFILE; default standard)
    #[argh(option, arg_name = "name")]
    pub profile: Option<String>,
    /// tools to show or hide besides, as in +name,-name; may be repeated (MCP_TOOLS)
    #[argh(option, arg_name = "list")]
    pub tools: Vec<String>,
    /// a folder with prompts of your own (MCP_PROMPTS_DIR)
    #[argh(option, arg_name = "folder")]
    pub prompts_dir: Option<String>,
    /// a file with one bearer token a line (MCP_TOKEN_FILE; one token itself in MCP_TOKEN)
    #[argh(option, arg_name = "file")]
    pub token_file: Option<String>,
    /// let the home network in without a token although tokens exist (MCP_HOME_OPEN)
    #[argh(switch)]
    pub home_open: bool,
    /// let Claude's connectors and other clients in over OAuth, after the owner's passphrase or
    /// after a code on the server's console: passphrase or console (MCP_OAUTH)
    #[argh(option, arg_name = "proof")]
    pub oauth: Option<String>,
    /// seconds that an access token lives (MCP_OAUTH_ACCESS_S; default 28800)
    #[argh(option, arg_name = "seconds")]
    pub oauth_access_s: Option<String>,
    /// seconds that a refresh token works again after its use, for clients that share one
    /// (MCP_OAUTH_GRACE_S; default 600)
    #[argh(option, arg_name = "seconds")]
    pub oauth_grace_s: Option<String>,
    /// where clients outside reach this server; may be repeated (MCP_PUBLIC_URL)
    #[argh(option, arg_name = "url")]
    pub public_url: Vec<String>,
    /// the address of a reverse proxy in front, which is believed about who the client is, and
    /// through which everyone needs a token; may be repeated (MCP_TRUSTED_PROXY)
    #[argh(option, arg_name = "address")]
    pub trusted_proxy: Vec<String>,
    /// a further host name that clients may use; may be repeated (MCP_ALLOW_HOST)
    #[argh(option, arg_name = "name")]
    pub allow_host: Vec<String>,
    /// a web page's origin that may use this server; may be repeated (MCP_ALLOW_ORIGIN)
    #[argh(option, arg_name = "origin")]
    pub allow_origin: Vec<String>,
    /// what to log: a level, or module=level, comma separated (MCP_LOG, then RUST_LOG; default
    /// warn,local_llm_mcp=info)
    #[argh(option, arg_name = "filter")]
    pub log: Option<String>,
    /// a file to log to as well (MCP_LOG_FILE)
    #[argh(option, arg_name = "file")]
    pub log_file: Option<String>,
    /// print every setting with where it comes from, and exit
    #[argh(switch)]
    pub check: bool,
    /// print the version, and exit
    #[argh(switch)]
    pub version: bool,
    /// what to do instead of serving
    #[argh(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Command {
    /// Bearer tokens.
    Token(TokenCommand),
    /// The owner's passphrase.
    Auth(AuthCommand),
    /// What was granted over OAuth.
    Grants(GrantsCommand),
    /// Clients that are known beforehand.
    Client(ClientCommand),
    /// The certificate.
    Cert(CertCommand),
}

/// make, list and revoke the tokens that clients send
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "token")]
pub struct TokenCommand {
    /// what to do with tokens
    #[argh(subcommand)]
    pub action: TokenAction,
}

/// What to do with tokens.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum TokenAction {
    /// Makes one.
    Add(TokenAdd),
    /// Lists them.
    List(TokenList),
    /// Revokes one.
    Revoke(TokenRevoke),
}

/// make a token and print it, once
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "add")]
pub struct TokenAdd {
    /// what to call it, as in laptop
    #[argh(positional)]
    pub name: String,
    /// days until it ends; never where nothing is given
    #[argh(option, arg_name = "number")]
    pub days: Option<u32>,
}

/// list the tokens by name
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub struct TokenList {}

/// revoke a token
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "revoke")]
pub struct TokenRevoke {
    /// what it is called
    #[argh(positional)]
    pub name: String,
}

/// make the owner's passphrase, which allows a client's login
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "auth")]
pub struct AuthCommand {
    /// what to do
    #[argh(subcommand)]
    pub action: AuthAction,
}

/// What to do with the owner's passphrase.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum AuthAction {
    /// Makes a new one.
    Passphrase(AuthPassphrase),
}

/// make a new passphrase and print it, once; the one before ends
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "passphrase")]
pub struct AuthPassphrase {
    /// take one of your own from the first line of stdin instead
    #[argh(switch)]
    pub stdin: bool,
}

/// list and revoke what was granted over OAuth
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "grants")]
pub struct GrantsCommand {
    /// what to do with grants
    #[argh(subcommand)]
    pub action: GrantsAction,
}

/// What to do with grants.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum GrantsAction {
    /// Lists them.
    List(GrantsList),
    /// Revokes one.
    Revoke(GrantsRevoke),
}

/// list the grants with their clients
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub struct GrantsList {}

/// revoke a grant with all its tokens
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "revoke")]
pub struct GrantsRevoke {
    /// its id, or the beginning of it
    #[argh(positional)]
    pub id: String,
}

/// make, list and remove clients with an id and a secret, for a connector's advanced settings
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "client")]
pub struct ClientCommand {
    /// what to do with clients
    #[argh(subcommand)]
    pub action: ClientAction,
}

/// What to do with clients.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum ClientAction {
    /// Makes one.
    Add(ClientAdd),
    /// Lists them.
    List(ClientList),
    /// Removes one.
    Remove(ClientRemove),
}

/// make a client and print its id and secret, once
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "add")]
pub struct ClientAdd {
    /// what to call it, as in claude
    #[argh(positional)]
    pub name: String,
    /// where its logins end; may be repeated (default: those of Claude's connectors)
    #[argh(option, arg_name = "uri")]
    pub redirect_uri: Vec<String>,
}

/// list the clients
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "list")]
pub struct ClientList {}

/// remove a client with all its grants
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "remove")]
pub struct ClientRemove {
    /// what it is called
    #[argh(positional)]
    pub name: String,
}

/// make or renew the certificate ahead of the first start
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "cert")]
pub struct CertCommand {
    /// names and addresses besides those of this machine
    #[argh(positional)]
    pub names: Vec<String>,
}

/// Reads a command line without the program's name. `Ok(Err(text))` is help that was asked for.
/// `--flag=value` is understood as `--flag value`, and a flag of the server may also stand behind
/// a command.
/// Errors: [`ConfigError::Usage`].
pub fn parse(arguments: &[String]) -> Result<Result<Flags, String>, ConfigError> {
    let arguments = in_order(arguments);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match Flags::from_args(&["local-llm-mcp"], &arguments) {
        Ok(flags) => Ok(Ok(flags)),
        Err(exit) if exit.status.is_ok() => Ok(Err(exit.output)),
        Err(exit) => {
            let words: Vec<&str> = exit.output.split_whitespace().collect();
            let sentence = words.join(" ").trim_end_matches('.').to_owned();
            Err(ConfigError::Usage(sentence))
        }
    }
}

/// Splits `--flag=value` and puts the state folder before the command, since argh takes options
/// only there and people type them last.
fn in_order(arguments: &[String]) -> Vec<String> {
    let mut first = Vec::new();
    let mut rest = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.split_once('=') {
            Some((flag, value)) if flag == MOVABLE => first.extend([flag.into(), value.into()]),
            Some((flag, value)) if flag.starts_with("--") => {
                rest.extend([flag.to_owned(), value.to_owned()]);
            }
            _ if argument == MOVABLE => {
                first.push(argument.clone());
                first.extend(arguments.next().cloned());
            }
            _ => rest.push(argument.clone()),
        }
    }
    first.extend(rest);
    first
}

/// The flag that commands use too.
const MOVABLE: &str = "--state-dir";
