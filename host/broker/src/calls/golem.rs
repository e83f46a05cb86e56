//! `golem`: jobs of many tasks, and single providers driven step by step.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sovr_capability::capabilities::{Golem, Image, PackageForm};
use sovr_capability::ledger::ReserveError;
use sovr_capability::{Amount, Denial, Grants, Reservation};
use sovr_golem as golem;
use sovr_golem::demand::{Form, VmImage, WasiPackage};
use sovr_runtime::bindings::errors::Error;
use sovr_runtime::bindings::golem::{Options, Step};
use sovr_runtime::wire::{Handle, Reply};

use super::objects::{self, Job, Object, Rented, Workers};
use super::{Desk, blocking, steps};
use crate::convert::{self, invalid};
use crate::gate::{Action, Permit, Refusal, Used};
use crate::settings::networks::DEFAULT_SUBNET;
use crate::watch::JobWatch;

/// Tries of a task when the script does not say.
const ATTEMPTS: u32 = 3;
/// Most tries of a task.
const MOST_ATTEMPTS: u32 = 16;
/// Most bytes of a label or a reason.
const MOST_LABEL: usize = 1024;

/// Opening a job, or renting one provider.
#[derive(Debug)]
struct Open {
    what: &'static str,
    package: String,
    /// One, for a rented provider.
    workers: Option<u32>,
    budget: Option<Amount>,
    timeout: Option<Duration>,
    subnet: Option<String>,
    attempts: u32,
    min_mem_gib: Option<f64>,
    min_storage_gib: Option<f64>,
    min_cpu_threads: Option<u32>,
    /// Renting counts as a task; the tasks of a job are counted when they are submitted.
    tasks: u64,
}

/// What an open job may take.
#[derive(Debug)]
struct OpenTerms {
    forms: Vec<PackageForm>,
    workers: u32,
    budget: Option<Amount>,
    timeout: Duration,
    subnet: String,
}

impl Open {
    fn parse(what: &'static str, options: Options) -> Result<Self, Error> {
        let demand = options.demand;
        let attempts = options.max_attempts.unwrap_or(ATTEMPTS);
        if !(1..=MOST_ATTEMPTS).contains(&attempts) {
            return Err(invalid(
                "max-attempts",
                format_args!("must be between 1 and {MOST_ATTEMPTS}"),
            ));
        }
        if options.max_workers == Some(0) {
            return Err(invalid("max-workers", "must be at least 1"));
        }
        Ok(Self {
            what,
            package: demand.package,
            workers: options.max_workers,
            budget: options
                .budget
                .map(|text| convert::amount("budget", &text))
                .transpose()?,
            timeout: convert::duration("timeout", options.timeout)?,
            subnet: options.subnet,
            attempts,
            min_mem_gib: convert::gib("demand.min-mem-gib", demand.min_mem_gib)?,
            min_storage_gib: convert::gib("demand.min-storage-gib", demand.min_storage_gib)?,
            min_cpu_threads: demand.min_cpu_threads,
            tasks: 0,
        })
    }
}

impl Open {
    /// Renting a single provider.
    fn of_one(self) -> Result<Self, Error> {
        match self.workers {
            None | Some(1) => Ok(Self {
                workers: Some(1),
                tasks: 1,
                ..self
            }),
            Some(_) => Err(invalid("max-workers", "an activity is one provider")),
        }
    }
}

impl Action for Open {
    type Terms = OpenTerms;

    fn what(&self) -> &'static str {
        self.what
    }

    fn detail(&self) -> Value {
        json!({
            "package": self.package,
            "max-workers": self.workers,
            "budget": self.budget,
            "timeout-seconds": self.timeout.map(|timeout| timeout.as_secs_f64()),
            "subnet": self.subnet,
        })
    }

    fn check(&self, grants: &Grants, used: &mut Used) -> Result<OpenTerms, Refusal> {
        let grant = grants.golem(self.what)?;
        let terms = OpenTerms {
            forms: grant.check_package(&self.package)?.to_vec(),
            workers: workers_left(grant, self.workers, used.workers)?,
            budget: grant.check_budget(self.budget)?,
            timeout: grant.check_timeout(self.timeout)?,
            subnet: grant.check_subnet(self.subnet.as_deref())?.to_owned(),
        };
        if self.tasks > 0 {
            grant.check_task(used.tasks)?;
        }
        used.tasks += self.tasks;
        used.workers += terms.workers;
        Ok(terms)
    }
}

/// Giving tasks to a job.
#[derive(Debug)]
struct Submit {
    label: String,
    steps: steps::Parsed,
    timeout: Option<Duration>,
}

