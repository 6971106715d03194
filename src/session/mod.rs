//! Sessions of the revisions that have them: ids, who owns one, what waits to be sent.
//!
//! Knows no socket. The stateless path of later revisions never enters this room.

mod id;
mod outbox;
mod registry;

pub use id::SessionId;
pub use outbox::{Next, Outbox, Refused, Sent};
pub use registry::{Ended, Registry, Session, SessionCounts, SessionLimits};
