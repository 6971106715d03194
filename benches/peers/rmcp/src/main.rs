//! The benchmark's second baseline: `list_models` on rmcp (Streamable HTTP on axum), with TCP_NODELAY,
//! in its default form with sessions, or in its fastest, without sessions and with plain JSON answers.
//!
//! Settings come from the environment: PORT, LM_STUDIO_URL, BASELINE_JSON for the fastest form, and
//! HTTPS_CERT_PATH with HTTPS_KEY_PATH, or MCP_TRANSPORT=http.

use std::env;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rmcp::model::{CallToolResult, ContentBlock, ServerCapabilities, ServerConfig};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, tool, tool_handler, tool_router};
use serde::Deserialize;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let baseline = Baseline {
        http: reqwest::Client::new(),
        models: format!("{}/v1/models", env::var("LM_STUDIO_URL")?),
    };
    let json = env::var_os("BASELINE_JSON").is_some();
    let service = StreamableHttpService::new(
        move || Ok(baseline.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(!json)
            .with_json_response(json),
    );
    let app = axum::Router::new().nest_service("/mcp", service);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?));
    if env::var("MCP_TRANSPORT").is_ok_and(|transport| transport == "http") {
        let acceptor = NoDelayAcceptor::new();
        axum_server::bind(address).acceptor(acceptor).serve(app.into_make_service()).await?;
        return Ok(());
    }
    let tls =
        RustlsConfig::from_pem_file(env::var("HTTPS_CERT_PATH")?, env::var("HTTPS_KEY_PATH")?)
            .await?;
    let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor::new());
    axum_server::bind(address).acceptor(acceptor).serve(app.into_make_service()).await?;
    Ok(())
}

#[derive(Clone)]
struct Baseline {
    http: reqwest::Client,
    models: String,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[tool_router]
impl Baseline {
    #[tool(description = "Lists the models")]
    async fn list_models(&self) -> Result<CallToolResult, ErrorData> {
        let models = self
            .fetch()
            .await
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let names: Vec<_> = models.data.into_iter().map(|model| model.id).collect();
        Ok(CallToolResult::success(vec![ContentBlock::text(names.join("\n"))]))
    }

    async fn fetch(&self) -> reqwest::Result<Models> {
        self.http.get(&self.models).send().await?.error_for_status()?.json().await
    }
}

#[tool_handler]
impl ServerHandler for Baseline {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}
