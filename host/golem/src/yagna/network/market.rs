//! Answers to one demand, and the offers among them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use sovr_capability::Amount;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::acceptor::{patiently, words};
use super::account::Account;
use super::agreement::{Contract, YagnaAgreement};
use super::offer::Offer;
use super::session::{Member, Session};
use super::stall::{Stall, Told, Turn};
use crate::network::{
    Agreement, Market, MarketEvent, NetworkError, NodeId, Proposal, Provider, TerminateReason,
};
use crate::price::LinearPrice;
use crate::timing::until;
use crate::yagna::error::{DaemonError, ErrorKind};
use crate::yagna::journal::Change;
use crate::yagna::market::AgreementEventKind;
use crate::yagna::pace::Pace;

/// How long the daemon is asked to wait for an approval at a time.
const WAIT: Duration = Duration::from_secs(15);
/// An agreement that is not approved is void after this.
const VALID: SignedDuration = SignedDuration::from_hours(1);

pub(super) struct YagnaMarket {
    stall: Arc<Stall>,
    /// Ends when the stall is closed.
    negotiator: Option<JoinHandle<()>>,
    asked: Vec<String>,
    /// None while there is more to say.
    told: Option<Told>,
}

impl YagnaMarket {
    pub(super) fn new(stall: Arc<Stall>, negotiator: JoinHandle<()>, asked: Vec<String>) -> Self {
        Self {
            stall,
            asked,
            negotiator: Some(negotiator),
            told: None,
        }
    }
}

#[async_trait]
impl Market for YagnaMarket {
    async fn next(&mut self) -> Result<MarketEvent, NetworkError> {
        loop {
            let mut changes = self.stall.changes();
            let moment = match self.stall.turn(&mut self.told) {
                Turn::Say(event) => return event,
                Turn::Wait(moment) => moment,
            };
            tokio::select! {
                // The sender lives as long as this.
                _ = changes.changed() => {}
                () = until(moment) => {}
            }
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.clone()
    }

    fn patience(&self, suits: &dyn Fn(&NodeId) -> bool) -> Duration {
        self.stall.patience(self.told.as_ref(), suits)
    }

    async fn withdraw(mut self: Box<Self>) {
        self.stall.close();
        if let Some(negotiator) = self.negotiator.take() {
            // It ends by itself: each of its calls does.
            let _ = negotiator.await;
        }
    }
}

impl Drop for YagnaMarket {
    fn drop(&mut self) {
        self.stall.close();
    }
}

pub(super) struct YagnaProposal {
    pub(super) session: Arc<Session>,
    pub(super) stall: Arc<Stall>,
    /// None once agreed.
    pub(super) member: Option<Member>,
    pub(super) provider: Provider,
    pub(super) offer: Offer,
    /// The provider's answer to ours.
    pub(super) id: String,
    /// Between debit notes, as was settled.
    pub(super) interval: Duration,
}

impl Drop for YagnaProposal {
    fn drop(&mut self) {
        if self.member.is_some() {
            self.stall.declined(&self.provider.id);
        }
    }
}

#[async_trait]
impl Proposal for YagnaProposal {
    fn provider(&self) -> &Provider {
        &self.provider
    }

    fn price(&self) -> &LinearPrice {
        &self.offer.price
    }

    fn threads(&self) -> u32 {
        self.offer.threads
    }

