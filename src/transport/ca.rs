//! `GET /ca.pem`: the certificate of our own CA, for a client that is to trust it.

use std::fmt;
use std::sync::Arc;

use crate::edge::{Exchange, Refusal, Reply};

/// Where the CA's certificate comes from; `None` when the server has none of its own.
#[derive(Clone)]
pub struct CaPem(pub Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>);

impl CaPem {
    pub(super) fn answer(&self, exchange: Exchange) {
        let reply = match (self.0)() {
            Some(body) => Reply {
                status: 200,
                content_type: "application/x-pem-file",
                fields: Vec::new(),
                body,
            },
            None => Reply::from(&Refusal::NoRoute),
        };
        exchange.respond(reply);
    }
}

impl fmt::Debug for CaPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaPem")
    }
}