impl Submit {
    const WHAT: &str = "golem.submit";

    fn parse(label: String, steps: Vec<Step>, timeout: Option<u64>) -> Result<Self, Error> {
        Ok(Self {
            label: short("label", label)?,
            steps: steps::parse(steps)?,
            timeout: convert::duration("timeout", timeout)?,
        })
    }
}

impl Action for Submit {
    type Terms = ();

    fn what(&self) -> &'static str {
        Self::WHAT
    }

    fn detail(&self) -> Value {
        json!({ "label": self.label, "steps": self.steps.detail() })
    }

    fn check(&self, grants: &Grants, used: &mut Used) -> Result<(), Refusal> {
        grants.golem(self.what())?.check_task(used.tasks)?;
        self.steps.check()?;
        used.tasks += 1;
        Ok(())
    }
}

/// Steps on a provider that is there already: a worker's start, or a batch of a rented one.
#[derive(Debug)]
struct Exec {
    what: &'static str,
    steps: steps::Parsed,
}

impl Action for Exec {
    type Terms = ();

    fn what(&self) -> &'static str {
        self.what
    }

    fn detail(&self) -> Value {
        json!({ "steps": self.steps.detail() })
    }

    fn check(&self, grants: &Grants, _: &mut Used) -> Result<(), Refusal> {
        grants.golem(self.what)?;
        self.steps.check()
    }
}

/// Something that decides over money already reserved: taking or refusing a result, closing.
#[derive(Debug)]
struct Settle {
    what: &'static str,
    detail: Value,
}

impl Action for Settle {
    type Terms = ();

    fn what(&self) -> &'static str {
        self.what
    }

    fn detail(&self) -> Value {
        self.detail.clone()
    }

    fn check(&self, grants: &Grants, _: &mut Used) -> Result<(), Refusal> {
        grants.golem(self.what)?;
        Ok(())
    }
}

impl Desk {
    pub(super) async fn open_executor(&self, options: Options) -> Result<Reply, Error> {
        const WHAT: &str = "golem.open-executor";
        self.objects.settled().await;
        self.gate.read(WHAT, self.check_room())?;
        let open = self.gate.read(WHAT, Open::parse(WHAT, options))?;
        self.gate
            .pass(open, async |permit| {
                let opening = self.reserve(permit).await?;
                let executor = golem::Executor::open(
                    Arc::clone(&self.network),
                    opening.job,
                    opening.reservation,
                    Arc::new(opening.watch),
                )
                .await
                .map_err(convert::executor_error)?;
                let terms = convert::terms(executor.terms());
                let job = Job {
                    executor,
                    workers: opening.workers,
                };
                Ok(Reply::Executor {
                    executor: self.objects.insert(Object::Job(Arc::new(job))),
                    terms,
                })
            })
            .await
    }

