//! The edge from outside: raw bytes over real sockets against a handler of the tests' own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail here"
)]

/// Bodies: framing, limits, budgets.
mod bodies;
/// Web pages of other origins, proxies with a prefix, methods.
mod browsers;
/// Many at once, and the inner listener's death.
mod bursts;
/// Who is let in: the decision as a table.
mod gate;
/// Request heads, row by row.
mod heads;
/// Connections: caps, stalls, descriptors, the end.
mod limits;
/// Whole replies, and clients that leave or do not read.
mod replies;
/// Event streams.
mod streams;
/// The edge under test, its handler and its clients.
mod support;
