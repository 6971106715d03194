//! Behaviors of the whole house.

/// The rooms and who may use whom.
mod architecture;
/// Certificates: made, renewed, loaded, refused and taken up anew.
mod certificates;
/// The command line of the real binary.
mod cli;
/// The edge from outside: raw bytes over real sockets.
mod edge;
/// Random bytes against the strict parsers.
mod head_properties;
/// Folders for tests, and waiting.
mod scratch;
mod support;

/// The model server behind us: its kinds, its failures, and stopping it.
mod upstream;
