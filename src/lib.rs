//! The language models of a home network behind the Model Context Protocol: one binary, threads
//! and blocking I/O, no async runtime.
//!
//! This page is the map of the code. What the program does for the person who runs it stands in
//! README.md.
//!
//! # Bird's eye
//!
//! ```text
//!                       ┌──────────────── /mcp, alone ──────────────────┐
//! client ──TCP/TLS──▶ edge ──Unix socket──▶ tiny_http ──▶ edge workers ──▶ transport
//!                     one thread a                        Exchange          │ sse, mcp,
//!                     connection; gate                                      │ health, page
//!                        ▲                                                  ▼
//!                        └── event stream ◀── session (outbox) ◀── mcp (dispatch)
//!                                                                           │ calls
//!             model server ◀──HTTP── upstream ◀── tools ◀── transport::lanes ┘
//! ```
//!
//! The real sockets belong to [`edge`]. It reads one request head strictly, decides who may go on
//! before a byte of the body is read, and writes the request again in canonical form to tiny_http,
//! which stands behind it on a Unix socket. So tiny_http parses only what the edge wrote, and no
//! client ever waits on another: the edge takes each reply whole and brings it to its client at
//! that client's pace.
//!
//! # How a request walks
//!
//! 1. An accept thread takes a connection under a permit. A `tls-n` thread does the handshake on a
//!    deep stack and then starts `conn-n` with a shallow one, which serves the connection from
//!    there on.
//! 2. `conn-n` reads a head (`edge::head`, pure) and asks the gate (`edge::gate`, pure): is the
//!    peer at home, is the Host ours, the Origin, the route, the method, the bearer. A refusal is
//!    written at once and nothing else of the house hears of it.
//! 3. It reads the body under its limits. A request to `/mcp` of moderate size goes on alone, on this
//!    very thread: nobody else waits for it, and every hand-over would cost more than most answers
//!    do. Any other is sent over a pooled Unix connection with a ticket, which an `edge-n` worker
//!    redeems for what the gate found out ([`edge::Admitted`]); no header of a client can stand in
//!    for it.
//! 4. Whoever has the [`edge::Exchange`] now hands it to [`transport::Router`]. The pages are
//!    answered from memory. `POST /messages` is answered 202 first and then worked on.
//!    On `/mcp` `transport::era` tells from body and headers whether a request stands alone or
//!    belongs to a session; a reply is JSON, or a stream when something comes before the result.
//! 5. [`mcp`] says what a message is: a reply at once, a call, a cancel, or nothing. Quick calls
//!    run on the thread that took them while not too many do; what generates runs on the thread of
//!    the stream that answers, where `/mcp` has one, and so many at once as [`transport::Lanes`] has
//!    places for; what is left over goes to a bounded pool. A quick call that waits for its model
//!    server looks after its client itself ([`cancel::Cancel::look`]); while a stream's thread is at
//!    work, `edge::minder` looks after the stream.
//! 6. A tool asks the [`upstream`] and returns a result; a failure is a result too. The reply and
//!    all progress go into the session's outbox, which is bounded and never blocks the one who
//!    sends.
//! 7. An event stream belongs to the client's own connection thread, renamed `sse-…`. It holds the
//!    [`edge::EventSource`] that `transport::sse` handed over and sleeps until the [`edge::Bell`]
//!    rings, the client leaves, or the heartbeat is due. Whoever rings the bell sends what waits
//!    on the spot while the socket takes it at once; else the stream's own thread does, at its
//!    client's pace.
//!
//! On stdio there is no edge: `transport::stdio` reads lines, has calls run in the same lanes, and
//! one thread writes what is to be said.
//!
//! Work is stopped in one way: a [`cancel::Cancel`] fires, and its hook closes the socket on which
//! the model server answers. It fires when the client asks, when its stream ends, at a deadline,
//! and at shutdown.
//!
//! # The rooms
//!
//! | room | is | never |
//! |---|---|---|
//! | `main.rs` | flags, settings, logging, a command or the server, an exit code | holds logic |
//! | [`config`] | what was typed or is in the configuration file, where each value came from, one validated [`config::Config`], the list of limits | is passed into rooms whole; each has small settings of its own |
//! | [`command`] | what the program does instead of serving: tokens, certificates, `--check` | opens a socket |
//! | [`server`] | builds the rooms, owns every handle, starts in order, stops in reverse; the banner | is used by anything but `main` |
//! | [`edge`] | sockets, TLS and HTTP, from the listener to an admitted exchange and back | knows JSON-RPC or MCP |
//! | [`transport`] | MCP on a wire, and the pages beside it | names a tool or the upstream |
//! | [`session`] | ids, who owns one, what waits to be sent | knows a socket |
//! | [`mcp`] | the protocol: values in, values out | names a socket, header, thread, clock or tool |
//! | [`tools`] | what is offered: one file a tool | knows a transport |
//! | [`upstream`] | LM Studio's HTTP API and its OpenAI-compatible kin | knows MCP |
//! | [`oauth`] | the authorization server: clients, the owner's consent, codes and tokens on the wire | keeps what is granted; shows anything that is not escaped |
//! | [`auth`] | who is asking: tokens, grants, the home rule, principals, how often strangers may try | knows HTTP |
//! | [`cert`] | our own CA and leaf or the owner's files: made, checked, taken up anew | knows a socket or a setting |
//! | [`observe`] | the log's promise, the access line | knows a protocol |
//! | [`seal`] | text that a client keeps for us and cannot make or change | knows what it says |
//! | [`cancel`] | the one way to stop work | knows what is stopped |
//! | [`chime`] | the one way to wake a poll | knows who waits |
//! | [`worker`] | the one way to make a thread and to take a lock | leaves a thread unjoined |
//! | [`near`] | the names most like a mistyped one | knows what is named |
//! | [`order`] | the one copy of the sort | knows what is sorted |
//! | [`files`] | a file replaced in one step, and seen to have changed | knows what is in it |
//!
//! # Who may use whom
//!
//! - `main` uses `config`, `command`, `observe` and `server`; nobody else uses `server`, which uses
//!   everything.
//! - `command` uses `config`, `auth`, `cert`, `oauth` and `tools`; `config` uses `auth`, for what
//!   counts as home, and `near`.
//! - `transport` uses `edge`, `session`, `mcp`, `observe`, `worker`, `chime` and `cancel`.
//! - `oauth` uses `edge`, `auth`, `seal` and `worker`.
//! - `edge` uses `auth`, `observe`, `worker`, `chime` and `cancel`.
//! - `session` uses `mcp`, `auth`, `seal`, `files` and `cancel`.
//! - `tools` uses `mcp`, `upstream`, `near` and `cancel`.
//! - `upstream` uses `cancel` and `worker`; `mcp` uses `cancel` and `seal`.
//! - `auth`, `cert` and `seal` use `files`.
//! - `observe`, `cancel`, `chime`, `near`, `worker` and `files` use nothing. Taking a lock (`worker::lock`) and
//!   putting things in order (`order`) are open to all.
//!
//! `tests/it/architecture.rs` reads the source and names the file and the arrow that breaks this.
//! What a room needs and may not import, `server` puts in: the status that `/health` shows, the
//! limits of each room, the source of random bytes.
//!
//! # What is never there
//!
//! - No async runtime, no OpenSSL, no unsafe code, and one copy of rustls and of ring.
//! - No queue, pool, map, body, head, stream or wait without a limit; all stand in
//!   [`config::Limits`] with their reasons.
//! - No read that cannot be ended: sockets of clients are polled, those of the upstream are shut
//!   down.
//! - No worker that waits on a client, and no lock held across I/O or a callback, but for the one
//!   that puts the writes of one event stream in a row; who rings only tries it.
//! - No thread without a name and somebody who joins it, but for those inside tiny_http.
//! - No stranger's body is read: the gate decides first.
//! - No text of a client behind the edge that the edge did not write again.
//! - No tool failure as a protocol error: it is a result that says what happened and what to do.
//! - No token or key in the log at any level, none on disk but as a digest, none as a flag.
//! - No panic on input from outside: `unwrap`, `expect` and indexing are lints, and a bug that
//!   panics all the same ends one request.
//! - No file of the owner's that is written over: certificates of others are only read.
//!
//! # Lexicon
//!
//! | word | means |
//! |---|---|
//! | client | the MCP side: Claude Desktop, mcp-remote, an SDK |
//! | upstream | the model server behind us |
//! | exchange | one HTTP request with its reply |
//! | call | one `tools/call` |
//! | session | what `GET /sse` opens and `POST /messages` names; on `/mcp`, what `initialize` opens and its signed id names |
//! | era | with a handshake (until 2025-11-25) or without (2026-07-28) |
//! | kept | what is remembered of a session on `/mcp` beside its id |
//! | stream | an open event stream; a ghost is one whose client never posted |
//! | peer | the other end of a socket; at home or not |
//! | principal | who is asking: `home`, the holder of a token, or a client with a grant |
//! | site | a public URL: the issuer and audience of what is granted under its name |
//! | login | a client's request for access, on its way through the owner's browser |
//! | grant | what a login gave: one client's access until it is revoked, with all its tokens |
//! | lane | where a call runs: slow ones generate, quick ones ask and return |
//! | gate | the decision over peer, machine and head, before the body |
//! | front | the part of the edge that owns a client's connection |
//! | ticket | by which a worker finds what the gate admitted |
//! | state folder | where CA, certificate, token store and session key live |
//!
//! # Where a change goes
//!
//! | to add or change | touch |
//! |---|---|
//! | a tool | a file in `tools/`, one line in `tools/toolbox.rs`; `tools/profile.rs` where a profile other than `full` shows it |
//! | a prompt, a resource | `tools/catalogue.rs`; `tools/resources.rs` and `tools/address.rs` |
//! | a call to the model server | `upstream/`: the request in its own file, its failures in `fault.rs` and `error.rs` |
//! | a protocol revision | `mcp/revision.rs`, `mcp/shape.rs`, and which era a request is of in `transport/era.rs` |
//! | a transport | a file in `transport/`, its routes in `transport/mod.rs` |
//! | a page or endpoint | the same |
//! | a flag | `config/flags.rs`, `config/keys.rs`, its resolver in `config/`, the README's table, `packaging/local-llm-mcp.toml` |
//! | a limit | `config/limits.rs`, `server/limits.rs`, the README's table, a test that crosses it |
//! | what a client of OAuth sees | `oauth/`: a file an endpoint; `oauth/page.rs` for the owner's page |
//! | what is kept of tokens and grants | `auth/state.rs`, with a default for files that lack it |
//! | a rule of who is let in | `auth/`, and `edge/gate.rs` where it is applied |
//! | a header or a refusal | `edge/head.rs`, `edge/error.rs`; what web pages are told, `edge/cors.rs` |
//! | words for the person who starts it | `server/banner.rs`, `server/error.rs`, and the README, which a test holds against the real output |
//! | an arrow between rooms | the list above and the table in `tests/it/architecture.rs` |
//!
//! # Tests
//!
//! `tests/it` is one binary of behaviors: the house in one process or the real program, with raw
//! sockets before it and a scripted model server behind it. `tests/clients` runs clients of others
//! against the release build. `.ci/run` runs everything.

pub mod auth;
pub mod cancel;
pub mod cert;
pub mod chime;
pub mod command;
pub mod config;
pub mod edge;
pub mod files;
pub mod mcp;
pub mod near;
pub mod oauth;
pub mod observe;
pub mod order;
pub mod seal;
pub mod server;
pub mod session;
pub mod tools;
pub mod transport;
pub mod upstream;
pub mod worker;
