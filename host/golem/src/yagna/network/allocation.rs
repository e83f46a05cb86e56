//! A job's money at the daemon.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sovr_capability::Amount;

use super::scribe::Scribe;
use super::settings::NetworkSettings;
use crate::network::NetworkError;
use crate::yagna::connection::Daemon;
use crate::yagna::error::{DaemonError, ErrorKind};
use crate::yagna::journal::Change;

/// After the job's own time: for its end and the last bills.
const AFTER: SignedDuration = SignedDuration::from_mins(15);
/// No job is thought to take longer.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// When a job that may take so long is over.
pub(super) fn end_of(lifetime: Duration) -> Timestamp {
    let lifetime = SignedDuration::try_from(lifetime.min(LONGEST)).unwrap_or(SignedDuration::ZERO);
    Timestamp::now() + lifetime
}

/// Sets the budget aside until some time after `end`. Answers the allocation's id.
pub(super) async fn set_aside(
    daemon: &Daemon,
    settings: &NetworkSettings,
    amount: Amount,
    end: Timestamp,
    scribe: &Scribe,
) -> Result<String, NetworkError> {
    let (platform, timeout) = (settings.platform(), end + AFTER);
    let wanted = Change::AllocationWanted {
        amount,
        platform: platform.clone(),
        timeout,
    };
    scribe.write(wanted).await.map_err(|error| {
        let reason = format!("the journal cannot be written: {error}");
        unavailable(settings, reason)
    })?;
    let id = match daemon.allocate(amount, &platform, timeout).await {
        Ok(allocation) => allocation.id,
        Err(error) => match find(daemon, &error, timeout).await {
            Some(id) => id,
            None => {
                // What may have been set aside without our hearing of it is left to who cleans up.
                if !error.kind.may_pass() {
                    scribe.note(Change::AllocationRefused);
                }
                return Err(explain(settings, amount, &error));
            }
        },
    };
    scribe.note(Change::AllocationOpened { id: id.clone() });
    Ok(id)
}

/// What was done although the answer was lost.
async fn find(daemon: &Daemon, error: &DaemonError, timeout: Timestamp) -> Option<String> {
    if !error.kind.may_pass() {
        return None;
    }
    by_timeout(daemon, timeout).await.ok()?
}

/// The allocation that ends by itself at this moment, of which the daemon may keep fewer digits.
pub(in crate::yagna) async fn by_timeout(
    daemon: &Daemon,
    timeout: Timestamp,
) -> Result<Option<String>, DaemonError> {
    let is_it = |found: Timestamp| found.as_microsecond() == timeout.as_microsecond();
    let all = daemon.allocations().await?;
    let found = all.into_iter().find(|one| one.timeout.is_some_and(is_it));
    Ok(found.map(|allocation| allocation.id))
}

fn explain(settings: &NetworkSettings, asked: Amount, error: &DaemonError) -> NetworkError {
    let about_driver = || error.reason.raw().to_lowercase().contains("driver");
    match error.kind {
        ErrorKind::NoFunds(funds) => NetworkError::InsufficientFunds {
            asked,
            available: funds.available,
            reserved: funds.reserved,
        },
        ErrorKind::NoAccount => no_account(settings, error),
        // "Driver not running" and its like.
        ErrorKind::Daemon if about_driver() => no_account(settings, error),
        _ => unavailable(settings, error.to_string()),
    }
}

fn no_account(settings: &NetworkSettings, error: &DaemonError) -> NetworkError {
    NetworkError::NoPaymentAccount {
        driver: settings.driver.clone(),
        network: settings.network.clone(),
        reason: error.reason.escaped(),
    }
}

pub(super) fn unavailable(settings: &NetworkSettings, reason: String) -> NetworkError {
    NetworkError::Unavailable {
        network: settings.network.clone(),
        reason,
    }
}
