//! One agreement with one activity, from the moment an offer is accepted to the moment its bill is settled.
//!
//! The executor's workers and a [`crate::Rental`] both stand on it. Beside the batches that its owner runs, a task of its
//! own follows the agreement: it hears debit notes, sets more money aside before it is owed, and breaks the lease when
//! the budget ends or the provider does. A lease that is broken ends the batch that runs and refuses others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sovr_capability::Amount;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::event::{Event, Observer};
use crate::failure::{Failure, FailureKind};
use crate::network::{
    Activity, Agreement, AgreementEvent, Attention, Bill, NetworkError, Proposal, Provider,
    TerminateReason,
};
use crate::price::{LinearPrice, Usage};
use crate::purse::Allotment;
use crate::step::{BatchEvent, Command, StepResult};
use crate::story::Story;
use crate::timing::{self, until};

/// A reason to stop, once there is one.
pub(crate) type Stop = watch::Receiver<Option<Failure>>;

/// Waits for the reason to stop. Waits for ever when nobody can give one any more.
pub(crate) async fn stopped(stop: &mut Stop) -> Failure {
    if let Ok(failure) = stop.wait_for(Option::is_some).await
        && let Some(failure) = failure.clone()
    {
        return failure;
    }
    std::future::pending().await
}

/// What an agreement on this offer needs in advance, at least and preferably.
pub(crate) fn advance(proposal: &dyn Proposal) -> (Amount, Amount) {
    let price = proposal.price();
    let of = |time| price.cost(Usage::full_load(proposal.threads(), time));
    (of(timing::LEAST_AHEAD), of(timing::AHEAD))
}

/// Why there is no lease.
pub(crate) enum SignError {
    /// The provider did not agree.
    Refused(NetworkError),
    /// It agreed, and then no activity came about. The bill is settled.
    Failed(Failure),
}

pub(crate) struct Lease {
    worker: u64,
    agreement: Arc<dyn Agreement>,
    activity: Arc<dyn Activity>,
    account: Arc<Account>,
    broken: Stop,
    /// The follower; ended with the lease.
    follower: JoinSet<()>,
    observer: Arc<dyn Observer>,
}

