//! `sovr-host logout`: the end of the kept login, here and on its server.

use serde::Serialize;
use sovr_broker::account::{Account, Kept};
use sovr_broker::settings::storage::{Fairos, Storage, StorageKind};
use sovr_capability::Home;

use super::{block_on, storage};
use crate::account::shown;
use crate::exit::Exit;
use crate::output::Output;

/// End the login at a FairOS-dfs server
///
/// The kept login is removed also when its server cannot be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    /// Whether there was a login.
    logged_out: bool,
    server: Option<String>,
    user: Option<String>,
    /// Whether the server knows; none if there was nothing to tell it.
    server_told: Option<bool>,
    /// Why not.
    reason: Option<String>,
}

/// Logs out.
pub(crate) fn logout(_: &Args, dfs: Option<StorageKind>, output: Output) -> anyhow::Result<Exit> {
    let host = storage::host(dfs, output)?;
    let home = host.home();
    let path = home.fairos_login();
    // What cannot be used is removed all the same.
    let kept = Kept::read(&path);
    let removed = Kept::remove(&path)?;
    let mut report = Report {
        logged_out: removed,
        ..Report::default()
    };
    if let Ok(Some(kept)) = &kept {
        let server = shown(kept.server.as_str());
        report.server = Some(server);
        report.user = Some(kept.user.to_string());
        let plain = match host.storage_settings() {
            Ok(Storage::Fairos(fairos)) => fairos.allow_plain_http,
            _ => false,
        };
        let told = tell(kept, plain, home);
        report.server_told = Some(told.is_ok());
        report.reason = told.err().map(|error| error.to_string());
    } else if let Err(error) = kept {
        report.reason = Some(error.to_string());
    }
    if output.json {
        output.document(&report)?;
        return Ok(Exit::Ok);
    }
    match (&report.user, &report.server, &report.reason) {
        (Some(user), Some(server), None) => {
            output.say(format_args!("Logged out: {user} at {server}."));
        }
        (Some(user), Some(server), Some(reason)) => {
            output.say(format_args!(
                "Removed the login of {user} at {server} from this machine."
            ));
            output.warn(format_args!(
                "the server could not be told, and may take that login for up to a day: {reason}"
            ));
        }
        _ if removed => output.say("Removed a kept login that could not be used."),
        _ => output.say("You were not logged in."),
    }
    Ok(Exit::Ok)
}

/// Has the server forget the login.
fn tell(kept: &Kept, allow_plain_http: bool, home: &Home) -> anyhow::Result<()> {
    let settings = Fairos {
        server: kept.server.clone(),
        user: Some(kept.user.clone()),
        password: None,
        credentials: None,
        allow_plain_http,
        warnings: Vec::new(),
    };
    let account = Account::new(settings, home)?;
    let dfs = account.open_as(kept.user.clone(), None, Some(kept.login.clone()))?;
    block_on(async { Ok(dfs.logout().await?) })
}
