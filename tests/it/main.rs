//! Behaviors of the whole house.

/// Certificates: made, renewed, loaded, refused and taken up anew.
mod certificates;
/// The command line of the real binary.
mod cli;
/// Folders for tests, and waiting.
mod scratch;
mod support;

/// The model server behind us: its kinds, its failures, and stopping it.
mod upstream;
