//! What clients read first: RFC 9728 (protected resource) and RFC 8414 (authorization server).

use serde_json::{Value, json};

use super::WELL_KNOWN;
use crate::auth::SCOPE;
use crate::edge::{RESOURCE_METADATA, Reply, Site};

/// Answers a path below `/.well-known/`; anything unknown is a 404 in JSON, since some clients take
/// any other answer for a sign of OAuth and cannot read HTML.
pub(super) fn answer(path: &str, site: &Site) -> Reply {
    // Whether a proxy strips its prefix or not, and whether the client put it in the middle (as
    // RFC 8414 and RFC 9728 say) or at the beginning.
    let path =
        path.strip_prefix(site.prefix()).filter(|it| it.starts_with(WELL_KNOWN)).unwrap_or(path);
    let of = |known: &str| {
        let suffix = path.strip_prefix(known)?;
        let suffix = suffix.strip_prefix(site.prefix()).unwrap_or(suffix);
        RESOURCES.into_iter().find(|resource| *resource == suffix)
    };
    let document = match (of(RESOURCE_METADATA), of(SERVER_METADATA)) {
        (Some(resource), _) => protected_resource(site, resource),
        (_, Some(_)) => authorization_server(site),
        _ => return super::problem(404, "not_found", "there is no such document here"),
    };
    Reply::json(200, document.to_string().into_bytes()).with("Cache-Control", "max-age=300")
}

fn protected_resource(site: &Site, resource: &str) -> Value {
    let base = site.base();
    json!({
        "resource": format!("{base}{resource}"),
        "authorization_servers": [base],
        "scopes_supported": [SCOPE],
        "bearer_methods_supported": ["header"],
        "resource_name": "local-llm-mcp",
    })
}

fn authorization_server(site: &Site) -> Value {
    let base = site.base();
    let methods = ["none", "client_secret_post", "client_secret_basic"];
    json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "registration_endpoint": format!("{base}/register"),
        "revocation_endpoint": format!("{base}/revoke"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "scopes_supported": [SCOPE],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
    })
}

/// RFC 8414, section 3.
const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";
/// What is protected, below the site. POST /messages belongs to /sse.
const RESOURCES: [&str; 3] = ["", "/mcp", "/sse"];