    pub(super) async fn open_activity(&self, options: Options) -> Result<Reply, Error> {
        const WHAT: &str = "golem.open-activity";
        self.objects.settled().await;
        self.gate.read(WHAT, self.check_room())?;
        let open = self
            .gate
            .read(WHAT, Open::parse(WHAT, options).and_then(Open::of_one))?;
        self.gate
            .pass(open, async |permit| {
                let opening = self.reserve(permit).await?;
                let rental = golem::Rental::open(
                    Arc::clone(&self.network),
                    opening.job,
                    opening.reservation,
                    Arc::new(opening.watch),
                )
                .await
                .map_err(convert::failure_as_error)?;
                let provider = convert::provider(rental.runs_on());
                let rented = Rented {
                    rental,
                    workers: opening.workers,
                    batch: tokio::sync::Mutex::new(None),
                };
                Ok(Reply::Activity {
                    activity: self.objects.insert(Object::Rented(Arc::new(rented))),
                    provider,
                })
            })
            .await
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.objects.count() < objects::MOST {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{} jobs and activities are open; close one first",
            objects::MOST
        )))
    }

    /// Sets the money aside and makes the job of what was permitted.
    async fn reserve(&self, permit: Permit<Open>) -> Result<Opening, Error> {
        let Permit { action, terms, .. } = permit;
        // From here on the workers are given back however this ends.
        let workers = Workers::new(&self.gate, terms.workers);
        let account = self
            .account
            .clone()
            .ok_or_else(|| super::absent("account"))?;
        let purpose = action.package.clone();
        let reservation = blocking(move || match terms.budget {
            Some(budget) => account.reserve(budget, &purpose),
            None => account.reserve_rest(&purpose).map_err(ReserveError::from),
        })
        .await?
        .map_err(|error| match error {
            ReserveError::OverBudget { .. } => Error::OverBudget(error.to_string()),
            ReserveError::State(_) => Error::Unavailable(error.to_string()),
        })?;
        if reservation.amount() == Amount::ZERO {
            return Err(Error::OverBudget(
                "nothing is left of the run's budget".to_owned(),
            ));
        }
        let demand = golem::Demand {
            package: golem::Package {
                name: action.package,
                forms: terms
                    .forms
                    .iter()
                    .map(|form| self.form(form))
                    .collect::<Result<_, _>>()?,
            },
            // Which form a provider takes is its network's choice, so it must bring what the most demanding one needs.
            min_mem_gib: most(action.min_mem_gib, &terms.forms, |form| {
                form.min_mem_gib.map(|gib| gib.as_f64())
            }),
            min_storage_gib: most(action.min_storage_gib, &terms.forms, |form| {
                form.min_storage_gib.map(|gib| gib.as_f64())
            }),
            min_cpu_threads: most(action.min_cpu_threads, &terms.forms, |form| {
                form.min_cpu_threads
            }),
            subnet: match terms.subnet.as_str() {
                DEFAULT_SUBNET => self.public_subnet.clone(),
                _ => terms.subnet,
            },
            lifetime: terms.timeout,
            budget: reservation.amount(),
        };
        Ok(Opening {
            job: golem::Job {
                demand,
                max_workers: terms.workers,
                timeout: terms.timeout,
                max_attempts: action.attempts,
                strategy: golem::price::Strategy::default(),
            },
            reservation,
            workers,
            watch: self.watch_job(),
        })
    }

    fn form(&self, form: &PackageForm) -> Result<Form, Error> {
        Ok(match &form.image {
            Image::Wasi(path) => Form::Wasi(WasiPackage {
                archive: self
                    .files
                    .source(steps::tree_path("the recipe's package", path)?),
                digest: None,
                url: form.url.clone(),
            }),
            Image::Vm(name) => Form::Vm(VmImage {
                name: name.clone(),
                capabilities: form.capabilities.iter().cloned().collect(),
                url: form.url.clone(),
            }),
        })
    }

    fn watch_job(&self) -> JobWatch {
        JobWatch {
            job: self.objects.number_job(),
            gate: Arc::clone(&self.gate),
            tally: Arc::clone(&self.tally),
            observer: Arc::clone(&self.observer),
            _alive: self.objects.begin_job(),
        }
    }

    pub(super) async fn on_worker_start(
        &self,
        executor: Handle,
        steps: Vec<Step>,
    ) -> Result<Reply, Error> {
        let job = self.objects.job(executor)?;
        const WHAT: &str = "golem.on-worker-start";
        let exec = Exec {
            what: WHAT,
            steps: self.gate.read(WHAT, steps::parse(steps))?,
        };
        self.gate
            .pass(exec, async |permit| {
                let steps = permit.action.steps.bind(&self.files)?;
                job.executor
                    .on_worker_start(steps)
                    .map_err(convert::executor_error)?;
                Ok(Reply::Done)
            })
            .await
    }

    pub(super) async fn submit(
        &self,
        executor: Handle,
        label: String,
        steps: Vec<Step>,
        timeout: Option<u64>,
    ) -> Result<Reply, Error> {
        let job = self.objects.job(executor)?;
        let submit = self
            .gate
            .read(Submit::WHAT, Submit::parse(label, steps, timeout))?;
        self.gate
            .pass(submit, async |permit| {
                let Submit {
                    label,
                    steps,
                    timeout,
                } = permit.action;
                let task = golem::Task {
                    label,
                    steps: steps.bind(&self.files)?,
                    timeout,
                };
                job.executor
                    .submit(task)
                    .map(Reply::Task)
                    .map_err(convert::executor_error)
            })
            .await
    }

    /// Waiting changes nothing, so it needs no permit.
    pub(super) async fn next_outcome(&self, executor: Handle) -> Result<Reply, Error> {
        let job = self.objects.job(executor)?;
        let outcome = job.executor.next().await.map_err(convert::executor_error)?;
        Ok(Reply::Outcome(outcome.map(convert::outcome)))
    }

    pub(super) async fn accept(&self, executor: Handle, task: u64) -> Result<Reply, Error> {
        let job = self.objects.job(executor)?;
        let settle = Settle {
            what: "golem.accept",
            detail: json!({ "task": task }),
        };
        self.gate
            .pass(settle, async |_| {
                job.executor.accept(task).map_err(convert::executor_error)?;
                Ok(Reply::Done)
            })
            .await
    }

    pub(super) async fn reject(
        &self,
        executor: Handle,
        task: u64,
        reason: String,
        retry: bool,
    ) -> Result<Reply, Error> {
        let job = self.objects.job(executor)?;
        const WHAT: &str = "golem.reject";
        let reason = self.gate.read(WHAT, short("reason", reason))?;
        let settle = Settle {
            what: WHAT,
            detail: json!({ "task": task, "reason": reason, "retry": retry }),
        };
        self.gate
            .pass(settle, async |_| {
                job.executor
                    .reject(task, &reason, retry)
                    .map_err(convert::executor_error)?;
                Ok(Reply::Done)
            })
            .await
    }

    pub(super) async fn close_executor(&self, executor: Handle) -> Result<Reply, Error> {
        let job = self.objects.job(executor)?;
        let settle = Settle {
            what: "golem.close-executor",
            detail: json!({ "executor": executor }),
        };
        self.gate
            .pass(settle, async |_| {
                let summary = job.close().await;
                self.objects.remove(executor);
                Ok(Reply::Summary(convert::summary(&summary)))
            })
            .await
    }

    pub(super) async fn exec(
        &self,
        activity: Handle,
        steps: Vec<Step>,
        timeout: Option<u64>,
    ) -> Result<Reply, Error> {
        let rented = self.objects.rented(activity)?;
        const WHAT: &str = "golem.exec";
        let timeout = self
            .gate
            .read(WHAT, convert::duration("timeout", timeout))?;
        let exec = Exec {
            what: WHAT,
            steps: self.gate.read(WHAT, steps::parse(steps))?,
        };
        self.gate
            .pass(exec, async |permit| {
                let mut batch = rented.batch.try_lock().map_err(|_| busy())?;
                if batch.is_some() {
                    return Err(busy());
                }
                let steps = permit.action.steps.bind(&self.files)?;
                *batch = Some(
                    rented
                        .rental
                        .exec(steps, timeout)
                        .await
                        .map_err(convert::executor_error)?,
                );
                Ok(Reply::Done)
            })
            .await
    }

    pub(super) async fn next_event(&self, activity: Handle) -> Result<Reply, Error> {
        let rented = self.objects.rented(activity)?;
        let mut batch = rented.batch.lock().await;
        loop {
            let Some(events) = batch.as_mut() else {
                return Ok(Reply::Event(None));
            };
            let Some(event) = events.recv().await else {
                *batch = None;
                return Ok(Reply::Event(None));
            };
            if matches!(event, golem::BatchEvent::Ended(_)) {
                *batch = None;
            }
            if let Some(event) = convert::batch_event(event) {
                return Ok(Reply::Event(Some(event)));
            }
        }
    }

    pub(super) async fn close_activity(&self, activity: Handle) -> Result<Reply, Error> {
        let rented = self.objects.rented(activity)?;
        let settle = Settle {
            what: "golem.close-activity",
            detail: json!({ "activity": activity }),
        };
        self.gate
            .pass(settle, async |_| {
                let cost = rented.close().await;
                self.objects.remove(activity);
                Ok(Reply::Amount(cost.to_string()))
            })
            .await
    }
}

