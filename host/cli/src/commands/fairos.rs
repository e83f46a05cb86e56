//! What `doctor` finds at a FairOS-dfs server that the settings name.

use std::time::Duration;

use sovr_broker::account::Account;
use sovr_broker::settings::storage::Fairos;
use sovr_capability::{Home, Untrusted};
use sovr_dfs::fairos::{AccountError, FairosDfs};

use super::doctor::{Item, State, item};
use super::{block_on, whoami};
use crate::account::{advice, shown};

/// A server that is well says its version at once; who is logged in may cost it look-ups on the network.
const PATIENCE: Duration = Duration::from_secs(20);
/// The oldest version that is spoken to in the dialect of the newest, and the newest that was tried.
const TRIED: ([u32; 3], [u32; 3]) = ([0, 9, 5], [0, 10, 1]);

/// The server, and the user's account there.
pub(super) fn look(settings: Fairos) -> anyhow::Result<(Item, Vec<Item>)> {
    let address = shown(settings.server.as_str());
    let dfs = FairosDfs::anonymous(&settings.server, settings.allow_plain_http);
    let version = block_on(async {
        Ok(match dfs {
            Ok(dfs) => tokio::time::timeout(PATIENCE, dfs.version()).await,
            Err(error) => Ok(Err(error)),
        })
    })?;
    let mut account: Vec<Item> = settings
        .warnings
        .iter()
        .map(|warning| item("credentials", State::Partial, warning))
        .collect();
    let server = match version {
        Ok(Ok(version)) => {
            account.push(login(settings)?);
            server(&address, &version)
        }
        Ok(Err(error)) => item("FairOS-dfs", State::Missing, in_words(&error)),
        Err(_) => item(
            "FairOS-dfs",
            State::Missing,
            format_args!(
                "no answer from {address} within {} s\ncheck that the server runs, and `server` in [fairos] of \
                 storage.toml",
                PATIENCE.as_secs()
            ),
        ),
    };
    Ok((server, account))
}

fn in_words(error: &sovr_dfs::Error) -> String {
    match error {
        sovr_dfs::Error::Account(account) => with_advice(account),
        error => error.to_string(),
    }
}

fn with_advice(error: &AccountError) -> String {
    match advice(error) {
        Some(advice) => format!("{error}\n{advice}"),
        None => error.to_string(),
    }
}

fn server(address: &str, version: &Untrusted) -> Item {
    let shown = version.escaped_within(40);
    let at = format!("{shown} at {address}");
    let (least, most) = TRIED;
    match parsed(version.raw()) {
        None => item(
            "FairOS-dfs",
            State::Ok,
            format_args!("{at}\na version without a number; v0.9.5 to v0.10.1 are known to work"),
        ),
        Some(found) if found < least => item(
            "FairOS-dfs",
            State::Partial,
            format_args!(
                "{at}\nolder than v0.9.5: it is spoken to in the old dialect, where it has one"
            ),
        ),
        Some(found) if found > most => item(
            "FairOS-dfs",
            State::Partial,
            format_args!("{at}\nnewer than v0.10.1, the newest that this program was tried with"),
        ),
        Some(_) => item("FairOS-dfs", State::Ok, at),
    }
}

/// `v0.10.1` or `0.9.5-rc1`, as three numbers.
fn parsed(version: &str) -> Option<[u32; 3]> {
    let version = version.trim();
    let plain = version.strip_prefix('v').unwrap_or(version);
    let plain = plain.split(['-', '+']).next()?;
    let numbers: Result<Vec<u32>, _> = plain.split('.').map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

fn login(settings: Fairos) -> anyhow::Result<Item> {
    let missing = |error: &dyn std::fmt::Display| item("account", State::Missing, error);
    let home = match Home::from_environment() {
        Ok(home) => home,
        Err(error) => return Ok(missing(&error)),
    };
    let account = match Account::new(settings, &home) {
        Ok(account) => account,
        Err(error) => return Ok(missing(&error)),
    };
    if account.user().is_none() {
        let found = "none: only what others share can be read, by its reference\n`sovr-host login`, or `sovr-host \
                     signup` for a new account";
        return Ok(item("account", State::Partial, found));
    }
    let asked = block_on(async { Ok(tokio::time::timeout(PATIENCE, account.look()).await) })?;
    Ok(match asked {
        Ok(Ok(found)) => item(
            "account",
            State::Ok,
            format_args!(
                "{}, address {}\nby {}",
                found.user.escaped(),
                found.address.escaped(),
                whoami::in_words(account.proof())
            ),
        ),
        Ok(Err(sovr_broker::Error::Dfs(error))) => missing(&in_words(&error)),
        Ok(Err(error)) => missing(&error),
        Err(_) => missing(&format_args!(
            "the server did not say who is logged in within {} s\ntry again; its log may say more",
            PATIENCE.as_secs()
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart_by_their_numbers() {
        let state = |version: &str| server("http://x", &Untrusted::new(version)).state;
        for (version, expected) in [
            ("v0.10.1", State::Ok),
            ("0.9.5\n", State::Ok),
            ("0.9.5-rc2", State::Ok),
            ("dev", State::Ok),
            ("v0.9.4", State::Partial),
            ("0.8.1-dev", State::Partial),
            ("v0.10.2", State::Partial),
            ("v1.0.0", State::Partial),
        ] {
            assert_eq!(state(version), expected, "{version}");
        }
        let hostile = server("http://x", &Untrusted::new("\u{1b}[2Jv0.10.1"));
        assert!(!hostile.found.contains('\u{1b}'));
    }
}
