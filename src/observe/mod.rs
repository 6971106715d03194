//! What the house says of itself: log lines, the access line, counters. Knows no protocol.

mod access;
mod log;

pub use self::log::{LogError, escaped, start};
pub use access::AccessLine;
