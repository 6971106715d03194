//! `/authorize`: GET checks what a client asks for and shows it to the owner, POST takes his answer.
//! Until the owner has proved himself nothing is sent to where the client wants it, but for a refusal
//! to a client that is known (RFC 9700, section 4.11.2).

use super::client::{Client, Identified};
use super::codes::Approved;
use super::document;
use super::fetch::fetch;
use super::form::{Form, Malformed};
use super::login::{LOGIN_S_MAX, Login, Stage};
use super::page::{self, Note};
use super::proof::Checked;
use super::uri::{Uri, canonical, is_redirect};
use super::{Asked, FORM, Oauth, Proof, has_media_type, problem, too_often, with_field};
use crate::auth::{Deed, SCOPE, new_secret};
use crate::edge::Reply;

/// Why a request cannot be shown to the owner: a code of OAuth, and a sentence.
type Wrong = (&'static str, &'static str);

impl Oauth {
    /// GET. Has no effect for a caller that is no browser: such a one only looks whether its client
    /// id is still known.
    pub(super) fn ask_owner(&self, asked: &Asked<'_>) -> Reply {
        let accept = asked.head.field("accept").unwrap_or_default();
        let browser = accept.contains("text/html");
        if let Err(wait_s) = self.take(asked, Deed::Authorize) {
            return if browser { page::too_often(wait_s) } else { too_often(wait_s) };
        }
        let login = match self.asked_for(asked) {
            Ok(login) => login,
            Err((code, what)) => {
                log::info!("a login was refused: {code}: {what}");
                return if browser {
                    page::wrong(400, code, what)
                } else {
                    problem(400, code, what)
                };
            }
        };
        if !browser {
            return Reply::json(200, b"{}".to_vec());
        }
        if self.settings.proof == Proof::Console
            && let Err(wait_s) = self.say_code(asked, &login)
        {
            return page::too_often(wait_s);
        }
        let (short, name) = (login.short(), &login.name);
        log::info!("oauth={short} {name:?} asks for access, answer to {}", login.redirect_shown());
        self.show(200, &login, Note::None)
    }

    /// POST. Everything but the proof and the decision comes out of what was sealed.
    pub(super) fn decide(&self, asked: &Asked<'_>) -> Reply {
        const STALE: &str =
            "this page is too old or was answered before: begin again in the client";
        // Other pages that the owner allows may use the server, but not speak for him.
        let foreign = |origin: &str| !origin.eq_ignore_ascii_case(asked.site.origin());
        if asked.head.field("origin").is_some_and(foreign) {
            return page::wrong(403, "access_denied", "this takes the form of its own page alone");
        }
        if !has_media_type(asked.head, FORM) {
            return page::wrong(415, "invalid_request", "this takes the form of the page alone");
        }
        let body = std::str::from_utf8(asked.body).ok().and_then(|text| Form::parse(text).ok());
        let Some(form) = body else {
            return page::wrong(400, "invalid_request", "this is no form of this page");
        };
        let login = form.get("transaction").and_then(|sealed| self.opened_login(sealed));
        let Some(mut login) = login else { return page::wrong(400, "invalid_request", STALE) };
        match form.get("decision") {
            Some("allow") => {}
            Some("deny") => return self.denied(asked, &login),
            _ => return page::wrong(400, "invalid_request", "nothing was decided"),
        }
        if login.stage != Stage::Proved {
            let short = login.short();
            match self.prove(asked, &login, form.get("proof").unwrap_or_default()) {
                Checked::Right => {}
                Checked::TooOften(wait_s) => {
                    log::warn!("oauth={short} too many wrong proofs from {}", asked.client);
                    return page::too_often(wait_s);
                }
                Checked::Wrong => {
                    log::warn!("oauth={short} wrong proof from {}", asked.client);
                    return self.show(403, &login, Note::Wrong);
                }
                Checked::Over => return page::wrong(400, "access_denied", STALE),
            }
            if login.stage == Stage::Unread {
                return match self.read_document(&mut login) {
                    Ok(()) if !self.spent.prove(&login, self.now_s()) => {
                        page::wrong(400, "invalid_request", STALE)
                    }
                    Ok(()) => self.show(200, &login, Note::None),
                    Err(what) => {
                        log::warn!("oauth={} {}: {what}", login.short(), login.client_id);
                        page::wrong(400, "invalid_client", &what)
                    }
                };
            }
        }
        if !self.spent.spend(&login, true, self.now_s()) {
            return page::wrong(400, "invalid_request", STALE);
        }
        self.allowed(asked, &login)
    }

    fn allowed(&self, asked: &Asked<'_>, login: &Login) -> Reply {
        let Ok(code) = new_secret("mcpc_") else {
            return page::wrong(500, "server_error", "the system has no random bytes");
        };
        let approved = Approved {
            client_id: login.client_id.clone(),
            client_name: login.name.clone(),
            redirect_uri: login.redirect_uri.clone(),
            challenge: login.challenge.clone(),
            audience: login.audience.clone(),
            resource: login.resource.clone(),
            scope: SCOPE.to_owned(),
            login: login.short().to_owned(),
        };
        self.codes.put(&code, approved, self.now_s());
        log::info!("oauth={} allowed {:?}; a code is on its way", login.short(), login.name);
        found(&login.answer("code", &code, asked.site.base()))
    }