impl Lease {
    /// Makes an agreement of the offer and starts an activity. Not to be dropped half-way: both waits end by themselves.
    pub(crate) async fn sign(
        worker: u64,
        proposal: Box<dyn Proposal>,
        allotment: Allotment,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, SignError> {
        let provider = proposal.provider().clone();
        let threads = proposal.threads();
        observer.observe(&Event::AgreementCreated {
            worker,
            provider: (&provider).into(),
        });
        let agreement: Arc<dyn Agreement> = match proposal.agree().await {
            Ok(agreement) => agreement.into(),
            Err(error) => {
                observer.observe(&Event::AgreementRejected {
                    worker,
                    provider: (&provider).into(),
                    reason: error.to_string().into(),
                });
                return Err(SignError::Refused(error));
            }
        };
        observer.observe(&Event::AgreementConfirmed {
            worker,
            provider: (&provider).into(),
            agreement: agreement.id().to_owned(),
        });
        let account = Arc::new(Account::open(agreement.price().clone(), threads, allotment));
        agreement.set_ceiling(account.ceiling());

        let activity: Arc<dyn Activity> = match agreement.create_activity().await {
            Ok(activity) => activity.into(),
            Err(error) => {
                let reason = error.to_string();
                observer.observe(&Event::ActivityCreateFailed {
                    worker,
                    reason: reason.as_str().into(),
                });
                let failure = Failure::new(FailureKind::ProviderLost, reason.clone());
                settle(
                    worker,
                    &*agreement,
                    &account,
                    TerminateReason::Failed(reason),
                    &*observer,
                )
                .await;
                return Err(SignError::Failed(failure));
            }
        };
        observer.observe(&Event::ActivityCreated {
            worker,
            activity: activity.id().to_owned(),
        });

        let (breaking, broken) = watch::channel(None);
        let mut follower = JoinSet::new();
        follower.spawn(
            Follower {
                worker,
                agreement: Arc::clone(&agreement),
                activity: Arc::clone(&activity),
                account: Arc::clone(&account),
                breaking,
                observer: Arc::clone(&observer),
            }
            .follow(),
        );
        Ok(Self {
            worker,
            agreement,
            activity,
            account,
            broken,
            follower,
            observer,
        })
    }

    pub(crate) fn provider(&self) -> &Provider {
        self.agreement.provider()
    }

    /// Waits until the lease is broken.
    pub(crate) async fn broken(&self) -> Failure {
        stopped(&mut self.broken.clone()).await
    }

    /// Runs a batch to its end and passes its events on, but for the end itself. After a failure other than of a command
    /// or a transfer the lease is good for nothing but its end; until then the batch may go on.
    pub(crate) async fn run(
        &self,
        task: Option<u64>,
        batch: &[Command],
        timeout: Option<Duration>,
        stop: &mut Stop,
        listener: Option<&mpsc::Sender<BatchEvent>>,
    ) -> Result<Vec<StepResult>, Failure> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let attention = match listener {
            Some(_) => Attention::Live,
            None => Attention::Easy,
        };
        let mut story = Story::new(batch);
        let late = |story: &Story| {
            let timeout = timeout.unwrap_or_default();
            story.interrupted(
                FailureKind::TimedOut,
                format!("it took longer than {timeout:?}"),
            )
        };
        let mut events = tokio::select! {
            biased;
            failure = stopped(stop) => return Err(failure),
            failure = self.broken() => return Err(failure),
            () = until(deadline) => return Err(late(&story)),
            events = self.activity.exec(batch.to_vec(), attention) => events.map_err(|error| lost(&error))?,
        };
        loop {
            // The provider decides how many events there are: it must not keep a deadline from being seen.
            let event = tokio::select! {
                biased;
                failure = stopped(stop) => return Err(failure),
                failure = self.broken() => return Err(failure),
                () = until(deadline) => return Err(late(&story)),
                event = events.recv() => event,
            };
            let Some(event) = event else {
                return Err(story.interrupted(
                    FailureKind::ProviderLost,
                    format!(
                        "{} went away in the middle of a batch",
                        self.provider().name
                    ),
                ));
            };
            self.report(task, batch, &event);
            let passed_on = listener
                .filter(|_| !matches!(event, BatchEvent::Ended(_)))
                .map(|listener| listener.send(event.clone()));
            if let Some(end) = story.hear(event) {
                return end;
            }
            if let Some(passed_on) = passed_on {
                tokio::select! {
                    biased;
                    failure = stopped(stop) => return Err(failure),
                    failure = self.broken() => return Err(failure),
                    () = until(deadline) => return Err(late(&story)),
                    // A listener that went away is no reason to stop: the caller still wants the results.
                    _ = passed_on => {}
                }
            }
        }
    }

    /// What was used so far, as the provider says; none if it does not say in time.
    pub(crate) async fn usage(&self) -> Option<Usage> {
        usage(&*self.activity).await
    }

    /// What that cost. Never more than the time that passed can justify.
    pub(crate) fn cost_between(
        &self,
        earlier: Option<Usage>,
        later: Option<Usage>,
        passed: Duration,
    ) -> Amount {
        self.account.cost_between(earlier, later, passed)
    }

    /// Ends the activity and the agreement and settles the bill. Not to be dropped half-way: all waits end by themselves.
    pub(crate) async fn end(mut self, reason: TerminateReason) -> Bill {
        self.activity.destroy().await;
        self.account.no_more(&*self.agreement);
        let terminated = self.agreement.terminate(reason).await;
        // Its last events, the invoice among them, are told before the end is.
        let _ = tokio::time::timeout(timing::LAST_EVENTS, self.follower.join_next()).await;
        self.follower.shutdown().await;
        book(
            self.worker,
            self.agreement.provider(),
            &self.account,
            &terminated,
            &*self.observer,
        )
        .await;
        terminated
    }

    fn report(&self, task: Option<u64>, batch: &[Command], event: &BatchEvent) {
        let worker = self.worker;
        self.observer.observe(&match event {
            BatchEvent::Started(index) => {
                let Some(command) = usize::try_from(*index)
                    .ok()
                    .and_then(|index| batch.get(index))
                else {
                    return;
                };
                Event::CommandStarted {
                    worker,
                    task,
                    doing: command.into(),
                }
            }
            BatchEvent::Stdout(_, text) => Event::CommandStdout {
                worker,
                text: text.as_str().into(),
            },
            BatchEvent::Stderr(_, text) => Event::CommandStderr {
                worker,
                text: text.as_str().into(),
            },
            BatchEvent::Progress { done, total, .. } => Event::CommandProgress {
                worker,
                done: *done,
                total: *total,
            },
            BatchEvent::Finished(..) => Event::CommandExecuted { worker },
            BatchEvent::Ended(_) => return,
        });
    }
}

