//! Many tasks on many providers.
//!
//! A job is a task of its own, the driver, that takes in offers and begins workers; each worker is another. They share
//! the board of tasks, and each change of it wakes whoever waits for one: nothing is polled. Compared with yapapi, a
//! failed task never goes back to a provider that failed it, tries are bounded, a provider that spoils one try after
//! another is not asked again, and the budget is a wall: no agreement is
//! ever allowed to cost more than was set aside for it.

use std::sync::Arc;
use std::time::Duration;

use sovr_capability::Reservation;
use tokio::sync::{oneshot, watch};

use crate::demand::Demand;
use crate::event::{Event, Observer};
use crate::network::{Network, NetworkError};
use crate::outcome::{Outcome, Summary, Terms};
use crate::price::Strategy;
use crate::purse::{Funds, Purse};
use crate::step::Step;

mod board;
mod driver;
mod memory;
mod shared;
#[cfg(test)]
mod tests;
mod worker;

use board::Board;
use driver::Driver;
use shared::Shared;

/// How a job is run.
#[derive(Debug, Clone)]
pub struct Job {
    /// What providers must bring.
    pub demand: Demand,
    /// Providers at work at the same time.
    pub max_workers: u32,
    /// For the whole job, from [`Executor::open`].
    pub timeout: Duration,
    /// Tries of one task, each on a different provider.
    pub max_attempts: u32,
    /// How offers are judged.
    pub strategy: Strategy,
}

/// A list of steps for one provider.
#[derive(Debug, Clone)]
pub struct Task {
    /// For people.
    pub label: String,
    /// Done in order; the first that fails ends the try.
    pub steps: Vec<Step>,
    /// Counts from the moment a provider starts on the task, for each try.
    pub timeout: Option<Duration>,
}

/// What an executor answers when it does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutorError {
    /// The job was closed, or its run is being ended.
    #[error("the job is closed")]
    Closed,
    /// No task has this number.
    #[error("no task has the number {0}")]
    UnknownTask(u64),
    /// The task has no result that could be taken or refused.
    #[error("task {task} cannot be {asked}: {why}")]
    NotPending {
        /// Its number.
        task: u64,
        /// `accepted` or `rejected`.
        asked: &'static str,
        /// What it is.
        why: String,
    },
    /// Set-up steps came after the first task.
    #[error("the steps for a worker's start must be given before the first task is submitted")]
    AlreadyStarted,
    /// The network cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A job under way. Dropping it cancels what is under way; the job's own task then ends agreements and pays what is owed.
pub struct Executor {
    terms: Terms,
    shared: Arc<Shared>,
    finished: watch::Receiver<bool>,
}

impl Executor {
    /// Publishes the demand. `reservation` is spent for this job and released when it ends. Nothing is half open if this is
    /// dropped: what was begun is ended in order by a task of its own, which holds `observer` until then.
    pub async fn open(
        network: Arc<dyn Network>,
        job: Job,
        reservation: Reservation,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ExecutorError> {
        Self::with_funds(network, job, reservation, observer).await
    }

    async fn with_funds(
        network: Arc<dyn Network>,
        job: Job,
        funds: impl Funds,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ExecutorError> {
        let purse = Purse::new(funds);
        let terms = Terms {
            network: network.name().to_owned(),
            driver: network.driver().to_owned(),
            subnet: job.demand.subnet.clone(),
            budget: purse.budget(),
            max_workers: job.max_workers.max(1),
        };
        let (opened, opening) = oneshot::channel();
        tokio::spawn(async move {
            let market = match network.publish(&job.demand).await {
                Ok(market) => market,
                Err(error) => {
                    let _ = opened.send(Err(error.into()));
                    return;
                }
            };
            observer.observe(&Event::JobStarted {
                terms: terms.clone(),
            });
            let board = Board::new(job.max_attempts, Arc::clone(&observer));
            let shared = Arc::new(Shared::new(board, purse, observer));
            let (driver, finished) = Driver::new(job, Arc::clone(&shared), market);
            // If nobody takes it, it is dropped, which ends the job.
            let _ = opened.send(Ok(Self {
                terms,
                shared,
                finished,
            }));
            driver.run().await;
        });
        // The task is gone only when the runtime is being shut down.
        opening.await.unwrap_or(Err(ExecutorError::Closed))
    }

    /// What was agreed.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Steps done once on each worker before its first task. To be called before the first [`Executor::submit`].
    pub fn on_worker_start(&self, steps: Vec<Step>) -> Result<(), ExecutorError> {
        let mut state = self.shared.look();
        if state.closing {
            return Err(ExecutorError::Closed);
        }
        if !state.board.is_empty() {
            return Err(ExecutorError::AlreadyStarted);
        }
        state.setup = steps;
        Ok(())
    }

    /// Adds a task and answers its number, counted from 0.
    pub fn submit(&self, task: Task) -> Result<u64, ExecutorError> {
        self.shared.change(|state| {
            if state.closing {
                return Err(ExecutorError::Closed);
            }
            Ok(state.board.submit(task))
        })
    }

    /// Waits for the next finished task; none when all submitted tasks are decided. May be dropped while it waits.
    pub async fn next(&self) -> Result<Option<Outcome>, ExecutorError> {
        let mut changes = self.shared.changes();
        loop {
            {
                let mut state = self.shared.look();
                if let Some(outcome) = state.board.next() {
                    // Another caller of `next` may have waited for this to be the last.
                    self.shared.tell();
                    return Ok(Some(outcome));
                }
                if state.board.is_decided() {
                    return Ok(None);
                }
            }
            if changes.changed().await.is_err() {
                return Err(ExecutorError::Closed);
            }
        }
    }

    /// Takes a result.
    pub fn accept(&self, task: u64) -> Result<(), ExecutorError> {
        self.shared.change(|state| {
            if state.closing {
                return Err(ExecutorError::Closed);
            }
            state.board.accept(task)
        })
    }

    /// Refuses a result; with `retry` another provider tries and [`Executor::next`] answers the task again.
    pub fn reject(&self, task: u64, reason: &str, retry: bool) -> Result<(), ExecutorError> {
        self.shared.change(|state| {
            if state.closing {
                return Err(ExecutorError::Closed);
            }
            state.board.reject(task, reason, retry)
        })
    }

    /// Ends agreements, settles what is owed, releases the rest of the budget. May be called again.
    pub async fn close(&self) -> Summary {
        self.shared.close();
        // An error means that the job's own task is gone, which happens only when the runtime is being shut down.
        let _ = self.finished.clone().wait_for(|finished| *finished).await;
        self.shared.summary()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.close();
    }
}
