//! What the behaviors are tested against.

/// A client that speaks raw HTTP+SSE.
pub(crate) mod client;
/// A model server whose machine is off.
pub(crate) mod deaf;
/// The whole house in this process.
pub(crate) mod house;
/// The real binary in a process of its own.
pub(crate) mod program;
/// The published schemas, and the check of one message.
pub(crate) mod schema;
/// The real binary, spoken to over stdin and stdout.
pub(crate) mod served;
/// An LM Studio that does as it is told.
pub(crate) mod stand_in;
/// Holds every message that is seen against the schemas.
pub(crate) mod witness;
