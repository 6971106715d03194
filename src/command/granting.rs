//! The commands around OAuth: the owner's passphrase, grants, clients made beforehand. All of them
//! work while the server runs, which knows of a change within a second.

use std::io::{self, BufRead, Write};

use super::CommandError;
use crate::auth::{AuthError, State, Store, hash_passphrase, new_passphrase, system_now_s};
use crate::cert;
use crate::config::{ClientAdd, Config, ConfigError};
use crate::oauth::{CLAUDE_REDIRECTS, is_redirect};

pub(super) fn passphrase(
    config: &Config,
    stdin: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let passphrase = if stdin {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        line.trim().to_owned()
    } else {
        new_passphrase()?
    };
    let kept = hash_passphrase(&passphrase)?;
    let store = Store::new(&config.state_folder);
    store.update(|state| {
        state.passphrase = Some(kept);
        Ok::<_, AuthError>(())
    })?;
    if stdin {
        writeln!(out, "The passphrase is the one that was typed.")?;
    } else {
        writeln!(out, "The passphrase, shown only now:\n\n  {passphrase}\n")?;
    }
    writeln!(
        out,
        "It allows the login of a client where the server runs with --oauth passphrase.\n\
         What was granted before stays; see: local-llm-mcp grants list"
    )?;
    Ok(())
}

pub(super) fn list_grants(config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    let grants = Store::new(&config.state_folder).read()?.grants;
    for grant in &grants {
        writeln!(
            out,
            "{}  {}  to {}  for {}  granted {}  used {}",
            grant.id,
            grant.name,
            grant.redirect,
            grant.audience,
            cert::day(grant.created_s),
            cert::day(grant.used_s)
        )?;
    }
    if grants.is_empty() {
        writeln!(out, "nothing was granted; a client's login does that (--oauth passphrase)")?;
    }
    Ok(())
}

pub(super) fn revoke_grant(
    config: &Config,
    id: &str,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let revoke = |state: &mut State| state.revoke_grant(id);
    let (grant, _) = Store::new(&config.state_folder).update(revoke)?;
    writeln!(
        out,
        "The grant {} of {} is revoked; a running server refuses it within a second, and its open \
         streams end within 15 s.",
        grant.id, grant.name
    )?;
    Ok(())
}

pub(super) fn add_client(
    config: &Config,
    add: &ClientAdd,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    if let Some(wrong) = add.redirect_uri.iter().find(|uri| !is_redirect(uri)) {
        let sentence = format!(
            "--redirect-uri: \"{wrong}\" can receive no code; https, or http on localhost, \
             127.0.0.1 or [::1]"
        );
        return Err(ConfigError::Usage(sentence).into());
    }
    let redirect_uris = if add.redirect_uri.is_empty() {
        CLAUDE_REDIRECTS.map(str::to_owned).to_vec()
    } else {
        add.redirect_uri.clone()
    };
    let store = Store::new(&config.state_folder);
    let (id, secret) = store.add_client(&add.name, redirect_uris, system_now_s())?;
    writeln!(
        out,
        "The client {}, its secret shown only now:\n\n  client id      {id}\n  client secret  \
         {secret}\n\nIn Claude they belong into the connector's advanced settings.",
        add.name
    )?;
    Ok(())
}

pub(super) fn list_clients(config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    let clients = Store::new(&config.state_folder).read()?.clients;
    for client in &clients {
        let (name, id, uris) = (&client.name, &client.id, client.redirect_uris.join(", "));
        writeln!(out, "{name}  made {}  id {id}  to {uris}", cert::day(client.created_s))?;
    }
    if clients.is_empty() {
        writeln!(out, "there is none, and most clients need none: they register by themselves")?;
    }
    Ok(())
}

pub(super) fn remove_client(
    config: &Config,
    name: &str,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let remove = |state: &mut State| state.remove_client(name);
    Store::new(&config.state_folder).update(remove)?;
    writeln!(out, "The client {name} is gone, with all that was granted to it.")?;
    Ok(())
}
