//! The pages that the owner sees: plain HTML without script and without anything from elsewhere.

use super::login::{Login, Stage};
use super::{Proof, with_field};
use crate::edge::Reply;

/// What is said above the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Nothing.
    None,
    /// The proof was wrong.
    Wrong,
}

/// The page on which the owner decides; where the answer goes stands first and largest.
pub(super) fn consent(
    status: u16,
    login: &Login,
    transaction: &str,
    proof: Proof,
    note: Note,
) -> Reply {
    let redirect = escaped(&login.redirect_shown());
    let name = escaped(&login.name);
    let resource = escaped(&login.resource);
    let who = match login.stage {
        Stage::Unread => format!(
            "A client described at <strong id=\"client-name\">{}</strong>",
            escaped(&login.client_id)
        ),
        _ => format!("It calls itself <strong id=\"client-name\" dir=\"auto\">{name}</strong>. It"),
    };
    let warning = if login.is_loopback() {
        "<p class=\"note\" id=\"loopback\">The answer goes to a program on the computer that shows \
         this page. Any program there could receive it: allow it only if you have just started the \
         login yourself.</p>"
    } else {
        ""
    };
    let wrong = match (note, proof) {
        (Note::None, _) => "",
        (Note::Wrong, Proof::Passphrase) => {
            "<p class=\"error\" id=\"error\" role=\"alert\">This is not the passphrase.</p>"
        }
        (Note::Wrong, Proof::Console) => {
            "<p class=\"error\" id=\"error\" role=\"alert\">This is not the code.</p>"
        }
    };
    let field = match (login.stage, proof) {
        (Stage::Proved, _) => String::new(),
        (_, Proof::Passphrase) => field(
            "Passphrase of this server",
            "type=\"password\" autocomplete=\"current-password\"",
            "Forgotten? On the box, <code>local-llm-mcp auth passphrase</code> makes a new one.",
            wrong,
        ),
        (_, Proof::Console) => field(
            &format!("Code for login {}", escaped(login.short())),
            "type=\"text\" inputmode=\"numeric\" autocomplete=\"one-time-code\"",
            "The server has just written it to its console or journal.",
            wrong,
        ),
    };
    let body = format!(
        "<p class=\"small\">Access will be given to</p>\
         <h1 id=\"redirect-host\">{redirect}</h1>\
         <p>{who} asks to use the language models at <span id=\"resource\" class=\"url\">{resource}\
         </span>.</p>{warning}\
         <p>It will be able to see which models there are, to use them and to stop what it began, \
         until you take that back on the box with <code>local-llm-mcp grants revoke</code>.</p>\
         <form method=\"post\" action=\"authorize\">\
         <input type=\"hidden\" name=\"transaction\" value=\"{transaction}\">{field}\
         <div class=\"buttons\">\
         <button id=\"allow\" name=\"decision\" value=\"allow\">Allow</button>\
         <button id=\"deny\" name=\"decision\" value=\"deny\" formnovalidate>Deny</button>\
         </div></form>"
    );
    page(status, "Allow access?", &body)
}

/// Why there is nothing to decide.
pub(super) fn wrong(status: u16, code: &str, what: &str) -> Reply {
    let (code, what) = (escaped(code), escaped(what));
    page(
        status,
        "This login cannot go on",
        &format!(
            "<h1>This login cannot go on</h1><p id=\"error\">{what}.</p>\
             <p class=\"small\">For the client's makers: <code id=\"error-code\">{code}</code></p>"
        ),
    )
}

/// Too often; the seconds to wait.
pub(super) fn too_often(wait_s: u64) -> Reply {
    let what = format!(
        "this was tried too often; wait {} min. On the box itself a new passphrase can be made at \
         any time with: local-llm-mcp auth passphrase",
        wait_s.div_ceil(60)
    );
    with_field(wrong(429, "too_many_requests", &what), "Retry-After", &wait_s.to_string())
}

/// The owner said no to a client that cannot be told.
pub(super) fn denied() -> Reply {
    page(200, "Denied", "<h1>Denied</h1><p>Nothing was given. This page can be closed.</p>")
}

/// Does not take the focus until something wrong was typed: a field that does scrolls what the page
/// says out of sight, and an Enter that was meant for elsewhere would send what the browser filled in.
fn field(label: &str, kind: &str, hint: &str, wrong: &str) -> String {
    let again = if wrong.is_empty() {
        "aria-describedby=\"hint\""
    } else {
        "aria-describedby=\"error hint\" aria-invalid=\"true\" autofocus"
    };
    format!(
        "{wrong}<label for=\"proof\">{label}</label>\
         <input id=\"proof\" name=\"proof\" {kind} required maxlength=\"1024\" {again}>\
         <p class=\"small\" id=\"hint\">{hint}</p>"
    )
}

fn page(status: u16, title: &str, body: &str) -> Reply {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    );
    let reply = Reply {
        status,
        content_type: "text/html; charset=utf-8",
        fields: Vec::new(),
        body: text.into_bytes(),
    };
    reply
        .with(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        )
        .with("X-Frame-Options", "DENY")
        // With no-referrer browsers would send `Origin: null` with the form.
        .with("Referrer-Policy", "same-origin")
        .with("X-Content-Type-Options", "nosniff")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Contrast of text is 7:1 or more everywhere; what has the focus is framed. A link may put the focus on
/// what it names after `#`: what lets in is not to be had that way.
const STYLE: &str = "\
*{box-sizing:border-box}\
body{margin:0;font:1.0625rem/1.5 system-ui,sans-serif;color:#1a1a1a;background:#f3f3f1}\
main{max-width:34rem;margin:0 auto;padding:1.5rem 1.25rem 2rem;background:#fff;min-height:100vh}\
@media(min-width:40rem){main{margin:3rem auto;padding:2rem 2.5rem 2.5rem;min-height:0;\
border:1px solid #d0d0cc;border-radius:.75rem}}\
h1{margin:0 0 1rem;font-size:1.875rem;line-height:1.2;overflow-wrap:anywhere}\
p{margin:0 0 1rem;overflow-wrap:anywhere}\
.small{font-size:.9375rem;color:#444;margin-bottom:.25rem}\
#hint{margin-top:.375rem}\
.url,code{font-family:ui-monospace,monospace;font-size:.9em}\
.note{padding:.75rem 1rem;border-left:.3rem solid #8a5a00;background:#fff6e0}\
.error{padding:.75rem 1rem;border-left:.3rem solid #a00000;background:#fdeaea;color:#7a0000}\
label{display:block;font-weight:600;margin:0 0 .375rem}\
input{width:100%;padding:.7rem .75rem;font:inherit;color:inherit;background:#fff;\
border:1px solid #6b6b6b;border-radius:.4rem}\
.buttons{display:flex;gap:.75rem;margin-top:1.5rem;flex-wrap:wrap}\
button{flex:1 1 8rem;padding:.75rem 1rem;font:inherit;font-weight:600;border-radius:.4rem;\
border:1px solid #14532d;background:#14532d;color:#fff;cursor:pointer}\
#deny{background:#fff;color:#1a1a1a;border-color:#6b6b6b}\
#allow:target,#proof:target{display:none}\
#error::first-letter{text-transform:uppercase}\
:focus-visible{outline:3px solid #0b57d0;outline-offset:2px}";
