//! A worker: one lease, prepared once, then one task after another.
//!
//! A worker whose try fails ends with it: on the provider a command may still run, files may be half written, and it may
//! be the provider itself that is broken. The task goes back to the board at once, before the agreement is ended.

use std::sync::Arc;

use tokio::time::Instant;

use super::board::{Assignment, TryEnd, is_providers_own};
use super::shared::{Next, Shared};
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::lease::{Lease, SignError, Stop, stopped};
use crate::network::{NetworkError, Proposal, Provider, TerminateReason};
use crate::price::Usage;
use crate::purse::Allotment;
use crate::step::Command;
use crate::timing;

pub(crate) struct Worker {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) proposal: Box<dyn Proposal>,
    pub(crate) allotment: Allotment,
}

impl Worker {
    /// The worker's whole life. It is known to the board before this is called, and forgotten at its end.
    pub(crate) async fn live(self) {
        let Self {
            id,
            shared,
            proposal,
            allotment,
        } = self;
        let provider = proposal.provider().clone();
        let lease = Lease::sign(id, proposal, allotment, Arc::clone(&shared.observer)).await;
        match lease {
            Ok(lease) => {
                Working {
                    id,
                    shared: &shared,
                    provider,
                    stop: shared.stop(),
                    lease,
                    used: None,
                }
                .live()
                .await
            }
            Err(error) => shared.change(|state| match error {
                SignError::Refused(error @ NetworkError::Refused { .. }) => {
                    state.memory.refused(&provider, &error.to_string());
                }
                SignError::Refused(error) => state.memory.spoiled(&provider, &error.to_string()),
                SignError::Failed(failure) => state.memory.spoiled(&provider, &failure.reason),
            }),
        }
        shared.change(|state| state.workers.remove(&id));
    }
}

struct Working<'a> {
    id: u64,
    shared: &'a Shared,
    provider: Provider,
    stop: Stop,
    lease: Lease,
    /// What was used at the end of the last task, until time passes without one.
    used: Option<Usage>,
}

impl Working<'_> {
    async fn live(mut self) {
        let failure = match self.prepare().await {
            Ok(()) => self.work().await.err(),
            Err(failure) => Some(failure),
        };
        let stopped = self.stop.borrow().clone();
        let reason = match (&failure, stopped) {
            (None, _) => TerminateReason::Success,
            (Some(_), Some(stop)) => TerminateReason::Cancelled(stop.reason),
            (Some(failure), None) => TerminateReason::Failed(failure.reason.clone()),
        };
        let bill = self.lease.end(reason).await;
        let cut_off = failure
            .as_ref()
            .is_some_and(|failure| failure.kind == FailureKind::OverBudget);
        if bill.claimed > bill.accepted && !cut_off {
            let reason = format!(
                "it asked for {} GLM and was owed no more than {} GLM",
                bill.claimed, bill.accepted
            );
            self.shared
                .change(|state| state.memory.set_aside(&self.provider, &reason));
        }
        self.shared.observer.observe(&Event::WorkerFinished {
            worker: self.id,
            provider: (&self.provider).into(),
            failure: failure.map(|failure| failure.reason.into()),
        });
    }

    fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Deploys and starts the package and does the job's set-up steps.
    async fn prepare(&mut self) -> Result<(), Failure> {
        let setup = self.shared.look().setup.clone();
        let batch: Vec<_> = [Command::Deploy, Command::Start]
            .into_iter()
            .chain(setup.into_iter().map(Command::Step))
            .collect();
        let result = self
            .lease
            .run(None, &batch, Some(timing::PREPARE), &mut self.stop, None)
            .await;
        let failure = match result {
            Ok(_) => {
                self.shared.change(|state| state.preparation.succeeded());
                self.shared.observer.observe(&Event::WorkerStarted {
                    worker: self.id,
                    provider: (&self.provider).into(),
                });
                return Ok(());
            }
            Err(failure) => failure,
        };
        if !self.is_stopped() && failure.kind != FailureKind::OverBudget {
            self.shared.change(|state| {
                if is_providers_own(failure.kind) {
                    state.memory.spoiled(&self.provider, &failure.reason);
                } else {
                    let reason = format!("its set-up failed: {}", failure.reason);
                    state.memory.set_aside(&self.provider, &reason);
                    state.preparation.failed(failure.clone());
                }
            });
        }
        Err(failure)
    }

    /// Does tasks until there are none for this provider, or one fails.
    async fn work(&mut self) -> Result<(), Failure> {
        loop {
            let mut changes = self.shared.changes();
            match self.shared.take(self.id, &self.provider) {
                Next::Task(assignment) => self.attempt(assignment).await?,
                Next::NotForYou => return Ok(()),
                Next::Nothing => {
                    self.used = None;
                    tokio::select! {
                        biased;
                        _ = stopped(&mut self.stop) => return Ok(()),
                        failure = self.lease.broken() => return Err(failure),
                        _ = changes.changed() => {}
                        () = tokio::time::sleep(timing::LINGER) => return Ok(()),
                    }
                }
            }
        }
    }

    async fn attempt(&mut self, Assignment { id, task }: Assignment) -> Result<(), Failure> {
        let batch: Vec<_> = task.steps.iter().cloned().map(Command::Step).collect();
        let before = match self.used.take() {
            Some(used) => Some(used),
            None => self.lease.usage().await,
        };
        let begun = Instant::now();
        let result = self
            .lease
            .run(Some(id), &batch, task.timeout, &mut self.stop, None)
            .await;
        let time = begun.elapsed();
        // Nobody waits for a provider's word when the job is being stopped.
        let after = if self.is_stopped() {
            None
        } else {
            self.lease.usage().await
        };
        self.used = after;
        let end = TryEnd {
            task: id,
            worker: self.id,
            provider: &self.provider,
            time,
            cost: self.lease.cost_between(before, after, time),
        };
        self.shared.change(|state| match result {
            Ok(results) => {
                state.memory.did_well(&self.provider);
                for blame in state.board.done(&end, results) {
                    let reason = format!("{}, which {} did", blame.reason, self.provider.name);
                    state.memory.spoiled(&blame.provider, &reason);
                }
                Ok(())
            }
            Err(failure) => {
                state.board.failed(&end, failure.clone());
                if is_providers_own(failure.kind) {
                    state.memory.spoiled(&self.provider, &failure.reason);
                }
                Err(failure)
            }
        })
    }
}
