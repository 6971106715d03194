//! Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document): a client whose id is
//! the address of a document about it. Those of well-known clients are known here, so that nothing
//! has to be fetched.

use std::net::IpAddr;
use std::sync::Mutex;

use serde::Deserialize;

use super::client::{CLAUDE_REDIRECTS, Client, Secret, printable};
use super::uri::{Uri, is_redirect};
use crate::auth::{Interface, is_globally_routable, is_home_peer};
use crate::worker::lock;

/// A client whose document is known here, by its exact address.
pub(super) fn pinned(id: &str) -> Option<Client> {
    let (_, name, redirects) = PINNED.iter().find(|(known, ..)| *known == id)?;
    Some(Client {
        name: (*name).to_owned(),
        redirect_uris: redirects.iter().map(|&uri| uri.to_owned()).collect(),
        secret: Secret::None,
    })
}

/// Whether a text can be the address of a document: https on its own port, a name and no address, a
/// path, and nothing that could lead elsewhere.
pub(super) fn is_address(id: &str) -> bool {
    let Some(uri) = Uri::parse(id) else { return false };
    uri.scheme == "https"
        && uri.port.is_none()
        && !uri.is_address()
        && uri.host.contains('.')
        && uri.rest.len() > 1
        && !uri.rest.contains('?')
        && !uri.rest.split('/').any(|segment| [".", ".."].contains(&segment))
}

/// Whether a document may be fetched from an address: only from what the whole internet reaches and
/// that is not at home, since a stranger names it.
pub(super) fn may_reach(address: IpAddr, interfaces: &[Interface]) -> bool {
    let tunnel = |address: std::net::Ipv6Addr| {
        // Addresses that carry another one: Teredo and its kin (2001::/23), 6to4.
        let [a, b, ..] = address.segments();
        a == 0x2002 || (a == 0x2001 && b < 0x200)
    };
    match address.to_canonical() {
        IpAddr::V6(v6) if tunnel(v6) => false,
        other => is_globally_routable(other) && !is_home_peer(other, interfaces),
    }
}

/// Reads a document. `None`: it is none, or that of another client.
pub(super) fn read(id: &str, body: &[u8]) -> Option<Client> {
    let document: Document = serde_json::from_slice(body).ok()?;
    let fits = document.client_id == id
        && document.client_secret.is_none()
        && (1..=REDIRECTS_MAX).contains(&document.redirect_uris.len())
        && document.redirect_uris.iter().all(|uri| is_redirect(uri));
    fits.then(|| Client {
        name: printable(&document.client_name),
        redirect_uris: document.redirect_uris,
        secret: Secret::None,
    })
}

/// Documents that were read for the owner, in the order in which they came: for strangers nothing
/// is read, so they put nothing in.
#[derive(Debug, Default)]
pub(super) struct Documents(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    id: String,
    client: Client,
    until_s: i64,
}

impl Documents {
    pub(super) fn get(&self, id: &str, now_s: i64) -> Option<Client> {
        let documents = lock(&self.0);
        let kept = documents.iter().find(|kept| kept.id == id && kept.until_s > now_s)?;
        Some(kept.client.clone())
    }

    /// Keeps one for some seconds; the one before goes in any case.
    pub(super) fn keep(&self, id: &str, client: &Client, keep_s: i64, now_s: i64) {
        let mut documents = lock(&self.0);
        documents.retain(|kept| kept.until_s > now_s && kept.id != id);
        if documents.len() >= DOCUMENTS_MAX {
            documents.remove(0);
        }
        if keep_s > 0 {
            let (id, client) = (id.to_owned(), client.clone());
            documents.push(Kept { id, client, until_s: now_s + keep_s });
        }
    }
}

/// What is read of it. How it would prove itself does not matter: nobody can but with PKCE.
#[derive(Deserialize)]
struct Document {
    client_id: String,
    client_name: String,
    redirect_uris: Vec<String>,
    client_secret: Option<serde::de::IgnoredAny>,
}

type Pinned = (&'static str, &'static str, &'static [&'static str]);

/// Published documents: address, name, redirect URIs.
const PINNED: [Pinned; 4] = [
    ("https://claude.ai/oauth/mcp-oauth-client-metadata", "Claude", &CLAUDE_REDIRECTS),
    (
        "https://claude.ai/oauth/claude-code-client-metadata",
        "Claude Code",
        &["http://localhost/callback", "http://127.0.0.1/callback"],
    ),
    (
        "https://vscode.dev/oauth/client-metadata.json",
        "Visual Studio Code",
        &[
            "http://127.0.0.1:33418/",
            "https://vscode.dev/redirect",
            "https://insiders.vscode.dev/redirect",
        ],
    ),
    (
        "https://chatgpt.com/oauth/client.json",
        "ChatGPT",
        &["https://chatgpt.com/connector_platform_oauth_redirect"],
    ),
];
const REDIRECTS_MAX: usize = 16;
/// Of at most 5 KiB each. A household has a handful of clients.
const DOCUMENTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_only_reached_where_the_whole_internet_is() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!may_reach(address.parse().unwrap(), &[]), "{address}");
        }
        for address in ["8.8.8.8", "160.79.104.10", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(may_reach(address.parse().unwrap(), &[]), "{address}");
        }
        // This machine itself, and the house in a provider's network of IPv6.
        let own = |address: &str, prefix_bits| Interface {
            address: address.parse().unwrap(),
            prefix_bits,
        };
        let own = [own("8.8.8.8", 24), own("2a02:8070:1:2::5", 64)];
        for (address, may) in [
            ("8.8.8.8", false),
            ("8.8.8.9", true),
            ("2a02:8070:1:2::5", false),
            ("2a02:8070:1:2::77", false),
            ("2a02:8070:1:3::77", true),
        ] {
            assert_eq!(may_reach(address.parse().unwrap(), &own), may, "{address}");
        }
    }

    #[test]
    fn an_address_of_a_document_leads_to_one_place() {
        assert!(is_address("https://client.example/oauth/metadata.json"));
        for wrong in [
            "http://client.example/a",
            "https://client.example",
            "https://client.example/",
            "https://client.example:8443/a",
            "https://u@client.example/a",
            "https://127.0.0.1/a",
            "https://[::1]/a",
            "https://client.example/a?b",
            "https://client.example/a#b",
            "https://localhost/a",
            "https://client.example/../a",
            "https://client.example/./a",
        ] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_document_speaks_for_its_own_address_alone() {
        let id = "https://client.example/a";
        let good = r#"{"client_id":"https://client.example/a","client_name":"A","redirect_uris":["https://client.example/cb"],"grant_types":["x"]}"#;
        assert_eq!(read(id, good.as_bytes()).unwrap().name, "A");
        for (from, to) in [
            ("example/a\"", "example/b\""),
            ("client_name", "name"),
            ("https://client.example/cb", "javascript://client.example/cb"),
            ("\"https://client.example/cb\"", ""),
            ("\"grant_types\":[\"x\"]", "\"client_secret\":\"s\""),
        ] {
            assert!(read(id, good.replace(from, to).as_bytes()).is_none(), "{to}");
        }
    }
}
