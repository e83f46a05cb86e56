//! One provider, driven batch by batch: an agreement with one activity, a watch over its cost, and its end.
//!
//! A rental's ending is the business of a task of its own, so that it is paid and released also when the caller is gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sovr_capability::{Amount, Reservation};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::event::{Event, Observer};
use crate::executor::{ExecutorError, Job};
use crate::failure::{Failure, FailureKind};
use crate::lease::{Lease, SignError, Stop, advance, stopped};
use crate::network::{
    Market, MarketEvent, Network, NetworkError, NodeId, Proposal, Provider, Refusal,
    TerminateReason,
};
use crate::outcome::{Summary, Terms};
use crate::pool::{Pool, next_of};
use crate::purse::{Funds, Purse};
use crate::step::{BatchEvent, Command, Step};
use crate::timing::{self, until};

/// The only worker of a rental, in events.
const WORKER: u64 = 0;

/// Events of a batch that may wait for the listener.
const QUEUE: usize = 64;

/// A provider of one's own. Dropping it ends its agreement.
pub struct Rental {
    provider: Provider,
    lease: Arc<tokio::sync::Mutex<Option<Lease>>>,
    stop: StopOnDrop,
    /// None until all is ended.
    cost: watch::Receiver<Option<Amount>>,
}

/// Gives the reason to stop, at the latest when it is dropped.
struct StopOnDrop(watch::Sender<Option<Failure>>);

impl StopOnDrop {
    fn stop(&self) {
        give(
            &self.0,
            Failure::new(FailureKind::Cancelled, "the activity was closed"),
        );
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The first reason stands.
fn give(stop: &watch::Sender<Option<Failure>>, failure: Failure) {
    stop.send_if_modified(|stop| {
        let first = stop.is_none();
        stop.get_or_insert(failure);
        first
    });
}

impl Rental {
    /// Publishes the demand and waits for a provider that is deployed and started.
    pub async fn open(
        network: Arc<dyn Network>,
        job: Job,
        reservation: Reservation,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Failure> {
        Self::with_funds(network, job, reservation, observer).await
    }

    pub(crate) async fn with_funds(
        network: Arc<dyn Network>,
        job: Job,
        funds: impl Funds,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Failure> {
        let stop = StopOnDrop(watch::Sender::new(None));
        let (cost, cost_seen) = watch::channel(None);
        let (opened, opening) = oneshot::channel();
        let keeper = Keeper {
            deadline: Instant::now().checked_add(job.timeout),
            network,
            job,
            purse: Purse::new(funds),
            observer,
            stop: stop.0.clone(),
            cost,
        };
        tokio::spawn(keeper.keep(opened));
        let (provider, lease) = opening.await.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureKind::Cancelled,
                "the program is ending",
            ))
        })?;
        Ok(Self {
            provider,
            lease,
            stop,
            cost: cost_seen,
        })
    }

    /// Who it is.
    pub fn runs_on(&self) -> &Provider {
        &self.provider
    }

    /// Starts a batch. One at a time: take its events to [`BatchEvent::Ended`] before the next. After a command or a
    /// transfer that failed, another batch may follow; after anything else the provider is given up.
    pub async fn exec(
        &self,
        steps: Vec<Step>,
        timeout: Option<Duration>,
    ) -> Result<mpsc::Receiver<BatchEvent>, ExecutorError> {
        let (sender, events) = mpsc::channel(QUEUE + 1);
        let over = self.stop.0.borrow().clone();
        if let Some(failure) = over {
            if failure.kind == FailureKind::Cancelled {
                return Err(ExecutorError::Closed);
            }
            // There is room: nothing else was sent.
            let _ = sender.try_send(BatchEvent::Ended(Err(failure)));
            return Ok(events);
        }
        let Ok(lease) = Arc::clone(&self.lease).try_lock_owned() else {
            let reason = "a batch runs; take its events to the end before the next".to_owned();
            return Err(NetworkError::State(reason).into());
        };
        tokio::spawn(run(lease, steps, timeout, self.stop.0.clone(), sender));
        Ok(events)
    }

    /// Ends the agreement and answers what it cost. May be called again.
    pub async fn close(&self) -> Amount {
        self.stop.stop();
        match self.cost.clone().wait_for(Option::is_some).await {
            Ok(cost) => cost.unwrap_or(Amount::ZERO),
            // The keeper is gone, which happens only when the runtime is being shut down.
            Err(_) => Amount::ZERO,
        }
    }
}

