//! What the commands on an account have in common: finding out whose and where.

use sovr_broker::account::Account;
use sovr_broker::settings::storage::{Fairos, Storage, StorageKind};
use sovr_dfs::UserName;

use super::storage;
use crate::account::{AtTerminal, shown};
use crate::failure::Usage;
use crate::interview::Interview;
use crate::output::{Output, width};
use crate::prompt::{Console, StandardConsole};

/// The account that the settings mean, for a command that only a server understands.
pub(super) fn of_server(
    command: &str,
    dfs: Option<StorageKind>,
    output: Output,
) -> anyhow::Result<Account> {
    let host = storage::host(dfs, output)?;
    match host.storage_settings()? {
        Storage::Fairos(fairos) => {
            host.home().prepare()?;
            warn(&fairos, output);
            Ok(Account::new(fairos, host.home())?)
        }
        Storage::Local(_) => Err(Usage(format!(
            "`{command}` is for a FairOS-dfs server, and your storage is a directory of this machine, which needs no \
             account; write `--dfs fairos`, or `kind = \"fairos\"` in storage.toml"
        ))
        .into()),
    }
}

/// Says what is odd about the settings.
pub(super) fn warn(settings: &Fairos, output: Output) {
    use sovr_broker::account::Holder;
    for warning in &settings.warnings {
        AtTerminal(output).warn(warning);
    }
}

/// The user: named on the command line, by the settings, or on a terminal.
pub(super) fn user(
    account: &Account,
    named: Option<&UserName>,
    output: Output,
) -> anyhow::Result<UserName> {
    let set = account.settings().user.as_ref();
    match (named, set) {
        (Some(named), Some(set)) if named != set => Err(Usage(format!(
            "the command line names the user `{named}`, and SOVR_USER, storage.toml or the credentials file names \
             `{set}`, who would be meant by the next command; name one user only"
        ))
        .into()),
        (Some(user), _) | (None, Some(user)) => Ok(user.clone()),
        (None, None) => asked(account, output),
    }
}

fn asked(account: &Account, output: Output) -> anyhow::Result<UserName> {
    let console = StandardConsole;
    if !console.is_interactive() {
        return Err(Usage(
            "nothing says which user is meant: name one on the command line, by SOVR_USER, or as `user` in \
             storage.toml"
                .to_owned(),
        )
        .into());
    }
    let mut interview = Interview::new(console, output.stderr, width(std::io::stderr()));
    let before = account.user().map(ToString::to_string);
    let question = format!("User at {}", shown(account.server().as_str()));
    interview.line(&question, before.as_deref().unwrap_or(""), |name| {
        name.parse()
            .map_err(|error: sovr_dfs::NameError| error.to_string())
    })
}

/// What to set so that the next command means the same account, where the kept login alone does not do.
pub(super) fn next(account: &Account, user: &UserName) -> Option<String> {
    let settings = account.settings();
    settings.user.is_none().then(|| {
        format!(
            "The next commands are {user}'s for as long as the login holds; `user = \"{user}\"` in storage.toml makes \
             it so for good."
        )
    })
}

/// A user on the command line.
pub(super) fn name(text: &str) -> Result<UserName, String> {
    text.parse()
        .map_err(|error: sovr_dfs::NameError| error.to_string())
}
