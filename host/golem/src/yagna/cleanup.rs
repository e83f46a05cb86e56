//! Ends what a crash left at the daemon: what a journal says of a session, and what the daemon says belongs to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sovr_capability::{Amount, Untrusted};
use tokio::time::Instant;

use super::closing::close;
use super::connection::Daemon;
use super::error::{DaemonError, ErrorKind};
use super::journal::{Change, Journal, OpenSession};
use super::market::AgreementState;
use super::network::allocation::by_timeout;
use super::payment::{BillStatus, Invoice};
use crate::blocking::blocking;
use crate::network::{NodeId, TerminateReason};

/// How long an activity may take to end.
const DESTROY: Duration = Duration::from_secs(30);
/// How long the daemon is asked to wait for bills at a time.
const POLL: Duration = Duration::from_secs(5);
/// It takes whole seconds, and does not wait for less.
const SHORTEST: Duration = Duration::from_secs(1);

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
    let mut sweep = Sweep {
        daemon,
        session,
        journal,
        report: Report::default(),
        waits: false,
    };
    match daemon.identity().await {
        Ok(identity) if identity.id == session.node => sweep.all(grace).await,
        Ok(identity) => sweep.report.problems.push(format!(
            "the session {} belongs to {}, and the app-key to {}: set YAGNA_APPKEY to a key of the former",
            session.id, session.node, identity.id
        )),
        Err(error) => sweep.report.problems.push(error.to_string()),
    }
    sweep.report
}

struct Sweep<'a> {
    daemon: &'a Daemon,
    session: &'a OpenSession,
    journal: Arc<dyn Journal>,
    report: Report,
    /// A bill is to come some time.
    waits: bool,
}

/// An agreement on its way to its end.
struct Ending {
    provider: NodeId,
    ceiling: Amount,
    /// Whether there is a bill to come.
    has_worked: bool,
    invoice: Option<Invoice>,
}

