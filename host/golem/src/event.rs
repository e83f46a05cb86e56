//! What happens during a job, told to whoever watches.
//!
//! An observer is called in the order in which things happen. Events follow the names that yapapi gave them. In JSON an
//! event is an object with `what` and the fields of its variant.

use std::time::Duration;

use serde::Serialize;
use sovr_capability::{Amount, Untrusted};

use crate::failure::FailureKind;
use crate::network::Provider;
use crate::outcome::{Summary, Terms};
use crate::step::{Command, Step};

/// Something that wants to know. Called while the job stands still: it must answer at once and not call the job.
pub trait Observer: Send + Sync {
    /// One event.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// A provider as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Node id.
    pub id: String,
    /// The name it gives itself.
    pub name: Untrusted,
}

impl From<&Provider> for Who {
    fn from(provider: &Provider) -> Self {
        Self {
            id: provider.id.to_string(),
            name: Untrusted::new(provider.name.clone()),
        }
    }
}

/// What a worker does at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Doing {
    /// Prepares the package.
    Deploy,
    /// Starts the runtime.
    Start,
    /// Sends a file.
    Send {
        /// To where on the provider.
        path: Untrusted,
    },
    /// Runs a program.
    Run {
        /// Which one.
        program: Untrusted,
    },
    /// Fetches a file.
    Download {
        /// From where on the provider.
        path: Untrusted,
    },
    /// Stops the runtime.
    Terminate,
}

impl From<&Command> for Doing {
    fn from(command: &Command) -> Self {
        match command {
            Command::Deploy => Self::Deploy,
            Command::Start => Self::Start,
            Command::Terminate => Self::Terminate,
            Command::Step(Step::Send { destination, .. }) => Self::Send {
                path: destination.as_str().into(),
            },
            Command::Step(Step::Run { program, .. }) => Self::Run {
                program: program.as_str().into(),
            },
            Command::Step(Step::Download { source, .. } | Step::DownloadBytes { source, .. }) => {
                Self::Download {
                    path: source.as_str().into(),
                }
            }
        }
    }
}

/// One thing that happened. Workers are numbered from 0 in the order in which they were started.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "what",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Event {
    /// The job is open and its demand published.
    JobStarted {
        /// What was agreed with the caller.
        terms: Terms,
    },
    /// A provider answered.
    ProposalReceived {
        /// Who.
        provider: Who,
    },
    /// An offer came to nothing.
    ProposalRejected {
        /// Whose, if of one provider.
        provider: Option<Who>,
        /// Why.
        reason: Untrusted,
    },
    /// Nobody who is known can do what waits. The job goes on waiting for others until its patience ends.
    NoProposalsConfirmed {
        /// Offers seen so far.
        offers: u64,
        /// What was asked, how many answered, why each was refused.
        explanation: Untrusted,
    },
    /// A provider was asked for an agreement.
    AgreementCreated {
        /// The worker it is for.
        worker: u64,
        /// Who.
        provider: Who,
    },
    /// The provider agreed.
    AgreementConfirmed {
        /// The worker it is for.
        worker: u64,
        /// Who.
        provider: Who,
        /// The agreement's id.
        agreement: String,
    },
    /// The provider did not agree.
    AgreementRejected {
        /// The worker it was for.
        worker: u64,
        /// Who.
        provider: Who,
        /// Why.
        reason: Untrusted,
    },
    /// An agreement ended, and this is its bill.
    AgreementTerminated {
        /// Its worker.
        worker: u64,
        /// Who.
        provider: Who,
        /// What the provider asked.
        claimed: Amount,
        /// What was accepted.
        accepted: Amount,
    },
    /// A runtime exists on the provider.
    ActivityCreated {
        /// Its worker.
        worker: u64,
        /// The activity's id.
        activity: String,
    },
    /// No runtime could be made.
    ActivityCreateFailed {
        /// Its worker.
        worker: u64,
        /// Why.
        reason: Untrusted,
    },
    /// A worker is deployed, started and set up.
    WorkerStarted {
        /// Which.
        worker: u64,
        /// On whom.
        provider: Who,
    },
    /// A worker is gone.
    WorkerFinished {
        /// Which.
        worker: u64,
        /// On whom.
        provider: Who,
        /// Why, if it did not end by itself.
        failure: Option<Untrusted>,
    },
    /// A task waits for a worker.
    TaskQueued {
        /// Its number.
        task: u64,
        /// Its label.
        label: Untrusted,
    },
    /// A worker began a task.
    TaskStarted {
        /// Its number.
        task: u64,
        /// Its label.
        label: Untrusted,
        /// The worker.
        worker: u64,
        /// On whom.
        provider: Who,
        /// Which try, from 1.
        attempt: u32,
    },
    /// A try failed, and another follows.
    TaskRetried {
        /// Its number.
        task: u64,
        /// What kind of failure.
        failure: FailureKind,
        /// In words.
        reason: Untrusted,
    },
    /// A task has results.
    TaskFinished {
        /// Its number.
        task: u64,
        /// The worker.
        worker: u64,
        /// Time on the provider, this try.
        #[serde(serialize_with = "sovr_capability::units::as_seconds")]
        time: Duration,
        /// All tries.
        cost: Amount,
        /// How many providers tried.
        attempts: u32,
    },
    /// A task has no results and gets no further try.
    TaskFailed {
        /// Its number.
        task: u64,
        /// What kind of failure.
        failure: FailureKind,
        /// In words.
        reason: Untrusted,
    },
    /// A result was taken.
    TaskAccepted {
        /// Its number.
        task: u64,
    },
    /// A result was refused.
    TaskRejected {
        /// Its number.
        task: u64,
        /// Why.
        reason: Untrusted,
        /// Whether another provider tries.
        retry: bool,
    },
    /// A command of a worker's batch began.
    CommandStarted {
        /// The worker.
        worker: u64,
        /// The task; none in deployment and set-up.
        task: Option<u64>,
        /// What is done.
        doing: Doing,
    },
    /// A transfer moved on.
    CommandProgress {
        /// The worker.
        worker: u64,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// A program printed something.
    CommandStdout {
        /// The worker.
        worker: u64,
        /// What.
        text: Untrusted,
    },
    /// A program printed something to standard error.
    CommandStderr {
        /// The worker.
        worker: u64,
        /// What.
        text: Untrusted,
    },
    /// A command is done.
    CommandExecuted {
        /// The worker.
        worker: u64,
    },
    /// A provider told what is owed so far.
    DebitNoteReceived {
        /// The worker.
        worker: u64,
        /// In all, for its agreement.
        amount: Amount,
        /// Whether it was accepted.
        accepted: bool,
    },
    /// A provider sent its final bill.
    InvoiceReceived {
        /// The worker.
        worker: u64,
        /// In all, for its agreement.
        amount: Amount,
        /// Whether it was accepted.
        accepted: bool,
    },
    /// A worker was ended because its running cost would have passed what it may cost.
    SpendingCutOff {
        /// The worker.
        worker: u64,
        /// What it may cost.
        ceiling: Amount,
    },
    /// A cost was accepted and could not be written to the ledger.
    CostNotRecorded {
        /// The worker.
        worker: u64,
        /// What was accepted.
        cost: Amount,
        /// Why.
        reason: Untrusted,
    },
    /// All agreements are ended and paid.
    JobFinished {
        /// In numbers.
        summary: Summary,
    },
}
