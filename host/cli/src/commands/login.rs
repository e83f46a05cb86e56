//! `sovr-host login`: a login that the next commands go on with.

use serde::Serialize;
use sovr_broker::settings::storage::StorageKind;
use sovr_capability::Untrusted;
use sovr_dfs::UserName;

use super::{account, block_on};
use crate::account::{hidden, password, shown};
use crate::exit::Exit;
use crate::output::{Output, STRONG};

/// Log in to a FairOS-dfs server
///
/// What the server gives for the password is kept for the commands after it, until `logout` or for a day at most; the
/// password is not. It comes from SOVR_FAIROS_PASSWORD, the credentials file or a question, never from the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The user's name there [default: the one in SOVR_USER, the credentials file or storage.toml]
    #[arg(value_name = "USER", value_parser = account::name)]
    user: Option<UserName>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report<'a> {
    server: &'a str,
    user: &'a str,
    address: Untrusted,
}

/// Logs in.
pub(crate) fn login(args: &Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    let account = account::of_server("login", dfs, output)?;
    let user = account::user(&account, args.user.as_ref(), output)?;
    let server = shown(account.server().as_str());
    // An address that cannot be used is told before anybody types a password.
    account.open_as(user.clone(), None, None)?;
    let password = password(account.password(), || {
        hidden(&format!("Password of {user} at {server}: "))
    })?;
    let dfs = account.open_as(user.clone(), Some(password), None)?;
    let (login, found) = block_on(async { Ok((dfs.login().await?, dfs.whoami().await?)) })?;
    account.keep(&user, &login)?;
    if output.json {
        output.document(&Report {
            server: &server,
            user: user.as_str(),
            address: found.address,
        })?;
        return Ok(Exit::Ok);
    }
    output.say(format_args!(
        "Logged in to {server} as {}, address {}.\nKept until `sovr-host logout`, or until the server forgets it.",
        output.stderr.paint(STRONG, &user),
        found.address.escaped()
    ));
    if let Some(next) = account::next(&account, &user) {
        output.say(next);
    }
    Ok(Exit::Ok)
}
