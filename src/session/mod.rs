//! Sessions of the revisions that have them: ids, who owns one, what waits to be sent.
//!
//! Knows no socket. The stateless path of later revisions never enters this room.

mod ended;
mod id;
mod outbox;
mod registry;
mod replay;
mod streams;
mod talk;
mod ticket;

pub use ended::EndedIds;
pub use id::SessionId;
pub use outbox::{Next, Outbox, Refused, Sent};
pub use registry::{Ended, Registry, Session, SessionCounts, SessionLimits};
pub use replay::{Heard, Replay, ReplayReader};
pub use streams::{Kept, KeptLimits, KeptSessions};
pub use talk::Talk;
pub use ticket::{LegacyTickets, Ticket};
