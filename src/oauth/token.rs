//! `POST /token` (RFC 6749, RFC 7636, RFC 8707) and `POST /revoke` (RFC 7009). Whatever is given or
//! taken is on the disk before the answer says so.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::client::{Client, Identified, Secret};
use super::codes::Taken;
use super::form::{Form, decoded};
use super::uri::{canonical, is_same_redirect};
use super::{Asked, FORM, Oauth, has_media_type, problem, too_often};
use crate::auth::{AuthError, Deed, Issued, NewGrant, NoRefresh, Refreshed, State, TokenId};
use crate::edge::Reply;

/// An error of the token endpoint: the status, its code, a sentence.
type Wrong = (u16, &'static str, &'static str);

const DEAD: Wrong = (400, "invalid_grant", "this is used up, too old or of another client");
const TARGET: Wrong = (400, "invalid_target", "the resource is not the one it was granted for");
const KEPT_NOWHERE: Wrong = (500, "server_error", "this server cannot keep what it gives");

impl Oauth {
    pub(super) fn token(&self, asked: &Asked<'_>) -> Reply {
        self.with_client(asked, |form, client_id| {
            let issued = match form.get("grant_type") {
                Some("authorization_code") => self.exchange(asked, form, client_id)?,
                Some("refresh_token") => self.refreshed(asked, form, client_id)?,
                None => return Err((400, "invalid_request", "the grant_type is missing")),
                Some(_) => {
                    let what = "grants are authorization_code and refresh_token";
                    return Err((400, "unsupported_grant_type", what));
                }
            };
            let body = json!({
                "access_token": issued.access,
                "token_type": "Bearer",
                "expires_in": issued.expires_in,
                "refresh_token": issued.refresh,
                "scope": issued.scope,
            });
            Ok(Reply::json(200, body.to_string().into_bytes()))
        })
    }

    pub(super) fn revoke(&self, asked: &Asked<'_>) -> Reply {
        self.with_client(asked, |form, client_id| {
            let token = form.get("token").ok_or((400, "invalid_request", "no token is named"))?;
            if !self.ground.authenticator.issued(token) {
                // RFC 7009, section 2.2: an unknown token is revoked already.
                return Ok(Reply::empty(200));
            }
            let revoke = |state: &mut State| match state.revoke_token(token, client_id) {
                true => Ok(()),
                // Nothing is written for nothing.
                false => Err(None),
            };
            match self.ground.authenticator.change(revoke) {
                Ok(()) => log::info!("a client revoked a token of its own"),
                Err(Some(error)) => return Err(kept_nowhere(&error)),
                Err::<(), Option<AuthError>>(None) => {}
            }
            Ok(Reply::empty(200))
        })
    }

    /// What both endpoints check first: how often, the form, and who asks.
    fn with_client(
        &self,
        asked: &Asked<'_>,
        answer: impl FnOnce(&Form, &str) -> Result<Reply, Wrong>,
    ) -> Reply {
        if let Err(wait_s) = self.take(asked, Deed::Token) {
            return too_often(wait_s);
        }
        if !has_media_type(asked.head, FORM) {
            return problem(415, "invalid_request", "send application/x-www-form-urlencoded");
        }
        let form = std::str::from_utf8(asked.body).ok().and_then(|text| Form::parse(text).ok());
        let Some(form) = form else {
            return problem(400, "invalid_request", "a parameter came twice or is no text");
        };
        let basic = basic(asked);
        let Some(client_id) = self.client(&form, basic.as_ref()) else {
            let reply = problem(401, "invalid_client", "the client is not known; register again");
            return match basic {
                Some(_) => reply.with("WWW-Authenticate", "Basic realm=\"mcp\""),
                None => reply,
            };
        };
        answer(&form, &client_id).unwrap_or_else(|(status, code, what)| {
            log::info!("{} refused: {code}: {what}", asked.head.path);
            problem(status, code, what)
        })
    }

    /// The id of the client that asks, if it is one and shows what it has to.
    fn client(&self, form: &Form, basic: Option<&(String, String)>) -> Option<String> {
        let (id, secret) = match basic {
            Some((id, secret)) => (id.as_str(), Some(secret.as_str())),
            None => (form.get("client_id")?, form.get("client_secret")),
        };
        // Two ids of one request must agree.
        if form.get("client_id").is_some_and(|sent| sent != id) {
            return None;
        }
        let proved = match self.identify(id)? {
            // Its document was read when the owner let it in; what it was given names it.
            Identified::Document(_) | Identified::Client(Client { secret: Secret::None, .. }) => {
                true
            }
            Identified::Client(Client { secret: Secret::Derived(derived), .. }) => {
                let (sent, derived) = (secret.unwrap_or_default(), derived.as_str());
                // Digests, so that the time tells nothing of the secret.
                super::codes::digest(sent) == super::codes::digest(derived)
            }
            Identified::Client(Client { secret: Secret::Known(known), .. }) => {
                known.has_secret(secret.unwrap_or_default())
            }
        };
        proved.then(|| id.to_owned())
    }

