//! MCP on a wire, and the pages beside it: routes an admitted exchange to what answers it.
//!
//! Names no tool and no upstream.

mod answer;
mod ca;
mod era;
mod event_stream;
mod health;
mod house;
mod lanes;
mod legacy;
mod line_pipe;
mod page;
mod replies;
mod sse;
mod stdio;
mod streamable;

use std::fmt;
use std::sync::Arc;

use crate::edge::{Access, Exchange, Handler, Route};

pub use ca::CaPem;
pub use health::{Health, HealthSource};
pub use house::{House, HouseSettings, now_s};
pub use lanes::{LaneLimits, Lanes, Taker};
pub use legacy::Legacy;
pub use sse::Sse;
pub use stdio::{Stdio, StdioLimits};
pub use streamable::Streamable;

/// What answers a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Page,
    Health,
    Ca,
    Sse,
    Messages,
    Mcp,
}

/// Every path that exists, in the order of [`ROUTES`]'s numbers.
const ENDPOINTS: [(Endpoint, Route); 6] = [
    (Endpoint::Page, Route { path: "/", ..OPEN }),
    (Endpoint::Health, Route { path: "/health", ..OPEN }),
    (Endpoint::Ca, Route { path: "/ca.pem", ..OPEN }),
    // A POST here is a 405, which makes clients that try Streamable HTTP first fall back.
    (
        Endpoint::Sse,
        Route {
            path: "/sse",
            allow: "GET, OPTIONS",
            access: Access::Principals,
            streams: true,
            alone: false,
            resource: "/sse",
        },
    ),
    (
        Endpoint::Messages,
        Route {
            path: "/messages",
            allow: "POST, OPTIONS",
            access: Access::Principals,
            streams: false,
            alone: false,
            // What is announced for /messages would not be a prefix of the URL that people type.
            resource: "/sse",
        },
    ),
    (
        Endpoint::Mcp,
        Route {
            path: "/mcp",
            allow: "GET, POST, DELETE, OPTIONS",
            access: Access::Principals,
            streams: true,
            alone: true,
            resource: "/mcp",
        },
    ),
];

/// A page for everyone.
const OPEN: Route = Route {
    path: "",
    allow: "GET, HEAD, OPTIONS",
    access: Access::Open,
    streams: false,
    alone: false,
    resource: "",
};

/// The routes, for the gate; those of [`Router::beyond`] follow.
pub fn routes() -> impl ExactSizeIterator<Item = Route> {
    ENDPOINTS.iter().map(|(_, route)| *route)
}

/// Brings each admitted exchange to its endpoint.
pub struct Router {
    /// `GET /health`.
    pub health: Health,
    /// `GET /ca.pem`.
    pub ca: CaPem,
    /// `GET /sse` and `POST /messages`.
    pub sse: Arc<Sse>,
    /// `/mcp`.
    pub streamable: Arc<Streamable>,
    /// What answers the routes behind [`routes`].
    pub beyond: Option<Arc<dyn Handler>>,
}

impl Handler for Router {
    fn handle(&self, exchange: Exchange) {
        let endpoint = ENDPOINTS.get(exchange.admitted.route).map(|(endpoint, _)| *endpoint);
        match (endpoint, &self.beyond) {
            (None, Some(beyond)) => beyond.handle(exchange),
            (endpoint, _) => self.answer(endpoint, exchange),
        }
    }
}

impl Router {
    fn answer(&self, endpoint: Option<Endpoint>, exchange: Exchange) {
        match endpoint {
            Some(Endpoint::Page) => page::answer(exchange),
            Some(Endpoint::Health) => self.health.answer(exchange),
            Some(Endpoint::Ca) => self.ca.answer(exchange),
            Some(Endpoint::Sse) => self.sse.open(exchange),
            Some(Endpoint::Messages) => self.sse.post(exchange),
            Some(Endpoint::Mcp) => self.streamable.answer(exchange),
            // The gate admits known routes only; dropped, the exchange gets a 500.
            None => log::error!("a route without an endpoint; please report it"),
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}