/// Runs a batch; the guard keeps others out, the rental's end included.
async fn run(
    guard: OwnedMutexGuard<Option<Lease>>,
    steps: Vec<Step>,
    timeout: Option<Duration>,
    stop: watch::Sender<Option<Failure>>,
    events: mpsc::Sender<BatchEvent>,
) {
    let Ok(end) = events.clone().reserve_owned().await else {
        return;
    };
    let Some(lease) = guard.as_ref() else {
        let failure = Failure::new(FailureKind::Cancelled, "the activity was closed");
        end.send(BatchEvent::Ended(Err(failure)));
        return;
    };
    let batch: Vec<_> = steps.into_iter().map(Command::Step).collect();
    let result = lease
        .run(None, &batch, timeout, &mut stop.subscribe(), Some(&events))
        .await;
    if let Err(failure) = &result
        && !matches!(
            failure.kind,
            FailureKind::CommandFailed | FailureKind::TransferFailed
        )
    {
        give(&stop, failure.clone());
    }
    // Who hears the end may send the next batch at once.
    drop(guard);
    end.send(BatchEvent::Ended(result.map(|_| ())));
}

/// Opens, waits for the end, and ends.
struct Keeper {
    network: Arc<dyn Network>,
    job: Job,
    purse: Arc<Purse>,
    observer: Arc<dyn Observer>,
    stop: watch::Sender<Option<Failure>>,
    cost: watch::Sender<Option<Amount>>,
    deadline: Option<Instant>,
}

type Opened = Result<(Provider, Arc<tokio::sync::Mutex<Option<Lease>>>), Failure>;

impl Keeper {
    async fn keep(self, opened: oneshot::Sender<Opened>) {
        let lease = match self.find().await {
            Ok(lease) => lease,
            Err(failure) => {
                self.finish(0).await;
                let _ = opened.send(Err(failure));
                return;
            }
        };
        let provider = lease.provider().clone();
        let lease = Arc::new(tokio::sync::Mutex::new(Some(lease)));
        // A caller that is gone has given the reason to stop.
        let _ = opened.send(Ok((provider, Arc::clone(&lease))));
        self.wait().await;
        // A batch that runs has the same reason to stop, and then lets go of the lease.
        let lease = lease.lock().await.take();
        if let Some(lease) = lease {
            lease.end(self.reason()).await;
        }
        self.finish(1).await;
    }

