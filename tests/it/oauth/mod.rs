//! The authorization server: the 25 statements that it is held to, each a test with its number, real
//! sockets where they matter, and a store that is killed while it writes. The last statement is about
//! real clients and the owner's browser: tests/clients/scenarios/login.py.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail here"
)]

/// Gate and authorization server without sockets.
mod bench;
/// Simulated clients: the exact requests of hosted Claude and of Claude Code.
mod clients;
/// Codes, redirects and PKCE: statements 1 to 8.
mod codes;
/// Consent, clients and their documents: statements 9 to 12 and 19.
mod consent;
/// Strangers who ask as often as they can: statement 18.
mod flood;
/// The whole house over sockets.
mod house;
/// kill -9 against a model of what was acknowledged.
mod killed;
/// Tokens, audiences, limits: statements 13 to 18.
mod tokens;
/// The real way to the documents of clients.
mod wide;