    fn denied(&self, asked: &Asked<'_>, login: &Login) -> Reply {
        log::info!("oauth={} denied {:?}", login.short(), login.name);
        if !self.spent.spend(login, false, self.now_s()) {
            return page::wrong(400, "invalid_request", "this page was answered before");
        }
        if login.stage == Stage::Unread {
            // Whether the client may have answers there was never found out.
            return page::denied();
        }
        found(&login.answer("error", "access_denied", asked.site.base()))
    }

    /// Reads the client's document, now that it is the owner who has it read. One that is kept and
    /// does not name the address may have been changed since.
    fn read_document(&self, login: &mut Login) -> Result<(), String> {
        let (id, now_s) = (login.client_id.as_str(), self.now_s());
        let fits = |client: &Client| client.redirects_to(&login.redirect_uri);
        let client = match self.documents.get(id, now_s).filter(fits) {
            Some(client) => client,
            None => {
                let interfaces = self.ground.interfaces.current();
                let fetched = fetch(&*self.ground.net, &interfaces, id).map_err(|error| {
                    format!("the client's own description cannot be read: {error}")
                })?;
                let client = document::read(id, &fetched.body)
                    .ok_or("the client's own description is not valid")?;
                self.documents.keep(id, &client, fetched.keep_s, now_s);
                client
            }
        };
        if !fits(&client) {
            return Err("the client's own description does not name this address".to_owned());
        }
        login.name = client.name;
        login.stage = Stage::Proved;
        Ok(())
    }

    fn show(&self, status: u16, login: &Login, note: Note) -> Reply {
        page::consent(status, login, &self.sealed_login(login), self.settings.proof, note)
    }

    /// Checks what a client asks for. Errors: what is wrong with it.
    fn asked_for(&self, asked: &Asked<'_>) -> Result<Login, Wrong> {
        let query = asked.head.query.as_deref().unwrap_or_default();
        let form = Form::parse(query)
            .map_err(|Malformed| ("invalid_request", "a parameter came twice or is no text"))?;
        let client_id = form.get("client_id").unwrap_or_default();
        let identified = self
            .identify(client_id)
            .ok_or(("invalid_client", "the client is not known here; it has to register again"))?;
        let redirect_uri = form.get("redirect_uri").unwrap_or_default();
        let (name, stage) = match &identified {
            Identified::Client(client) => (known(client, redirect_uri)?, Stage::Known),
            Identified::Document(url) => (unread(url, redirect_uri)?, Stage::Unread),
        };
        if form.get("response_type") != Some("code") {
            return Err(("unsupported_response_type", "the response_type has to be code"));
        }
        let challenge = form.get("code_challenge").filter(|it| is_challenge(it));
        let method = form.get("code_challenge_method");
        let (Some(challenge), Some("S256")) = (challenge, method) else {
            return Err(("invalid_request", "PKCE with S256 is needed (code_challenge)"));
        };
        let (audience, resource) = self.target(asked, form.get("resource"))?;
        let nonce = new_secret("").map_err(|_told| ("server_error", "no random bytes"))?;
        let state = form.raw("state").map(str::to_owned);
        if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return Err(("invalid_request", "the state is too long"));
        }
        Ok(Login {
            nonce,
            client_id: client_id.to_owned(),
            name,
            redirect_uri: redirect_uri.to_owned(),
            state,
            challenge: challenge.to_owned(),
            resource,
            audience,
            until_s: self.now_s() + LOGIN_S_MAX,
            stage,
        })
    }

    /// The public URL that a resource belongs to, and the resource in its canonical form
    /// (RFC 8707). Clients of 2025-03-26 name none and mean this one.
    pub(super) fn target(
        &self,
        asked: &Asked<'_>,
        resource: Option<&str>,
    ) -> Result<(String, String), Wrong> {
        let Some(resource) = resource else {
            let base = asked.site.base().to_owned();
            return Ok((base.clone(), base));
        };
        let wrong = ("invalid_target", "the resource is not one of this server");
        let resource = canonical(resource).ok_or(wrong)?;
        let owns =
            |base: &str| resource.strip_prefix(base).is_some_and(|rest| RESOURCES.contains(&rest));
        let site = self.ground.sites.iter().find(|site| owns(site.base())).ok_or(wrong)?;
        Ok((site.base().to_owned(), resource))
    }
}

/// The name of a client that may have its answer there. Errors: it may not.
fn known(client: &Client, redirect_uri: &str) -> Result<String, Wrong> {
    if client.redirects_to(redirect_uri) {
        return Ok(client.name.clone());
    }
    Err(("invalid_redirect_uri", "the client did not register this redirect_uri"))
}

/// What a client is called of which nothing is known yet. Errors: nobody may have an answer there.
fn unread(url: &str, redirect_uri: &str) -> Result<String, Wrong> {
    if !is_redirect(redirect_uri) {
        return Err(("invalid_redirect_uri", "no code may be sent to this redirect_uri"));
    }
    Ok(Uri::parse(url).map(|uri| uri.host.to_owned()).unwrap_or_default())
}

/// RFC 7636, section 4.2: a SHA-256 in base64url has 43 characters.
fn is_challenge(text: &str) -> bool {
    text.len() == 43
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// 303: the browser goes on with a GET and takes what was typed nowhere (RFC 9700, section 4.12).
fn found(url: &str) -> Reply {
    with_field(Reply::empty(303), "Location", url).with("Referrer-Policy", "no-referrer")
}

/// What is protected, below the public URL.
const RESOURCES: [&str; 4] = ["", "/mcp", "/sse", "/messages"];
/// Real ones have some 40 characters; the whole head has 16 KiB.
const STATE_BYTES_MAX: usize = 8 * 1024;
