//! What the behaviors are tested against.

/// An LM Studio that does as it is told.
pub(crate) mod stand_in;
