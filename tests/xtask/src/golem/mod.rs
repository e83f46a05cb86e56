//! What tests of Golem run against, none of it ours: the daemon, and the official clients as a check of the provider.

mod clients;
mod daemon;

use anyhow::Result;
use sovr_test_golem::client::Client;
use sovr_test_golem::place;

/// Installs everything, unless that is done.
pub(crate) fn install() -> Result<()> {
    daemon::install()?;
    Client::ALL.into_iter().try_for_each(clients::install)
}

/// Installs what can be had. In CI that must be all; elsewhere tests that need it are left out, and say so.
pub(crate) fn install_for_tests() -> Result<()> {
    let clients = Client::ALL.map(clients::install);
    for installed in [daemon::install()].into_iter().chain(clients) {
        match installed {
            Err(error) if !place::is_ci() => {
                eprintln!("skipped, and the tests that need it: {error:#}");
            }
            done => done?,
        }
    }
    Ok(())
}
