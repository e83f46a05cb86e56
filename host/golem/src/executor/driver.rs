//! The task that runs a job: takes in offers, begins workers, gives up what nobody can do, and ends everything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Job;
use super::shared::{Live, Shared, State};
use super::worker::Worker;
use crate::event::Event;
use crate::failure::{Failure, FailureKind};
use crate::lease::{advance, stopped};
use crate::network::{Market, MarketEvent, NodeId, Proposal, Refusal};
use crate::pool::{Pool, next_of};
use crate::timing::{self, until};

pub(crate) struct Driver {
    job: Job,
    shared: Arc<Shared>,
    pool: Pool,
    /// None once it failed.
    market: Option<Box<dyn Market>>,
    /// Until when better offers are waited for: past once the market was quiet, none before the first offer.
    collecting: Option<Instant>,
    workers: JoinSet<()>,
    next_worker: u64,
    /// Whether the watcher was told that tasks wait for somebody who is not known.
    said_so: bool,
    finished: watch::Sender<bool>,
}

/// What there is to do for a task that waits.
enum Prospect {
    /// A worker will come to it.
    Served,
    /// Somebody's offer can be used for it.
    Hire,
    /// Somebody's offer could be used if money became free.
    Money,
    /// Somebody may still come within this time.
    Hope(Duration),
    /// Nobody can do it.
    Nobody,
}

impl Driver {
    pub(crate) fn new(
        job: Job,
        shared: Arc<Shared>,
        market: Box<dyn Market>,
    ) -> (Self, watch::Receiver<bool>) {
        let (finished, has_finished) = watch::channel(false);
        let driver = Self {
            pool: Pool::new(job.strategy.clone(), &*market),
            job,
            shared,
            market: Some(market),
            collecting: None,
            workers: JoinSet::new(),
            next_worker: 0,
            said_so: false,
            finished,
        };
        (driver, has_finished)
    }

    pub(crate) async fn run(mut self) {
        let deadline = Instant::now().checked_add(self.job.timeout);
        self.serve(deadline).await;
        self.finish().await;
    }

    async fn serve(&mut self, deadline: Option<Instant>) {
        let mut stop = self.shared.stop();
        loop {
            let mut changes = self.shared.changes();
            let look_again = self.plan();
            tokio::select! {
                biased;
                _ = stopped(&mut stop) => return,
                () = until(deadline) => {
                    let reason = format!("the job's time of {:?} is over", self.job.timeout);
                    self.shared.end(Failure::new(FailureKind::TimedOut, reason));
                    return;
                }
                Some(_) = self.workers.join_next() => {}
                _ = changes.changed() => {}
                event = next_of(&mut self.market) => match event {
                    Ok(event) => {
                        match event {
                            MarketEvent::Quiet => self.collecting = Some(Instant::now()),
                            MarketEvent::Proposal(_) if self.collecting.is_none() => {
                                self.collecting = Instant::now().checked_add(timing::COLLECT);
                            }
                            _ => {}
                        }
                        self.pool.add(event, &*self.shared.observer);
                    }
                    Err(error) => {
                        self.market = None;
                        let refusal = Refusal { provider: None, reason: error.to_string() };
                        self.pool.refuse(refusal, &*self.shared.observer);
                    }
                },
                () = until(look_again) => {}
            }
        }
    }

    /// Ends what is open and pays what is owed. Nothing here can take for ever: the network's laws say so.
    async fn finish(mut self) {
        while self.workers.join_next().await.is_some() {}
        self.pool.retain(|_| false);
        if let Some(market) = self.market.take() {
            market.withdraw().await;
        }
        // Should this fail, the ledger releases the money when the reservation is dropped or the run is over.
        let _ = self.shared.purse.close().await;
        let mut changes = self.shared.changes();
        while !self.shared.look().closing && changes.changed().await.is_ok() {}
        self.shared.observer.observe(&Event::JobFinished {
            summary: self.shared.summary(),
        });
        self.finished.send_replace(true);
    }

    /// How long somebody new who suits may be waited for.
    fn patience(&self, suits: &dyn Fn(&NodeId) -> bool) -> Duration {
        self.market
            .as_ref()
            .map_or(Duration::ZERO, |market| market.patience(suits))
    }

    /// Goes through the tasks that wait; answers when to do so again if nothing happens before.
    fn plan(&mut self) -> Option<Instant> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.look();
        let state = &mut *state;
        let mut decided = false;
        self.pool
            .retain(|provider| !state.memory.is_set_aside(&provider.id));
        if let Some(failure) = state
            .preparation
            .hopeless(self.job.max_attempts.max(1))
            .cloned()
        {
            let reason = format!(
                "no worker could be prepared; the last try: {}",
                failure.reason
            );
            for task in state.board.waiting().collect::<Vec<_>>() {
                state.board.give_up(task, failure.kind, reason.clone());
                decided = true;
            }
        }

