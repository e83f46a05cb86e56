//! How things stand at a daemon: who acts, what can pay, what is set aside, what is open.
//!
//! What is asked here changes nothing, so it is safe to ask a daemon that others work with at the same time. Who the
//! app-key acts for comes first: without an answer to that the others are of no use. Of the rest each may fail alone,
//! because a daemon whose payments are broken still knows its agreements, and that is when one looks.

use super::connection::{Daemon, Identity, Version};
use super::error::DaemonError;
use super::market::{AgreementEntry, DemandEntry};
use super::payment::{Account, Allocation, PaymentProblem};

/// How things stand at a daemon, for the identity of the app-key.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Who acts.
    pub identity: Identity,
    /// Which daemon it is.
    pub version: Result<Version, DaemonError>,
    /// What can pay. Only accounts that were used since the daemon started: an empty list does not mean that there is
    /// none, for the first allocation makes the account ready.
    pub accounts: Result<Vec<Account>, DaemonError>,
    /// What is set aside.
    pub allocations: Result<Vec<Allocation>, DaemonError>,
    /// Agreements in force.
    pub agreements: Result<Vec<AgreementEntry>, DaemonError>,
    /// Demands that the market knows.
    pub demands: Result<Vec<DemandEntry>, DaemonError>,
    /// What keeps payments from coming through. An error of the kind
    /// [`NoAccount`](super::ErrorKind::NoAccount) says that the daemon has no such driver or network.
    pub problems: Result<Vec<PaymentProblem>, DaemonError>,
}

impl Daemon {
    /// How things stand, with payments by this driver on this network.
    ///
    /// # Errors
    /// When the daemon does not say who the app-key acts for.
    pub async fn standing(&self, driver: &str, network: &str) -> Result<Standing, DaemonError> {
        let identity = self.identity().await?;
        let (version, accounts, allocations, agreements, demands, problems) = tokio::join!(
            self.version(),
            self.requestor_accounts(),
            self.allocations(),
            self.agreements_in_force(),
            self.demands(),
            self.payment_problems(driver, network),
        );
        Ok(Standing {
            identity,
            version,
            accounts,
            allocations,
            agreements,
            demands,
            problems,
        })
    }
}