/// All that opening a job needs.
struct Opening {
    job: golem::Job,
    reservation: Reservation,
    workers: Workers,
    watch: JobWatch,
}

/// Workers for one more job, when `in_use` are at work in others.
fn workers_left(grant: &Golem, asked: Option<u32>, in_use: u32) -> Result<u32, Denial> {
    let most = grant.check_workers(asked)?;
    let left = grant.max_workers.saturating_sub(in_use);
    match asked {
        None if left > 0 => Ok(most.min(left)),
        Some(workers) if workers <= left => Ok(workers),
        _ => Err(Denial::new(
            "golem.max-workers",
            format_args!("{} besides {in_use} in other open jobs", asked.unwrap_or(1)),
            grant.max_workers,
        )),
    }
}

fn most<T: PartialOrd>(
    asked: Option<T>,
    forms: &[PackageForm],
    of: impl Fn(&PackageForm) -> Option<T>,
) -> Option<T> {
    forms
        .iter()
        .filter_map(of)
        .chain(asked)
        .reduce(|most, next| if next > most { next } else { most })
}

pub(super) fn busy() -> Error {
    Error::Invalid(
        "a batch runs on this activity; take its events to the end before the next".to_owned(),
    )
}

fn short(field: &str, text: String) -> Result<String, Error> {
    if text.len() > MOST_LABEL {
        return Err(invalid(
            field,
            format_args!(
                "it has {} bytes; at most {MOST_LABEL} are taken",
                text.len()
            ),
        ));
    }
    Ok(text)
}
