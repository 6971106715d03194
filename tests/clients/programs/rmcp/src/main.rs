//! rmcp's client for /mcp and stdio, driven by JSON-RPC lines: rmcp-client URL|stdio initialize|discover
//!
//! Every request is made with rmcp's own calls; a `notifications/cancelled` line cancels the call of
//! that id. With `initialize` it shakes hands, with `discover` it speaks 2026-07-28 and nothing else.
//! With stdio it starts the program that SERVER names. TRUST names the CA file, or `anything` for no
//! verification. Ends with its input.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam,
    ProgressToken, ProtocolVersion,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RoleClient, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Mutex, oneshot};

type Failure = Box<dyn Error + Send + Sync>;

/// The host's tokens by rmcp's own, which it puts in their place.
type Tokens = Arc<Mutex<HashMap<ProgressToken, Value>>>;

#[derive(Clone, Default)]
struct Host {
    tokens: Tokens,
}

impl ClientHandler for Host {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let token = self.tokens.lock().await.get(&progress.progress_token).cloned();
        let mut params = json!(progress);
        params["progressToken"] = token.into();
        write(&json!({"method": "notifications/progress", "params": params}));
    }
}

type Client = RunningService<RoleClient, Host>;

/// What the calls share: the client once it is connected, and a stop for each running call.
struct Bridge {
    client: Client,
    tokens: Tokens,
    stops: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

impl Bridge {
    async fn request(&self, method: &str, id: &Value, params: &Value) -> Result<Value, Failure> {
        match method {
            "initialize" => {
                let peer = self.client.peer_info().ok_or("no server has introduced itself")?;
                Ok(json!(*peer))
            }
            "tools/list" => Ok(json!(self.client.list_tools(None).await?)),
            "tools/call" => self.call(id, params).await,
            other => Err(format!("{other} is not known here").into()),
        }
    }

    async fn call(&self, id: &Value, params: &Value) -> Result<Value, Failure> {
        let asked: CallToolRequestParams = serde_json::from_value(
            json!({"name": params["name"], "arguments": params["arguments"]}),
        )?;
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(asked));
        let (stop, stopped) = oneshot::channel();
        self.stops.lock().await.insert(id.to_string(), stop);
        // Held until the token is known, so that no progress comes before it.
        let mut tokens = self.tokens.lock().await;
        let mut handle =
            self.client.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
        tokens.insert(handle.progress_token.clone(), params["_meta"]["progressToken"].clone());
        drop(tokens);
        tokio::select! {
            answer = &mut handle.rx => Ok(json!(answer??)),
            Ok(()) = stopped => {
                handle.cancel(Some("the user pressed stop".to_owned())).await?;
                Err("stopped".into())
            }
        }
    }

    async fn stop(&self, id: &Value) {
        if let Some(stop) = self.stops.lock().await.remove(&id.to_string()) {
            // A call that has just ended has nothing to stop.
            let _ = stop.send(());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a TLS provider is installed already")?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, lifecycle] = words.as_slice() else {
        return Err("usage: rmcp-client URL|stdio initialize|discover".into());
    };
    let host = Host::default();
    let tokens = Arc::clone(&host.tokens);
    let client = connect(host, url, lifecycle).await?;
    let bridge = Arc::new(Bridge { client, tokens, stops: Mutex::default() });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let message: Value = serde_json::from_str(&line)?;
        let bridge = Arc::clone(&bridge);
        if message.get("id").is_some() {
            tokio::spawn(async move { answer(&bridge, &message).await });
        } else if message["method"] == "notifications/cancelled" {
            bridge.stop(&message["params"]["requestId"]).await;
        }
    }
    bridge.client.cancellation_token().cancel();
    Ok(())
}

async fn connect(host: Host, url: &str, lifecycle: &str) -> Result<Client, Failure> {
    let lifecycle = match lifecycle {
        "initialize" => ClientLifecycleMode::Initialize,
        "discover" => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
        other => return Err(format!("{other} is no lifecycle").into()),
    };
    if url == "stdio" {
        let server = tokio::process::Command::new(std::env::var("SERVER")?);
        return Ok(host.serve_with_lifecycle(TokioChildProcess::new(server)?, lifecycle).await?);
    }
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(http_client()?, config);
    Ok(host.serve_with_lifecycle(transport, lifecycle).await?)
}

fn http_client() -> Result<reqwest::Client, Failure> {
    let builder = reqwest::Client::builder().no_proxy();
    let builder = match std::env::var("TRUST").as_deref() {
        Ok("anything") => builder.tls_danger_accept_invalid_certs(true),
        Ok(file) if !file.is_empty() => {
            builder.tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(file)?)?])
        }
        _ => builder,
    };
    Ok(builder.build()?)
}

async fn answer(bridge: &Bridge, message: &Value) {
    let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
    let mut reply = match bridge.request(method, id, &message["params"]).await {
        Ok(result) => json!({"result": result}),
        Err(error) => json!({"error": {"code": -32603, "message": error.to_string()}}),
    };
    bridge.stops.lock().await.remove(&id.to_string());
    reply["id"] = id.clone();
    write(&reply);
}

fn write(message: &Value) {
    let mut message = message.clone();
    message["jsonrpc"] = "2.0".into();
    println!("{message}");
}