        // The next result that is taken brings us here again.
        if state.board.is_full() {
            if decided {
                shared.tell();
            }
            return None;
        }
        let now = Instant::now();
        let collecting = self.collecting.filter(|end| *end > now);
        // A worker that is free, or will be when it is ready, will come to one of the tasks.
        let mut free: Vec<_> = state
            .workers
            .iter()
            .filter(|(_, live)| !live.busy)
            .map(|(id, _)| *id)
            .collect();
        let mut look_again = None;
        let mut hoping = false;
        for task in state.board.waiting().collect::<Vec<_>>() {
            let comes = free.iter().position(|id| {
                state
                    .workers
                    .get(id)
                    .is_some_and(|live| state.board.may_try(task, &live.provider.id))
            });
            if let Some(position) = comes {
                free.swap_remove(position);
                continue;
            }
            match self.prospect(state, task) {
                Prospect::Served => {}
                Prospect::Hire if collecting.is_some() => {
                    look_again = [look_again, collecting].into_iter().flatten().min();
                }
                Prospect::Hire => self.hire(state, task),
                Prospect::Money => {
                    let budget = self.shared.purse.budget();
                    let left = self.shared.purse.free();
                    let reason = format!(
                        "{left} GLM are left of the job's {budget} GLM, too little for another try"
                    );
                    state.board.give_up(task, FailureKind::OverBudget, reason);
                    decided = true;
                }
                Prospect::Hope(patience) => {
                    hoping = true;
                    let end = now.checked_add(patience);
                    look_again = [look_again, end].into_iter().flatten().min();
                }
                Prospect::Nobody => {
                    let explanation = self.pool.explain(&self.job.demand, state.memory.reasons());
                    let reason = format!("no provider is left for this task: {explanation}");
                    state.board.give_up(task, FailureKind::NoProvider, reason);
                    decided = true;
                }
            }
        }
        if hoping && !self.said_so {
            self.shared.observer.observe(&Event::NoProposalsConfirmed {
                offers: self.pool.offers(),
                explanation: self
                    .pool
                    .explain(&self.job.demand, state.memory.reasons())
                    .into(),
            });
        }
        self.said_so = hoping;
        if decided {
            shared.tell();
        }
        look_again
    }

    fn prospect(&self, state: &State, task: u64) -> Prospect {
        let board = &state.board;
        let suits = |proposal: &dyn Proposal| board.may_try(task, &proposal.provider().id);
        let served = state
            .workers
            .values()
            .any(|live| board.may_try(task, &live.provider.id));
        if self.pool.has(suits) {
            if state.workers.len() >= self.job.max_workers.max(1) as usize {
                return Prospect::Served;
            }
            let free = self.shared.purse.free();
            return match self
                .pool
                .has(|proposal| suits(proposal) && advance(proposal).0 <= free)
            {
                true => Prospect::Hire,
                // The end of a worker gives back what it does not use.
                false if !state.workers.is_empty() => Prospect::Served,
                false => Prospect::Money,
            };
        }
        if served {
            return Prospect::Served;
        }
        let patience = self.patience(&|provider| {
            board.may_try(task, provider) && !state.memory.is_set_aside(provider)
        });
        match patience {
            Duration::ZERO => Prospect::Nobody,
            patience => Prospect::Hope(patience),
        }
    }

    /// Begins a worker on the best offer for this task.
    fn hire(&mut self, state: &mut State, task: u64) {
        let free = self.shared.purse.free();
        let proposal = self.pool.take_best(
            |proposal| {
                state.board.may_try(task, &proposal.provider().id) && advance(proposal).0 <= free
            },
            |provider| {
                let here = state
                    .workers
                    .values()
                    .filter(|live| live.provider.id == provider.id)
                    .count();
                (state.memory.spoiled_in_a_row(&provider.id), here)
            },
        );
        let Some(proposal) = proposal else {
            return;
        };
        let (least, wanted) = advance(&*proposal);
        let Some(allotment) = self.shared.purse.allot(least, wanted) else {
            return;
        };
        let id = self.next_worker;
        self.next_worker += 1;
        state.workers.insert(
            id,
            Live {
                provider: proposal.provider().clone(),
                busy: false,
            },
        );
        let shared = Arc::clone(&self.shared);
        self.workers.spawn(
            Worker {
                id,
                shared,
                proposal,
                allotment,
            }
            .live(),
        );
    }
}
