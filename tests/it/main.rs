//! Behaviors of the whole house.

/// Who is let in, by home rule and by token.
mod access;
/// The rooms and who may use whom.
mod architecture;
/// What the person who starts the server reads, and pastes.
mod banner;
/// The protocol: negotiation, tools, calls, cancelling.
mod calls;
/// Certificates: made, renewed, loaded, refused and taken up anew.
mod certificates;
/// The command line of the real binary.
mod cli;
/// Real clients, where they are installed.
mod clients;
/// The configuration file and the owner's prompts, through the real binary.
mod config_file;
/// The edge from outside: raw bytes over real sockets.
mod edge;
/// Random bytes against the strict parsers.
mod head_properties;
/// `/health`, `/`, `/ca.pem`, and paths that are not there.
mod health;
/// Listeners, and a certificate that is renewed under open streams.
mod house;
/// README.md, held against the program.
mod mcp;
/// Logins of clients, and all that is given and taken by them.
mod oauth;
mod readme;
mod resources;
/// Folders for tests, and waiting.
mod scratch;
/// Signals, drains, and what is left afterwards.
mod shutdown;
/// HTTP+SSE on the wire.
mod sse;
/// The real binary, served over stdin and stdout.
mod stdio;
mod support;
/// Conversations in files: the traps of the protocol.
mod transcripts;

/// The model server behind us: its kinds, its failures, and stopping it.
mod tools_analyze;
mod tools_generate;
mod tools_manage;
mod upstream;
mod upstream_engine;
mod upstream_fleet;
mod upstream_manage;
