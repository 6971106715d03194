//! `GET /`: what this is and where to connect, as JSON or as a short page.

use serde_json::{Value, json};

use crate::edge::{Exchange, Reply};
use crate::mcp::{SERVER_NAME, SERVER_VERSION};

pub(super) fn answer(exchange: Exchange) {
    let accept = exchange.admitted.head.field("accept").unwrap_or_default();
    let reply = match &exchange.admitted.principal {
        None => Reply::json(200, little().to_string().into_bytes()),
        Some(_) if accept.contains("text/html") => page(&exchange),
        Some(_) => summary(),
    };
    exchange.respond(reply.with("Cache-Control", "no-store").with("Vary", "Accept"));
}

/// What callers without a token read of this server, once tokens exist.
pub(super) fn little() -> Value {
    json!({ "status": "ok", "version": SERVER_VERSION })
}

fn summary() -> Reply {
    let body = json!({
        "name": SERVER_NAME,
        "version": SERVER_VERSION,
        "description": "Language models of a home network behind the Model Context Protocol",
        "endpoints": { "mcp": "/mcp", "sse": "/sse", "health": "/health", "ca": "/ca.pem" },
    });
    Reply::json(200, body.to_string().into_bytes())
}

fn page(exchange: &Exchange) -> Reply {
    let scheme = if exchange.admitted.tls { "https" } else { "http" };
    // The gate let only local and configured names through; escaped all the same.
    let host = escaped(&exchange.admitted.head.host);
    let base = exchange.admitted.base();
    let body = PAGE
        .replace("{version}", SERVER_VERSION)
        .replace("{mcp}", &format!("{scheme}://{host}{base}/mcp"))
        .replace("{url}", &format!("{scheme}://{host}{base}/sse"));
    Reply {
        status: 200,
        content_type: "text/html; charset=utf-8",
        fields: Vec::new(),
        body: body.into_bytes(),
    }
    .with("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
    .with("X-Content-Type-Options", "nosniff")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const PAGE: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<title>local-llm-mcp</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}
pre{background:#f2f2f2;padding:.8rem;overflow-x:auto}</style>
<h1>local-llm-mcp {version}</h1>
<p>The language models of this home, for clients of the Model Context Protocol.</p>
<p>Connect a client to</p>
<pre>{url}</pre>
<p>or, when it speaks Streamable HTTP, to</p>
<pre>{mcp}</pre>
<p>Claude Desktop and other clients that start programs:</p>
<pre>npx -y mcp-remote {url}</pre>
<p><a href=\"/health\">Health</a> · <a href=\"/ca.pem\">CA certificate</a></p>
</html>
";
