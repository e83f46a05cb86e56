//! What the host keeps for a script: jobs and rented providers, by handle.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sovr_capability::Amount;
use sovr_golem::{BatchEvent, Executor, Rental};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::wire::Handle;
use tokio::sync::{mpsc, watch};

use crate::gate::Gate;

/// Most jobs and rented providers that are open at the same time.
pub(super) const MOST: usize = 64;

/// The open objects of a run.
#[derive(Default)]
pub(crate) struct Objects {
    open: Mutex<BTreeMap<Handle, Object>>,
    /// Handles are never used twice, so that a closed object is not taken for a later one.
    next: AtomicU64,
    jobs: AtomicU64,
    /// Objects that the script let go of and that are being ended.
    ending: watch::Sender<usize>,
    /// Jobs that are not over, those included that a call was still opening when its caller went away.
    alive: watch::Sender<usize>,
}

/// A job or a rented provider.
#[derive(Clone)]
pub(crate) enum Object {
    /// A job.
    Job(Arc<Job>),
    /// A rented provider.
    Rented(Arc<Rented>),
}

/// An executor and the workers it holds.
pub(crate) struct Job {
    pub(super) executor: Executor,
    /// Given back when the job is closed.
    pub(super) workers: Workers,
}

/// A provider that the script drives step by step.
pub(crate) struct Rented {
    pub(super) rental: Rental,
    pub(super) workers: Workers,
    /// Events of the batch that runs.
    pub(super) batch: tokio::sync::Mutex<Option<mpsc::Receiver<BatchEvent>>>,
}

/// Part of the run's `max-workers`, until it is given back.
pub(crate) struct Workers {
    pub(super) gate: Arc<Gate>,
    pub(super) held: Mutex<u32>,
}

impl Workers {
    pub(super) fn new(gate: &Arc<Gate>, held: u32) -> Self {
        Self {
            gate: Arc::clone(gate),
            held: Mutex::new(held),
        }
    }

    pub(super) fn give_back(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        self.gate
            .change_used(|used| used.workers = used.workers.saturating_sub(held));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Object {
    /// Ends it: agreements, bills, the rest of the money. A second time it changes nothing.
    pub(crate) async fn end(&self) {
        match self {
            Object::Job(job) => {
                job.close().await;
            }
            Object::Rented(rented) => {
                rented.close().await;
            }
        }
    }
}

impl Job {
    pub(super) async fn close(&self) -> sovr_golem::Summary {
        let summary = self.executor.close().await;
        self.workers.give_back();
        summary
    }
}

impl Rented {
    pub(super) async fn close(&self) -> Amount {
        let cost = self.rental.close().await;
        self.workers.give_back();
        cost
    }
}

impl Objects {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Handle, Object>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next job of this run, from 0.
    pub(super) fn number_job(&self) -> u64 {
        self.jobs.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps an object and names it.
    pub(super) fn insert(&self, object: Object) -> Handle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(handle, object);
        handle
    }

    /// Whether a handle was ever given, be its object open or closed by now.
    pub(super) fn gave(&self, handle: Handle) -> bool {
        handle < self.next.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self) -> usize {
        self.open().len()
    }

    /// Forgets an object, to be ended by the caller.
    pub(super) fn remove(&self, handle: Handle) -> Option<Object> {
        self.open().remove(&handle)
    }

    /// Forgets an object that the script let go of; the answer ends it.
    pub(crate) fn let_go(&self, handle: Handle) -> Option<impl Future<Output = ()> + use<>> {
        let object = self.remove(handle)?;
        let ending = Counted::new(&self.ending);
        Some(async move {
            object.end().await;
            drop(ending);
        })
    }

    /// Waits until what the script let go of is ended: until then its workers and its money are not free, and a script
    /// that drops one job and opens the next would be refused by chance.
    pub(super) async fn settled(&self) {
        // The sender is `self`, so it outlives the wait.
        let _ = self
            .ending
            .subscribe()
            .wait_for(|ending| *ending == 0)
            .await;
    }

    /// Counts a job as not over until the answer is dropped.
    pub(super) fn begin_job(&self) -> Counted {
        Counted::new(&self.alive)
    }

    /// Waits until every job is over: its agreements ended, its bills paid, the rest of its money released. To be called
    /// when nobody holds or opens one any more. It ends because ending a job does.
    pub(crate) async fn over(&self) {
        let _ = self.alive.subscribe().wait_for(|alive| *alive == 0).await;
    }

    /// Forgets all objects, to be ended by the caller.
    pub(crate) fn take_all(&self) -> Vec<Object> {
        std::mem::take(&mut *self.open()).into_values().collect()
    }

    pub(super) fn job(&self, handle: Handle) -> Result<Arc<Job>, Error> {
        match self.open().get(&handle) {
            Some(Object::Job(job)) => Ok(Arc::clone(job)),
            _ => Err(closed("executor")),
        }
    }

    pub(super) fn rented(&self, handle: Handle) -> Result<Arc<Rented>, Error> {
        match self.open().get(&handle) {
            Some(Object::Rented(rented)) => Ok(Arc::clone(rented)),
            _ => Err(closed("activity")),
        }
    }
}

/// One of those that are waited for.
pub(crate) struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|counted| *counted += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|counted| *counted -= 1);
    }
}

fn closed(what: &str) -> Error {
    Error::Invalid(format!("there is no open {what} with this handle"))
}
