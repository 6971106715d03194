//! The benchmark's second baseline: `list_models` on rmcp in its default form (Streamable HTTP with
//! sessions, on axum), over TLS with TCP_NODELAY.
//!
//! Settings come from the environment: PORT, LM_STUDIO_URL, HTTPS_CERT_PATH, HTTPS_KEY_PATH.

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
    let service = StreamableHttpService::new(
        move || Ok(baseline.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let app = axum::Router::new().nest_service("/mcp", service);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?));
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
