//! Many tasks on many providers.

use std::time::Duration;

use crate::bindings::sovr::pod::golem;
use crate::steps::nanoseconds;
use crate::{Error, Outcome, Steps, Summary, Task, Terms};

/// What an [`Executor`] is to be given. What is not said here is taken from what the pod was granted; asking for
/// more than that is denied.
#[derive(Debug, Clone)]
pub struct Builder {
    options: golem::Options,
}

impl Builder {
    /// The job's share of the pod's budget in GLM, as a decimal such as `"0.25"`. Reserved until
    /// [`Executor::close`].
    pub fn budget(mut self, amount: impl Into<String>) -> Self {
        self.options.budget = Some(amount.into());
        self
    }

    /// How many providers may work at the same time.
    pub fn max_workers(mut self, workers: u32) -> Self {
        self.options.max_workers = Some(workers);
        self
    }

    /// Time for the whole job, from [`Builder::open`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(nanoseconds(timeout));
        self
    }

    /// Tries of one task, each on another provider, before it counts as failed.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.options.max_attempts = Some(attempts);
        self
    }

    /// The market's subnet.
    pub fn subnet(mut self, subnet: impl Into<String>) -> Self {
        self.options.subnet = Some(subnet.into());
        self
    }

    /// Least memory of a provider, in GiB.
    pub fn min_mem_gib(mut self, gib: f64) -> Self {
        self.options.demand.min_mem_gib = Some(gib);
        self
    }

    /// Least storage of a provider, in GiB.
    pub fn min_storage_gib(mut self, gib: f64) -> Self {
        self.options.demand.min_storage_gib = Some(gib);
        self
    }

    /// Least number of a provider's CPU threads.
    pub fn min_cpu_threads(mut self, threads: u32) -> Self {
        self.options.demand.min_cpu_threads = Some(threads);
        self
    }

    /// Reserves the budget and starts looking for providers.
    ///
    /// # Errors
    /// When more is asked for than granted, when the budget is not to be had, or when there is no network.
    pub fn open(self) -> Result<Executor, Error> {
        golem::Executor::open(&self.options)
            .map(|inner| Executor { inner })
            .map_err(|refusal| {
                Error::new(
                    format!(
                        "opening a job with package {:?}",
                        self.options.demand.package
                    ),
                    refusal,
                )
            })
    }
}

/// A job: tasks go in, outcomes come out in the order they finish. Dropping it without [`Executor::close`] cancels
/// what is under way.
#[derive(Debug)]
pub struct Executor {
    inner: golem::Executor,
}

impl Executor {
    /// Describes a job that runs in a package which the recipe names.
    pub fn builder(package: impl Into<String>) -> Builder {
        Builder {
            options: golem::Options {
                demand: golem::Demand {
                    package: package.into(),
                    min_mem_gib: None,
                    min_storage_gib: None,
                    min_cpu_threads: None,
                },
                max_workers: None,
                budget: None,
                timeout: None,
                subnet: None,
                max_attempts: None,
            },
        }
    }

    /// What was agreed.
    pub fn terms(&self) -> Terms {
        self.inner.terms()
    }

    /// Steps to do once on each worker before its first task. Comes before the first [`Executor::submit`].
    ///
    /// # Errors
    /// When a step is malformed, or a task was submitted before.
    pub fn on_worker_start(&self, steps: Steps) -> Result<(), Error> {
        self.inner
            .on_worker_start(&steps.into_inner())
            .map_err(|refusal| Error::new("describing how a worker starts", refusal))
    }

    /// Adds one task after the other.
    ///
    /// # Errors
    /// As [`Executor::submit`]; the tasks before the one that failed are submitted.
    pub fn submit_all(&self, tasks: impl IntoIterator<Item = Task>) -> Result<(), Error> {
        tasks
            .into_iter()
            .try_for_each(|task| self.submit(task).map(drop))
    }

    /// Adds a task and answers its number.
    ///
    /// # Errors
    /// When a step is malformed, or the pod was granted no further task.
    pub fn submit(&self, task: Task) -> Result<u64, Error> {
        self.inner
            .submit(
                &task.label,
                &task.steps.into_inner(),
                task.timeout.map(nanoseconds),
            )
            .map_err(|refusal| Error::new(format!("submitting task {:?}", task.label), refusal))
    }

    /// Waits for the next finished task; `None` when all submitted tasks are decided.
    ///
    /// # Errors
    /// When the job as a whole has ended: its time is over, or the run was interrupted.
    pub fn next(&self) -> Result<Option<Outcome>, Error> {
        match self.inner.next() {
            Ok(outcome) => Ok(outcome.map(Outcome::from)),
            Err(refusal) => Err(Error::new("waiting for the next result", refusal)),
        }
    }

    /// All tasks as they are decided, in the order they finish, those submitted meanwhile included. Ends after the
    /// last one, or with the error that ended the job.
    pub fn outcomes(&self) -> impl Iterator<Item = Result<Outcome, Error>> + '_ {
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let next = self.next().transpose();
            failed = matches!(next, Some(Err(_)));
            next
        })
    }

    /// Takes a result.
    ///
    /// # Errors
    /// When it was accepted or rejected before.
    pub fn accept(&self, outcome: &Outcome) -> Result<(), Error> {
        self.inner.accept(outcome.task).map_err(|refusal| {
            Error::new(
                format!("accepting the result of {:?}", outcome.label),
                refusal,
            )
        })
    }

    /// Refuses a result for good.
    ///
    /// # Errors
    /// When it was accepted or rejected before.
    pub fn reject(&self, outcome: &Outcome, reason: &str) -> Result<(), Error> {
        self.refuse(outcome, reason, false)
    }

    /// Refuses a result and gives the task to another provider; [`Executor::next`] answers it again.
    ///
    /// # Errors
    /// When it was accepted or rejected before.
    pub fn retry(&self, outcome: &Outcome, reason: &str) -> Result<(), Error> {
        self.refuse(outcome, reason, true)
    }

    fn refuse(&self, outcome: &Outcome, reason: &str, retry: bool) -> Result<(), Error> {
        self.inner
            .reject(outcome.task, reason, retry)
            .map_err(|refusal| {
                Error::new(
                    format!("rejecting the result of {:?}", outcome.label),
                    refusal,
                )
            })
    }

    /// Ends agreements, settles what is owed and releases the rest of the budget.
    ///
    /// # Errors
    /// When the network cannot settle; what is left open is finished by the host later.
    pub fn close(self) -> Result<Summary, Error> {
        self.inner
            .close()
            .map_err(|refusal| Error::new("closing the job", refusal))
    }
}
