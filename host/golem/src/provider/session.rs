//! Sessions, and those that dead providers left open.
//!
//! A provider that is killed ends nothing and bills nothing, and its daemon keeps its agreements in force. So each
//! session has a file for as long as anything of it may be open, locked while its provider lives: the kernel drops the
//! lock with the process, and the next provider settles what is not locked. What is owed it hears from the daemon: the
//! last debit note of each activity. What was done after that note is not billed. The file says whose session it is and
//! which offers it has.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use sovr_capability::Amount;

use super::agreement::{DUE, SEND};
use super::event::Event;
use super::{ProvideError, Shared};
use crate::network::NodeId;
use crate::yagna::activity::ActivityState;
use crate::yagna::market::{AgreementEntry, Side};
use crate::yagna::payment::BillStatus;
use crate::yagna::{DaemonError, ErrorKind};

const PREFIX: &str = "session-";
/// An offer each hour is some hundred bytes: enough for years.
const MOST_BYTES: u64 = 2 << 20;

/// A session, locked by this process.
pub(super) struct Session {
    pub(super) id: String,
    path: PathBuf,
    /// Locked for as long as it is open.
    file: File,
}

/// One that nobody holds any more.
pub(super) struct Left {
    session: Session,
    offers: Vec<String>,
}

impl Session {
    /// Begins one that nobody else has.
    pub(super) fn begin(scratch: &Path, node: &NodeId) -> Result<Self, ProvideError> {
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(|error| ProvideError::Random(error.to_string()))?;
        let id = format!("sovr-provider-{}", hex::encode(number));
        let path = scratch.join(format!("{PREFIX}{id}"));
        let begun = (|| {
            std::fs::create_dir_all(scratch)?;
            // While it is made and not yet locked, nobody looks for what is left.
            let seekers = File::open(scratch)?;
            flock(&seekers, FlockOperation::LockShared)?;
            let mut file = File::create_new(&path)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            writeln!(file, "{node}")?;
            Ok(file)
        })();
        let file = begun.map_err(|error: io::Error| ProvideError::Session {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self { id, path, file })
    }

    /// What dead providers of this node left. What cannot be looked at now is left for another time, and what another
    /// node's providers left for those: this daemon would know nothing of it.
    pub(super) fn left(scratch: &Path, node: &NodeId) -> Vec<Left> {
        let Ok(makers) = File::open(scratch) else {
            return Vec::new();
        };
        if flock(&makers, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir(scratch) else {
            return Vec::new();
        };
        let left = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let id = name.strip_prefix(PREFIX)?.to_owned();
            let path = entry.path();
            let file = File::open(&path).ok()?;
            flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
            let mut text = String::new();
            (&file).take(MOST_BYTES).read_to_string(&mut text).ok()?;
            let mut lines = text.lines().map(str::to_owned);
            (lines.next()? == node.to_string()).then(|| Left {
                offers: lines.collect(),
                session: Self { id, path, file },
            })
        });
        left.collect()
    }

    /// Remembers an offer, which stays at the daemon as agreements do.
    pub(super) fn offered(&self, offer: &str) -> io::Result<()> {
        writeln!(&self.file, "{offer}")
    }

    /// Nothing of it is open any more.
    pub(super) fn end(&self) {
        // One that stays is settled again, which changes nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shared {
    /// Ends and bills what dead providers left.
    pub(super) async fn settle(&self) {
        for left in Session::left(&self.settings.scratch, &self.node) {
            match self.settle_one(&left).await {
                Ok(()) => left.session.end(),
                Err(error) => self.trouble(&error),
            }
        }
    }

    async fn settle_one(&self, left: &Left) -> Result<(), DaemonError> {
        for offer in &left.offers {
            match self.daemon.withdraw_offer(offer).await {
                Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for agreement in self.daemon.agreements(&left.session.id).await? {
            if agreement.role == Side::Provider && agreement.approved_date.is_some() {
                self.settle_agreement(&agreement).await?;
            }
        }
        Ok(())
    }

    async fn settle_agreement(&self, agreement: &AgreementEntry) -> Result<(), DaemonError> {
        let (daemon, id, since) = (&self.daemon, &agreement.id, agreement.timestamp);
        let words = "the provider's program was interrupted and has started again";
        daemon.break_agreement(id, "Shutdown", words).await?;
        self.tell(&Event::LeftEnded {
            agreement: id.clone(),
        });
        let activities = daemon.activities(id).await?;
        for activity in &activities {
            // It may have ended in order.
            let _ = daemon
                .report_state(activity, ActivityState::Terminated, Some(words))
                .await;
        }
        let mut owed = HashMap::<_, Amount>::new();
        for note in daemon.issued_debit_notes(since).await? {
            if note.agreement_id == *id {
                let latest = owed.entry(note.activity_id).or_default();
                *latest = note.total_amount_due.max(*latest);
            }
        }
        let amount = Amount::checked_sum(owed.into_values()).unwrap_or(Amount::MAX);
        let due = Timestamp::now()
            .saturating_add(DUE)
            .unwrap_or(Timestamp::MAX);
        let invoice = match daemon.issued_invoice(id, since).await? {
            Some(invoice) if invoice.status != BillStatus::Issued => return Ok(()),
            Some(invoice) => invoice.id,
            None => daemon.issue_invoice(id, &activities, amount, due).await?,
        };
        daemon.send_invoice(&invoice, SEND).await?;
        self.tell(&Event::InvoiceSent {
            agreement: id.clone(),
            invoice,
            amount,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sessions_of_dead_providers_are_settled() {
        let scratch = tempfile::tempdir().unwrap();
        let (node, other) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        let left_of = |node| Session::left(scratch.path(), node);
        assert_eq!(left_of(&node).len(), 0);
        let begin = || Session::begin(scratch.path(), &node).unwrap();
        let (alive, dead) = (begin(), begin());
        let (id, lives) = (dead.id.clone(), alive.id.clone());
        dead.offered("first").unwrap();
        dead.offered("second").unwrap();
        drop(dead);
        assert_eq!(left_of(&other).len(), 0);
        let left = || {
            let left = left_of(&node).into_iter();
            left.map(|left| (left.session.id, left.offers))
                .collect::<Vec<_>>()
        };
        let offers = vec!["first".to_owned(), "second".to_owned()];
        assert_eq!(left(), [(id, offers)]);
        left_of(&node).pop().unwrap().session.end();
        assert_eq!(left(), []);
        drop(alive);
        assert_eq!(left(), [(lives, Vec::new())]);
    }
}