    fn exchange(&self, asked: &Asked<'_>, form: &Form, client_id: &str) -> Result<Issued, Wrong> {
        let code = form.get("code").ok_or((400, "invalid_request", "no code was sent"))?;
        let now_s = self.now_s();
        let approved = match self.codes.take(code, now_s) {
            Taken::Good(approved) => approved,
            Taken::Again(grant) => {
                log::warn!("a code came twice: what it gave is taken back");
                return Err(grant.map_or(DEAD, |grant| self.take_back(grant)));
            }
            Taken::Unknown => return Err(DEAD),
        };
        let sent = form.get("redirect_uri");
        let redirects = |sent: &str| is_same_redirect(sent, &approved.redirect_uri);
        if approved.client_id != client_id
            || sent.is_some_and(|sent| sent != approved.redirect_uri && !redirects(sent))
            || !fits(form.get("code_verifier").unwrap_or_default(), &approved.challenge)
        {
            log::warn!("oauth={} the code was not for this client", approved.login);
            return Err(DEAD);
        }
        if let Some(resource) = form.get("resource") {
            let (audience, resource) =
                self.target(asked, Some(resource)).map_err(|_told| TARGET)?;
            let whole = approved.resource == approved.audience;
            if audience != approved.audience || (resource != approved.resource && !whole) {
                return Err(TARGET);
            }
        }
        let redirect = super::uri::Uri::parse(&approved.redirect_uri).map(|uri| uri.shown());
        let new = NewGrant {
            name: approved.client_name,
            client_id: approved.client_id,
            redirect: redirect.unwrap_or_default(),
            audience: approved.audience,
            scope: approved.scope,
        };
        let times = self.settings.lifetimes;
        let issued = self
            .ground
            .authenticator
            .change(|state| state.grant(new, times, now_s))
            .map_err(|error| kept_nowhere(&error))?;
        log::info!("oauth={} tokens were given: grant={}", approved.login, issued.grant);
        if !self.codes.turned_into(code, issued.grant) {
            log::warn!("oauth={} the code came twice: its grant is taken back", approved.login);
            // Answered all the same: which of the two was the thief is not known, and both have
            // nothing.
            self.take_back(issued.grant);
        }
        Ok(issued)
    }

    fn refreshed(&self, asked: &Asked<'_>, form: &Form, client_id: &str) -> Result<Issued, Wrong> {
        let token = form.get("refresh_token");
        let token = token.ok_or((400, "invalid_request", "no refresh_token was sent"))?;
        // Made-up ones never touch the disk; used ones are known for as long as their grant is.
        if !self.ground.authenticator.issued(token) {
            return Err(DEAD);
        }
        let audience = match form.get("resource") {
            Some(resource) => {
                canonical(resource).ok_or(TARGET)?;
                Some(self.target(asked, Some(resource)).map_err(|_told| TARGET)?.0)
            }
            None => None,
        };
        let (times, now_s) = (self.settings.lifetimes, self.now_s());
        let refresh =
            |state: &mut State| state.refresh(token, client_id, audience.as_deref(), times, now_s);
        match self.ground.authenticator.change(refresh) {
            Ok(Refreshed::Issued(issued)) => {
                log::info!("tokens were refreshed: grant={}", issued.grant);
                Ok(issued)
            }
            Ok(Refreshed::Reused(grant)) => {
                log::warn!(
                    "grant={grant} is revoked: a refresh token came again long after its use. \
                     Clients that share one need a longer --oauth-grace-s, or a token of token add"
                );
                Err(DEAD)
            }
            Err(NoRefresh::Dead) => Err(DEAD),
            Err(NoRefresh::Target) => Err(TARGET),
            Err(NoRefresh::State(error)) => Err(kept_nowhere(&error)),
        }
    }

    fn take_back(&self, grant: TokenId) -> Wrong {
        let revoke = |state: &mut State| state.revoke_grant(&grant.to_string());
        match self.ground.authenticator.change(revoke) {
            // It may have been revoked before.
            Ok(_) | Err(AuthError::Unknown(..)) => DEAD,
            Err(error) => kept_nowhere(&error),
        }
    }
}

fn kept_nowhere(error: &AuthError) -> Wrong {
    log::error!("nothing is given: {error}");
    KEPT_NOWHERE
}

/// RFC 7636, section 4.6, with S256.
fn fits(verifier: &str, challenge: &str) -> bool {
    let is_one = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    is_one && URL_SAFE_NO_PAD.encode(super::codes::digest(verifier)) == challenge
}

/// Id and secret of `Authorization: Basic`, both form-encoded (RFC 6749, section 2.3.1). A bearer is
/// not meant for this endpoint and is ignored.
fn basic(asked: &Asked<'_>) -> Option<(String, String)> {
    let (scheme, value) = asked.head.field("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((decoded(id)?, decoded(secret)?))
}