    async fn agree(mut self: Box<Self>) -> Result<Box<dyn Agreement>, NetworkError> {
        let session = Arc::clone(&self.session);
        let valid_to = Timestamp::now() + VALID;
        let created = session.daemon.create_agreement(&self.id, valid_to).await;
        let id = created.map_err(|error| self.lost(&error))?;
        let opened = Change::AgreementOpened {
            id: id.clone(),
            provider: self.provider.id.clone(),
        };
        if let Err(error) = session.scribe.write(opened).await {
            // The provider has not heard of it.
            return Err(NetworkError::State(format!(
                "no agreement is made without a journal: {error}"
            )));
        }
        let (account, events) = Account::open(session.till(), self.interval);
        let account = Arc::new(account);
        session.add_account(&id, Arc::clone(&account));
        if let Err(Failed { error, is_void }) = self.conclude(&id).await {
            session.remove_account(&id);
            if is_void {
                session.scribe.note(Change::AgreementClosed {
                    id,
                    accepted: Amount::ZERO,
                });
            }
            return Err(error);
        }
        self.stall.agreed(&self.provider.id);
        let contract = Contract {
            id,
            provider: self.provider.clone(),
            price: self.offer.price.clone(),
            counters: self.offer.counters,
            stall: Arc::clone(&self.stall),
            account,
        };
        // Agreed: no longer the proposal's to decline.
        let member = self.member.take();
        Ok(Box::new(YagnaAgreement::new(
            contract, session, member, events,
        )))
    }
}

/// Why there is no agreement.
struct Failed {
    error: NetworkError,
    /// It is not in force, and never will be.
    is_void: bool,
}

impl YagnaProposal {
    fn lost(&self, error: &DaemonError) -> NetworkError {
        NetworkError::Lost {
            provider: self.provider.name.clone(),
            reason: error.to_string(),
        }
    }

    /// Has the provider approve, or makes the agreement void.
    async fn conclude(&self, id: &str) -> Result<(), Failed> {
        let (daemon, settings) = (&self.session.daemon, &self.session.settings);
        if let Err(error) = daemon.confirm(id, &self.session.id).await
            && !error.kind.may_pass()
        {
            // The provider has not heard of it.
            return Err(Failed {
                error: self.lost(&error),
                is_void: true,
            });
        }
        // If the confirmation may not have got through, the wait says so.
        let end = Instant::now() + settings.waits.approval;
        let mut pace = Pace::default();
        loop {
            pace.turn().await;
            let left = end.saturating_duration_since(Instant::now());
            let error = match daemon.await_approval(id, WAIT.min(left)).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error.kind {
                ErrorKind::TimedOut if left.is_zero() => break,
                ErrorKind::TimedOut => {}
                kind if kind.may_pass() && !left.is_zero() => {}
                ErrorKind::Gone => {
                    return Err(Failed {
                        error: self.refused(id, &error).await,
                        is_void: true,
                    });
                }
                _ => {
                    return Err(Failed {
                        error: self.lost(&error),
                        is_void: self.void(id).await,
                    });
                }
            }
        }
        let within = settings.waits.approval.as_secs();
        Err(Failed {
            error: NetworkError::Lost {
                provider: self.provider.name.clone(),
                reason: format!("it has not answered to an agreement within {within} s"),
            },
            is_void: self.void(id).await,
        })
    }

    /// Takes an agreement back, or ends it if the provider was faster. Answers whether that is certain.
    async fn void(&self, id: &str) -> bool {
        let daemon = &self.session.daemon;
        let cancelled = patiently(|| daemon.cancel(id, "no approval in time")).await;
        match cancelled {
            Ok(()) => true,
            Err(error) if error.kind == ErrorKind::Gone => {
                let reason = TerminateReason::Cancelled("the approval came too late".to_owned());
                patiently(|| daemon.terminate(id, &reason)).await.is_ok()
            }
            Err(error) => error.kind == ErrorKind::NotFound,
        }
    }

    async fn refused(&self, id: &str, error: &DaemonError) -> NetworkError {
        // Why is told with the event only.
        let after = Timestamp::UNIX_EPOCH;
        let daemon = &self.session.daemon;
        let events = daemon.agreement_events(&self.session.id, after, Duration::ZERO);
        let events = events.await.unwrap_or_default();
        let told = events
            .into_iter()
            .find(|event| event.agreement_id == id && event.kind == AgreementEventKind::Rejected);
        let reason = told.and_then(|event| event.reason);
        NetworkError::Refused {
            provider: self.provider.name.clone(),
            reason: reason.map_or_else(|| error.reason.raw().to_owned(), words),
        }
    }
}