fn lost(error: &NetworkError) -> Failure {
    Failure::new(FailureKind::ProviderLost, error.to_string())
}

async fn usage(activity: &dyn Activity) -> Option<Usage> {
    tokio::time::timeout(timing::USAGE, activity.usage())
        .await
        .ok()?
        .ok()
}

/// Ends an agreement that nobody follows.
async fn settle(
    worker: u64,
    agreement: &dyn Agreement,
    account: &Account,
    reason: TerminateReason,
    observer: &dyn Observer,
) {
    account.no_more(agreement);
    let bill = agreement.terminate(reason).await;
    book(worker, agreement.provider(), account, &bill, observer).await;
}

/// Records what a bill cost.
async fn book(
    worker: u64,
    provider: &Provider,
    account: &Account,
    bill: &Bill,
    observer: &dyn Observer,
) {
    let allotment = account.state().allotment.take();
    if let Some(allotment) = allotment
        && let Err(error) = allotment.settle(bill.accepted).await
    {
        observer.observe(&Event::CostNotRecorded {
            worker,
            cost: bill.accepted,
            reason: error.to_string().into(),
        });
    }
    observer.observe(&Event::AgreementTerminated {
        worker,
        provider: provider.into(),
        claimed: bill.claimed,
        accepted: bill.accepted,
    });
}

/// What a lease may cost and what it can have cost so far.
struct Account {
    price: LinearPrice,
    threads: u32,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    /// None once settled.
    allotment: Option<Allotment>,
    /// What was owed at `since`, as far as is known.
    known: Amount,
    since: Instant,
}

/// What is to be done about an account.
enum Check {
    /// Nothing before this moment; none if never.
    At(Option<Instant>),
    /// More was set aside.
    Raised(Amount),
    /// Nothing is left to set aside.
    Exhausted,
}

impl Account {
    fn open(price: LinearPrice, threads: u32, allotment: Allotment) -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                allotment: Some(allotment),
                known: price.start,
                since: now,
            }),
            price,
            threads,
            begun: now,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ceiling(&self) -> Amount {
        self.state()
            .allotment
            .as_ref()
            .map_or(Amount::ZERO, Allotment::amount)
    }

    /// The most that can be owed by now, whatever the provider says.
    fn most(&self) -> Amount {
        let passed = self.begun.elapsed() + timing::CLOCK_SLACK;
        self.price.cost(Usage::full_load(self.threads, passed))
    }

    /// From now on nothing is accepted beyond what can be owed at this moment.
    fn no_more(&self, agreement: &dyn Agreement) {
        agreement.set_ceiling(self.ceiling().min(self.most()));
    }

    /// How long full load is paid for from `since`.
    fn covered(&self, state: &State) -> Duration {
        let ceiling = state
            .allotment
            .as_ref()
            .map_or(Amount::ZERO, Allotment::amount);
        self.price
            .pays_for(self.threads, ceiling.saturating_sub(state.known))
    }

    fn check(&self) -> Check {
        let mut state = self.state();
        let covered = self.covered(&state);
        let due = state
            .since
            .checked_add(covered.saturating_sub(timing::TOP_UP));
        if due.is_none_or(|due| due > Instant::now()) {
            return Check::At(due);
        }
        let ahead = self
            .price
            .running_cost(Usage::full_load(self.threads, timing::AHEAD));
        let Some(allotment) = &mut state.allotment else {
            return Check::At(None);
        };
        if allotment.grow(ahead) {
            return Check::Raised(allotment.amount());
        }
        Check::Exhausted
    }

    /// The moment at which what is set aside is used up but for [`timing::CUT_OFF`].
    fn last_moment(&self) -> Instant {
        let state = self.state();
        let covered = self.covered(&state).saturating_sub(timing::CUT_OFF);
        state.since.checked_add(covered).unwrap_or(state.since)
    }

    /// Learns what is owed now. Only ever lowers what full load would have cost.
    fn learn(&self, owed: Amount) {
        let mut state = self.state();
        let now = Instant::now();
        let load = Usage::full_load(self.threads, now - state.since);
        let assumed = state
            .known
            .checked_add(self.price.running_cost(load))
            .unwrap_or(Amount::MAX);
        state.known = owed.min(assumed);
        state.since = now;
    }

    fn owe(&self, amount: Amount) {
        if let Some(allotment) = &mut self.state().allotment {
            allotment.owe(amount);
        }
    }

    fn cost_between(
        &self,
        earlier: Option<Usage>,
        later: Option<Usage>,
        passed: Duration,
    ) -> Amount {
        let most = self
            .price
            .running_cost(Usage::full_load(self.threads, passed));
        match (earlier, later) {
            (Some(earlier), Some(later)) => self.price.running_cost(later.since(earlier)).min(most),
            // A provider that does not answer has at least let time pass.
            _ => self.price.running_cost(Usage {
                cpu: Duration::ZERO,
                duration: passed,
            }),
        }
    }
}

