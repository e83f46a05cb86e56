//! `sovr-host whoami`: whose storage it is, and how that is known.

use serde::Serialize;
use sovr_broker::account::{Account, Proof};
use sovr_broker::settings::storage::{Storage, StorageKind};
use sovr_capability::Untrusted;

use super::{account, block_on, storage};
use crate::account::shown;
use crate::exit::Exit;
use crate::output::{FAINT, Output};

/// Show whose storage it is, where, and how you are logged in
///
/// A server is asked, so that what it says is what the other commands meet.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Debug, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
enum Report {
    Local {
        user: String,
        directory: String,
    },
    Fairos {
        server: String,
        user: Untrusted,
        address: Untrusted,
        /// How the login is held.
        held: Proof,
    },
}

/// Shows it.
pub(crate) fn whoami(_: &Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    let host = storage::host(dfs, output)?;
    let report = match host.storage_settings()? {
        Storage::Local(local) => Report::Local {
            user: local.user.to_string(),
            directory: storage::shown(&local.directory),
        },
        Storage::Fairos(fairos) => {
            host.home().prepare()?;
            account::warn(&fairos, output);
            let account = Account::new(fairos, host.home())?;
            let dfs = account.open()?;
            let found = block_on(async { Ok(dfs.whoami().await?) })?;
            Report::Fairos {
                server: shown(account.server().as_str()),
                user: found.user,
                address: found.address,
                held: account.proof(),
            }
        }
    };
    if output.json {
        output.document(&report)?;
        return Ok(Exit::Ok);
    }
    let facts = match report {
        Report::Local { user, directory } => vec![
            ("storage", "local".to_owned()),
            ("user", user),
            ("directory", directory),
        ],
        Report::Fairos {
            server,
            user,
            address,
            held,
        } => vec![
            ("storage", "fairos".to_owned()),
            ("server", server),
            ("user", user.escaped()),
            ("address", address.escaped()),
            ("held", in_words(held).to_owned()),
        ],
    };
    for (what, fact) in facts {
        let what = output.stdout.paint(FAINT, format_args!("{what:<9}"));
        output.result(format_args!("{what}  {fact}\n"))?;
    }
    Ok(Exit::Ok)
}

/// How somebody proves who they are.
pub(super) fn in_words(proof: Proof) -> &'static str {
    match proof {
        Proof::Login => "the login kept by `sovr-host login`",
        Proof::Variable => "the password in SOVR_FAIROS_PASSWORD",
        Proof::Credentials => "the password in the credentials file",
        Proof::None => "nothing",
    }
}