    async fn wait(&self) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            _ = stopped(&mut stop) => {}
            () = until(self.deadline) => give(&self.stop, self.late()),
        }
    }

    fn late(&self) -> Failure {
        Failure::new(
            FailureKind::TimedOut,
            format!("the job's time of {:?} is over", self.job.timeout),
        )
    }

    fn reason(&self) -> TerminateReason {
        match &*self.stop.borrow() {
            Some(failure) if failure.kind != FailureKind::Cancelled => {
                TerminateReason::Failed(failure.reason.clone())
            }
            _ => TerminateReason::Success,
        }
    }

    async fn finish(&self, providers: u64) {
        // Should this fail, the ledger releases the money when the reservation is dropped or the run is over.
        let _ = self.purse.close().await;
        let cost = self.purse.spent();
        self.observer.observe(&Event::JobFinished {
            summary: Summary {
                tasks: 0,
                accepted: 0,
                rejected: 0,
                failed: 0,
                providers,
                cost,
            },
        });
        self.cost.send_replace(Some(cost));
    }

    /// Finds a provider on which the package starts.
    async fn find(&self) -> Result<Lease, Failure> {
        let market = match self.network.publish(&self.job.demand).await {
            Ok(market) => market,
            Err(error) => return Err(Failure::new(FailureKind::NoProvider, error.to_string())),
        };
        self.observer.observe(&Event::JobStarted {
            terms: Terms {
                network: self.network.name().to_owned(),
                driver: self.network.driver().to_owned(),
                subnet: self.job.demand.subnet.clone(),
                budget: self.purse.budget(),
                max_workers: 1,
            },
        });
        let mut pool = Pool::new(self.job.strategy.clone(), &*market);
        let mut market = Some(market);
        let found = self.try_providers(&mut market, &mut pool).await;
        drop(pool);
        if let Some(market) = market {
            market.withdraw().await;
        }
        found
    }

    async fn try_providers(
        &self,
        market: &mut Option<Box<dyn Market>>,
        pool: &mut Pool,
    ) -> Result<Lease, Failure> {
        let mut stop = self.stop.subscribe();
        let mut tried = HashSet::new();
        let mut last = Failure::new(FailureKind::NoProvider, "no provider was tried");
        for _ in 0..self.job.max_attempts.max(1) {
            let proposal = tokio::select! {
                biased;
                failure = stopped(&mut stop) => return Err(failure),
                () = until(self.deadline) => return Err(self.late()),
                proposal = self.choose(market, pool, &tried) => proposal?,
            };
            let provider = proposal.provider().clone();
            tried.insert(provider.id.clone());
            let (least, wanted) = advance(&*proposal);
            let Some(allotment) = self.purse.allot(least, wanted) else {
                return Err(self.over_budget());
            };
            match Lease::sign(WORKER, proposal, allotment, Arc::clone(&self.observer)).await {
                Ok(lease) => match self.prepare(&lease, &mut stop).await {
                    Ok(()) => return Ok(lease),
                    Err(failure) => {
                        lease
                            .end(TerminateReason::Failed(failure.reason.clone()))
                            .await;
                        last = failure;
                    }
                },
                Err(SignError::Refused(error)) => {
                    last = Failure::new(FailureKind::NoProvider, error.to_string())
                }
                Err(SignError::Failed(failure)) => last = failure,
            }
            let over = self.stop.borrow().clone();
            if let Some(failure) = over {
                return Err(failure);
            }
        }
        Err(Failure {
            reason: format!(
                "{} providers were tried; the last: {}",
                tried.len(),
                last.reason
            ),
            ..last
        })
    }

    async fn prepare(&self, lease: &Lease, stop: &mut Stop) -> Result<(), Failure> {
        let batch = [Command::Deploy, Command::Start];
        let left = self
            .deadline
            .map_or(timing::PREPARE, |deadline| deadline - Instant::now());
        lease
            .run(None, &batch, Some(timing::PREPARE.min(left)), stop, None)
            .await?;
        self.observer.observe(&Event::WorkerStarted {
            worker: WORKER,
            provider: lease.provider().into(),
        });
        Ok(())
    }

    fn over_budget(&self) -> Failure {
        Failure::new(
            FailureKind::OverBudget,
            format!(
                "{} GLM are too little for any provider that answered",
                self.purse.free()
            ),
        )
    }

    /// Waits for an offer of somebody who was not tried, and a little longer for better ones.
    async fn choose(
        &self,
        market: &mut Option<Box<dyn Market>>,
        pool: &mut Pool,
        tried: &HashSet<NodeId>,
    ) -> Result<Box<dyn Proposal>, Failure> {
        let free = self.purse.free();
        let new = |proposal: &dyn Proposal| !tried.contains(&proposal.provider().id);
        let suits = |proposal: &dyn Proposal| new(proposal) && advance(proposal).0 <= free;
        let mut collecting = None;
        let mut said_so = false;
        loop {
            let patience = market.as_ref().map_or(Duration::ZERO, |market| {
                market.patience(&|id| !tried.contains(id))
            });
            let now = Instant::now();
            let look_again = if pool.has(suits) {
                let end = *collecting.get_or_insert(now + timing::COLLECT);
                if (end <= now || patience.is_zero())
                    && let Some(proposal) = pool.take_best(suits, |_| 0)
                {
                    return Ok(proposal);
                }
                Some(end)
            } else if pool.has(new) {
                return Err(self.over_budget());
            } else if patience.is_zero() {
                let explanation = pool.explain(&self.job.demand, []);
                return Err(Failure::new(
                    FailureKind::NoProvider,
                    format!("no provider was found: {explanation}"),
                ));
            } else {
                if pool.offers() == 0 && patience < Duration::MAX && !said_so {
                    said_so = true;
                    self.observer.observe(&Event::NoProposalsConfirmed {
                        offers: pool.offers(),
                        explanation: pool.explain(&self.job.demand, []).into(),
                    });
                }
                now.checked_add(patience)
            };
            tokio::select! {
                event = next_of(market) => match event {
                    Ok(event) => {
                        if matches!(event, MarketEvent::Quiet) {
                            collecting = Some(now);
                        }
                        pool.add(event, &*self.observer);
                    }
                    Err(error) => {
                        *market = None;
                        let refusal = Refusal { provider: None, reason: error.to_string() };
                        pool.refuse(refusal, &*self.observer);
                    }
                },
                () = until(look_again) => {}
            }
        }
    }
}
