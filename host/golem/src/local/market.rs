//! Answers of the local providers to one demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::agreement::LocalAgreement;
use super::node::Node;
use super::{Fault, Shared};
use crate::demand::{Demand, WasiPackage};
use crate::network::{
    Agreement, Market, MarketEvent, NetworkError, NodeId, Proposal, Provider, Refusal,
};
use crate::price::LinearPrice;

pub(super) struct LocalMarket {
    shared: Arc<Shared>,
    candidates: Vec<Arc<Candidate>>,
    refusals: VecDeque<Refusal>,
    package: Option<WasiPackage>,
    /// What was true when `Quiet` was last said: who may still come.
    told: Option<Vec<bool>>,
    changes: watch::Receiver<()>,
}

/// A provider that matches the demand.
pub(super) struct Candidate {
    node: Arc<Node>,
    standing: Mutex<Standing>,
}

/// How a provider stands to a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It will be proposed when it is free.
    Unasked,
    /// Its proposal is open.
    Proposed,
    /// Its proposal came to nothing.
    Declined,
    /// It has an agreement.
    Agreed,
}

impl Candidate {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, standing: Standing) {
        *self.standing() = standing;
        self.node.tell();
    }

    /// Whether it may be proposed some time.
    fn may_come(&self) -> bool {
        matches!(*self.standing(), Standing::Unasked | Standing::Agreed) && !self.node.is_gone()
    }

    /// Its agreement is over.
    pub(super) fn released(&self) {
        self.change(Standing::Unasked);
    }
}

impl LocalMarket {
    pub(super) fn new(shared: Arc<Shared>, demand: &Demand) -> Self {
        let package = demand.package.wasi().cloned();
        let mut candidates = Vec::new();
        let mut refusals = VecDeque::new();
        if package.is_none() {
            refusals.push_back(Refusal {
                provider: None,
                reason: format!(
                    "the package `{}` has no WASI form, and the providers of this machine run no other",
                    demand.package.name
                ),
            });
        } else {
            for node in &shared.nodes {
                match node.mismatch(demand) {
                    None => candidates.push(Arc::new(Candidate {
                        node: Arc::clone(node),
                        standing: Mutex::new(Standing::Unasked),
                    })),
                    Some(reason) => refusals.push_back(Refusal {
                        provider: Some(node.provider.clone()),
                        reason,
                    }),
                }
            }
        }
        Self {
            changes: shared.changes.subscribe(),
            shared,
            candidates,
            refusals,
            package,
            told: None,
        }
    }

    fn look(&mut self) -> Option<MarketEvent> {
        if let Some(refusal) = self.refusals.pop_front() {
            return Some(MarketEvent::Refused(refusal));
        }
        if let Some(package) = &self.package {
            for candidate in &self.candidates {
                let mut standing = candidate.standing();
                if *standing == Standing::Unasked && candidate.node.is_free() {
                    *standing = Standing::Proposed;
                    drop(standing);
                    self.told = None;
                    return Some(MarketEvent::Proposal(Box::new(LocalProposal {
                        shared: Arc::clone(&self.shared),
                        package: package.clone(),
                        candidate: Some(Arc::clone(candidate)),
                        node: Arc::clone(&candidate.node),
                    })));
                }
            }
        }
        let may_come: Vec<_> = self
            .candidates
            .iter()
            .map(|candidate| candidate.may_come())
            .collect();
        if self.told.as_ref() == Some(&may_come) {
            return None;
        }
        self.told = Some(may_come);
        Some(MarketEvent::Quiet)
    }
}

#[async_trait]
impl Market for LocalMarket {
    async fn next(&mut self) -> Result<MarketEvent, NetworkError> {
        loop {
            self.changes.borrow_and_update();
            if let Some(event) = self.look() {
                return Ok(event);
            }
            // The network sends for as long as it is shared.
            let _ = self.changes.changed().await;
        }
    }

    fn patience(&self, suits: &dyn Fn(&NodeId) -> bool) -> Duration {
        if self.told.is_none() {
            // `next` has more to say.
            return Duration::MAX;
        }
        let comes = |candidate: &&Arc<Candidate>| {
            suits(&candidate.node.provider.id) && candidate.may_come()
        };
        match self.candidates.iter().find(comes) {
            Some(_) => Duration::MAX,
            None => Duration::ZERO,
        }
    }

    async fn withdraw(self: Box<Self>) {}
}

struct LocalProposal {
    shared: Arc<Shared>,
    package: WasiPackage,
    node: Arc<Node>,
    /// None once agreed.
    candidate: Option<Arc<Candidate>>,
}

#[async_trait]
impl Proposal for LocalProposal {
    fn provider(&self) -> &Provider {
        &self.node.provider
    }

    fn price(&self) -> &LinearPrice {
        &self.node.settings.price
    }

    fn threads(&self) -> u32 {
        self.node.settings.threads
    }

    async fn agree(mut self: Box<Self>) -> Result<Box<dyn Agreement>, NetworkError> {
        let provider = self.node.provider.name.clone();
        if self.node.fault == Some(Fault::RefuseAgreement) {
            return Err(NetworkError::Refused {
                provider,
                reason: "it refuses every agreement".to_owned(),
            });
        }
        let Some(slot) = self.node.occupy() else {
            if let Some(candidate) = self.candidate.take_if(|_| !self.node.is_gone()) {
                // Somebody else was faster; it is proposed again when it is free.
                candidate.change(Standing::Unasked);
            }
            return Err(NetworkError::Refused {
                provider,
                reason: format!(
                    "No capacity available. Reached Agreements limit: {}",
                    self.node.settings.capacity
                ),
            });
        };
        let candidate = self.candidate.take();
        if let Some(candidate) = &candidate {
            candidate.change(Standing::Agreed);
        }
        Ok(Box::new(LocalAgreement::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.node),
            slot,
            candidate,
            self.package.clone(),
        )))
    }
}

impl Drop for LocalProposal {
    fn drop(&mut self) {
        if let Some(candidate) = self.candidate.take() {
            candidate.change(Standing::Declined);
        }
    }
}
