//! The language models of a home network behind the Model Context Protocol.
pub mod auth;
pub mod cancel;
pub mod cert;
pub mod command;
pub mod config;
pub mod edge;
pub mod files;
pub mod mcp;
pub mod observe;
pub mod server;
pub mod session;
pub mod tools;
pub mod transport;
pub mod upstream;
pub mod worker;
