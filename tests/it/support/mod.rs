//! What the behaviors are tested against.

/// A client that speaks raw HTTP+SSE.
pub(crate) mod client;
/// The whole house in this process.
pub(crate) mod house;
/// The real binary in a process of its own.
pub(crate) mod program;
/// An LM Studio that does as it is told.
pub(crate) mod stand_in;