impl Sweep<'_> {
    async fn all(&mut self, grace: Duration) {
        for demand in &self.session.demands {
            match self.daemon.withdraw(demand).await {
                Ok(()) => self.report.demands += 1,
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => self.fail(&error),
            }
        }
        let mut endings = self.end_agreements().await;
        self.hear_invoices(&mut endings, grace).await;
        if let Err(error) = self.settle_all(endings).await {
            self.fail(&error);
        }
        if self.report.problems.is_empty() {
            self.write(Change::SessionClosed).await;
        }
    }

    /// Pays what is owed, and gives the rest back. What is not known to be owed or not, or to be there or not, is left for
    /// the next time.
    async fn settle_all(&mut self, endings: BTreeMap<String, Ending>) -> Result<(), DaemonError> {
        let allocation = self.allocation().await?;
        let noted = self.noted().await?;
        for (id, ending) in endings {
            let noted = noted.get(&id).copied().unwrap_or_default();
            self.settle(id, ending, noted, allocation.as_deref()).await;
        }
        if let Some(id) = allocation.filter(|_| !self.waits) {
            let left = self.daemon.allocation(&id).await;
            close(|| self.daemon.release(&id)).await?;
            self.report.released = left.ok().map(|left| left.remaining_amount);
            self.write(Change::AllocationClosed { id }).await;
        }
        Ok(())
    }

    fn fail(&mut self, error: &DaemonError) {
        self.report.problems.push(error.to_string());
    }

    async fn write(&mut self, change: Change) {
        let (journal, session) = (Arc::clone(&self.journal), self.session.id.clone());
        if let Err(error) = blocking(move || journal.record(&session, &change)).await {
            let problem = format!("the journal cannot be written: {error}");
            self.report.problems.push(problem);
        }
    }

    async fn close(&mut self, id: String, accepted: Amount) {
        self.write(Change::AgreementClosed { id, accepted }).await;
    }

    /// What was set aside, if it is still there.
    async fn allocation(&self) -> Result<Option<String>, DaemonError> {
        let Some(open) = &self.session.allocation else {
            return Ok(None);
        };
        let Some(id) = &open.id else {
            return by_timeout(self.daemon, open.timeout).await;
        };
        match self.daemon.allocation(id).await {
            Ok(found) => Ok(Some(found.id)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends all agreements of the session, those that nobody wrote down among them.
    async fn end_agreements(&mut self) -> BTreeMap<String, Ending> {
        let mut ids: Vec<_> = self.session.agreements.keys().cloned().collect();
        match self.daemon.agreements(&self.session.id).await {
            Ok(known) => {
                let known = known.into_iter().map(|entry| entry.id);
                ids.extend(known.filter(|id| !self.session.settled.contains(id)));
            }
            Err(error) => self.fail(&error),
        }
        ids.sort();
        ids.dedup();
        let mut endings = BTreeMap::new();
        for id in ids {
            match self.end_agreement(&id).await {
                Ok(Some(ending)) => {
                    endings.insert(id, ending);
                }
                Ok(None) => self.close(id, Amount::ZERO).await,
                Err(error) => self.fail(&error),
            }
        }
        endings
    }

    /// None if the agreement never was in force.
    async fn end_agreement(&mut self, id: &str) -> Result<Option<Ending>, DaemonError> {
        let agreement = match self.daemon.agreement(id).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            agreement => agreement?,
        };
        match agreement.state {
            AgreementState::Approved | AgreementState::Terminated => {}
            AgreementState::Pending => {
                match self.daemon.cancel(id, "the program has ended").await {
                    // It was approved in this moment; the next cleaning finds it so.
                    Err(error) if error.kind == ErrorKind::Gone => return Err(error),
                    cancelled => return cancelled.map(|()| None),
                }
            }
            _ => return Ok(None),
        }
        let activities = self.daemon.activities(id).await?;
        if agreement.state == AgreementState::Approved {
            for activity in &activities {
                // If it does not end, the end of the agreement is its end, too.
                let _ = self.daemon.destroy_activity(activity, DESTROY).await;
            }
            let reason = TerminateReason::Cancelled("the program has ended".to_owned());
            self.daemon.terminate(id, &reason).await?;
        }
        let open = self.session.agreements.get(id);
        Ok(Some(Ending {
            provider: agreement.offer.provider_id,
            ceiling: open.map_or(Amount::ZERO, |open| open.ceiling),
            has_worked: !activities.is_empty(),
            invoice: None,
        }))
    }

    /// Waits for the invoices that are to come.
    async fn hear_invoices(&mut self, endings: &mut BTreeMap<String, Ending>, grace: Duration) {
        let end = Instant::now() + grace;
        let mut after = Timestamp::UNIX_EPOCH;
        while endings
            .values()
            .any(|ending| ending.has_worked && ending.invoice.is_none())
        {
            let left = end.saturating_duration_since(Instant::now());
            let is_last = left < SHORTEST;
            let heard = self
                .daemon
                .invoice_events(&self.session.id, after, left.min(POLL));
            let heard = match heard.await {
                Ok(heard) => heard,
                Err(error) => return self.fail(&error),
            };
            let before = after;
            for event in heard {
                after = event.event_date.max(after);
                match self.daemon.invoice(&event.id).await {
                    Ok(invoice) => {
                        if let Some(ending) = endings.get_mut(&invoice.agreement_id) {
                            ending.invoice = Some(invoice);
                        }
                    }
                    Err(error) => return self.fail(&error),
                }
            }
            if is_last && after == before {
                return;
            }
        }
    }

    /// Accepts what is owed, if that is allowed.
    async fn settle(
        &mut self,
        id: String,
        ending: Ending,
        noted: Amount,
        allocation: Option<&str>,
    ) {
        let Ending {
            provider,
            ceiling,
            has_worked,
            invoice,
        } = ending;
        // What notes have accepted is owed, whatever the ceiling became.
        let ceiling = ceiling.max(noted);
        let mut settled = Settled {
            agreement: id.clone(),
            claimed: invoice.as_ref().map_or(noted, |invoice| invoice.amount),
            provider,
            accepted: noted,
        };
        let mut is_settled = true;
        let answer = match (&invoice, allocation) {
            // The money waits for it, until the allocation ends by itself.
            (None, Some(_)) if has_worked => {
                let who = &settled.provider;
                self.report
                    .problems
                    .push(format!("{who} has sent no bill for the agreement {id} yet"));
                self.waits = true;
                is_settled = false;
                Ok(())
            }
            (None, _) => Ok(()),
            (Some(invoice), _) if is_accepted(invoice.status) => {
                settled.accepted = invoice.amount.max(noted);
                Ok(())
            }
            (Some(invoice), Some(allocation)) if invoice.amount <= ceiling => {
                let accept = self
                    .daemon
                    .accept_invoice(&invoice.id, invoice.amount, allocation);
                accept
                    .await
                    .map(|()| settled.accepted = invoice.amount.max(noted))
            }
            (Some(invoice), _) if invoice.status == BillStatus::Rejected => Ok(()),
            (Some(invoice), None) if invoice.amount <= ceiling => {
                self.report.problems.push(format!(
                    "nothing is set aside any more to pay {} GLM to {} for the agreement {id}",
                    invoice.amount, settled.provider
                ));
                Ok(())
            }
            (Some(invoice), _) => {
                let why = format!("{} GLM are more than was agreed", invoice.amount);
                let why = Untrusted::new(why);
                self.daemon.reject_invoice(&invoice.id, &why).await
            }
        };
        let accepted = settled.accepted;
        self.report.agreements.push(settled);
        match answer {
            Ok(()) if is_settled => self.close(id, accepted).await,
            Ok(()) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// What was accepted by debit notes, by agreement.
    async fn noted(&self) -> Result<HashMap<String, Amount>, DaemonError> {
        // Each note tells what is owed for its activity since that began.
        let mut latest: HashMap<(String, String), Amount> = HashMap::new();
        let mut after = Timestamp::UNIX_EPOCH;
        loop {
            let events = self
                .daemon
                .debit_note_events(&self.session.id, after, Duration::ZERO);
            let events = events.await?;
            let before = after;
            for event in events {
                after = event.event_date.max(after);
                let note = self.daemon.debit_note(&event.id).await?;
                if is_accepted(note.status) {
                    let of = (note.agreement_id, note.activity_id);
                    let owed = latest.entry(of).or_default();
                    *owed = note.total_amount_due.max(*owed);
                }
            }
            if after == before {
                break;
            }
        }
        let mut sums: HashMap<String, Amount> = HashMap::new();
        for ((agreement, _), owed) in latest {
            let sum = sums.entry(agreement).or_default();
            *sum = sum.checked_add(owed).unwrap_or(Amount::MAX);
        }
        Ok(sums)
    }
}

fn is_accepted(status: BillStatus) -> bool {
    matches!(status, BillStatus::Accepted | BillStatus::Settled)
}
