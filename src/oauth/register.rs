//! `POST /register` (RFC 7591). What a client registers is signed and given back as its id; nothing
//! is kept, so a flood costs no place and no registration is ever forgotten.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Registered, printable};
use super::uri::is_redirect;
use super::{Asked, Oauth, has_media_type, problem, too_often};
use crate::auth::{Deed, SCOPE};
use crate::edge::Reply;

/// What is read of a registration; all else is ignored.
#[derive(Deserialize)]
struct Wanted {
    redirect_uris: Option<Vec<String>>,
    client_name: Option<String>,
    token_endpoint_auth_method: Option<String>,
    application_type: Option<String>,
}

impl Oauth {
    pub(super) fn register(&self, asked: &Asked<'_>) -> Reply {
        if let Err(wait_s) = self.take(asked, Deed::Register) {
            return too_often(wait_s);
        }
        if asked.body.len() > BODY_BYTES_MAX {
            return problem(413, "invalid_client_metadata", "a registration has 16 KiB at most");
        }
        if !has_media_type(asked.head, "application/json") {
            return problem(415, "invalid_client_metadata", "send application/json");
        }
        let Ok(wanted) = serde_json::from_slice::<Wanted>(asked.body) else {
            return problem(400, "invalid_client_metadata", "this is no registration in JSON");
        };
        match self.registered(wanted) {
            Ok(reply) => reply,
            Err((code, what)) => problem(400, code, what),
        }
    }

    fn registered(&self, wanted: Wanted) -> Result<Reply, (&'static str, &'static str)> {
        let redirect_uris = wanted.redirect_uris.unwrap_or_default();
        let all_fit = redirect_uris.iter().all(|uri| is_redirect(uri));
        if !(1..=REDIRECTS_MAX).contains(&redirect_uris.len()) || !all_fit {
            return Err((
                "invalid_redirect_uri",
                "1 to 8 redirect_uris: https, http on localhost, 127.0.0.1 or [::1], or a scheme of \
                 your own, without user and fragment",
            ));
        }
        let method = wanted.token_endpoint_auth_method.unwrap_or_else(|| "none".to_owned());
        if !METHODS.contains(&method.as_str()) {
            return Err((
                "invalid_client_metadata",
                "token_endpoint_auth_method is none, client_secret_post or client_secret_basic",
            ));
        }
        let registered = Registered {
            name: printable(wanted.client_name.as_deref().unwrap_or_default()),
            redirect_uris,
            secret: method != "none",
            issued_s: self.now_s(),
        };
        let id = self.sealed_id(&registered).filter(|id| id.len() <= ID_BYTES_MAX);
        let id = id.ok_or(("invalid_client_metadata", "this is more than an id can hold"))?;
        let answer = json!({
            "client_id": id,
            "client_id_issued_at": registered.issued_s,
            "client_name": registered.name,
            "redirect_uris": registered.redirect_uris,
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": SCOPE,
        });
        let Value::Object(mut answer) = answer else { return Err(("server_error", "")) };
        if registered.secret {
            answer.insert("client_secret".into(), self.derived_secret(&id).into());
            answer.insert("client_secret_expires_at".into(), 0.into());
        }
        // No member is ever null: some clients refuse that.
        let application_type =
            wanted.application_type.filter(|it| ["native", "web"].contains(&it.as_str()));
        if let Some(application_type) = application_type {
            answer.insert("application_type".into(), application_type.into());
        }
        log::info!("a client registered: {:?}", registered.name);
        Ok(Reply::json(201, Value::Object(Map::from_iter(answer)).to_string().into_bytes()))
    }
}

const METHODS: [&str; 3] = ["none", "client_secret_post", "client_secret_basic"];
const BODY_BYTES_MAX: usize = 16 * 1024;
/// It travels in every URL and form.
const ID_BYTES_MAX: usize = 2 * 1024;
const REDIRECTS_MAX: usize = 8;