/// Follows an agreement while it lives.
struct Follower {
    worker: u64,
    agreement: Arc<dyn Agreement>,
    activity: Arc<dyn Activity>,
    account: Arc<Account>,
    breaking: watch::Sender<Option<Failure>>,
    observer: Arc<dyn Observer>,
}

impl Follower {
    async fn follow(self) {
        let mut next = self.top_up();
        loop {
            tokio::select! {
                event = self.agreement.next_event() => match event {
                    Some(event) => self.hear(event),
                    None => return,
                },
                () = until(next) => {
                    next = if self.is_broken() { None } else { self.look().await };
                }
            }
        }
    }

    fn is_broken(&self) -> bool {
        self.breaking.borrow().is_some()
    }

    /// Sets more money aside if it is time to, and answers when to look again.
    fn top_up(&self) -> Option<Instant> {
        loop {
            match self.account.check() {
                Check::At(when) => return when,
                Check::Raised(ceiling) => self.agreement.set_ceiling(ceiling),
                Check::Exhausted => return Some(self.account.last_moment()),
            }
        }
    }

    /// Money may have become free, or less was used than was feared. If not, the lease is over.
    async fn look(&self) -> Option<Instant> {
        let next = self.top_up()?;
        if next > Instant::now() {
            return Some(next);
        }
        if let Some(usage) = usage(&*self.activity).await {
            self.account.learn(self.account.price.cost(usage));
        }
        let next = self.account.last_moment();
        if next > Instant::now() {
            return Some(next);
        }
        let ceiling = self.account.ceiling();
        self.observer.observe(&Event::SpendingCutOff {
            worker: self.worker,
            ceiling,
        });
        self.break_with(
            FailureKind::OverBudget,
            format!(
                "work on {} was stopped when it had used up {ceiling} GLM: nothing else is left of the budget; give \
                 the job a larger budget or less to do",
                self.agreement.provider().name
            ),
        );
        None
    }

    fn hear(&self, event: AgreementEvent) {
        let worker = self.worker;
        let name = &self.agreement.provider().name;
        match event {
            AgreementEvent::DebitNote { amount, accepted } => {
                self.observer.observe(&Event::DebitNoteReceived {
                    worker,
                    amount,
                    accepted,
                });
                if accepted {
                    self.account.owe(amount);
                    return;
                }
                let most = self.account.most();
                if amount > most {
                    self.break_with(
                        FailureKind::ProviderLost,
                        format!(
                            "{name} asked for {amount} GLM when at most {most} GLM could be owed"
                        ),
                    );
                } else {
                    let ceiling = self.account.ceiling();
                    self.break_with(
                        FailureKind::OverBudget,
                        format!("{name} is owed {amount} GLM, more than the {ceiling} GLM set aside for it"),
                    );
                }
            }
            AgreementEvent::Invoice { amount, accepted } => {
                self.observer.observe(&Event::InvoiceReceived {
                    worker,
                    amount,
                    accepted,
                });
                if accepted {
                    self.account.owe(amount);
                }
            }
            AgreementEvent::Terminated { reason } => self.break_with(
                FailureKind::ProviderLost,
                format!("{name} ended the agreement: {reason}"),
            ),
            AgreementEvent::Broken { reason } => self.break_with(
                FailureKind::ProviderLost,
                format!("{name} did not keep the agreement: {reason}"),
            ),
        }
    }

    /// The first reason stands.
    fn break_with(&self, kind: FailureKind, reason: String) {
        self.breaking.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert_with(|| Failure::new(kind, reason));
            first
        });
    }
}
