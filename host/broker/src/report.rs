//! The summary of a run: how it ended, what it cost, where everything is.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use sovr_capability::{Amount, Size, Untrusted};

/// How a run ended.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "ending",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum Ending {
    /// The script returned success.
    Completed,
    /// The script returned an error, or trapped by its own fault.
    Failed {
        /// What it was, for people.
        reason: Untrusted,
        /// Where the script was, innermost first, if it trapped.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        backtrace: Vec<Untrusted>,
    },
    /// A limit of the grants ended it.
    LimitHit {
        /// Dotted path of the limit in `capabilities`, e.g. `limits.time`.
        limit: String,
        /// What was used and what was allowed.
        detail: String,
        /// Where the script was, innermost first, if it could be asked.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        backtrace: Vec<Untrusted>,
    },
    /// The runner broke the protocol; it was killed.
    Violation {
        /// What it did.
        detail: String,
    },
    /// The user stopped it.
    Interrupted,
    /// The host or the machine failed; the script is not known to be to blame.
    Broken {
        /// What failed.
        reason: Untrusted,
    },
}

impl Ending {
    /// The word for it in JSON and in the audit log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Ending::Completed => "completed",
            Ending::Failed { .. } => "failed",
            Ending::LimitHit { .. } => "limit-hit",
            Ending::Violation { .. } => "violation",
            Ending::Interrupted => "interrupted",
            Ending::Broken { .. } => "broken",
        }
    }
}

/// A task of a job, as the table at the end shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskRow {
    /// Which job of the run, from 0.
    pub job: u64,
    /// The script's label.
    pub label: Untrusted,
    /// The provider that worked on it last.
    pub provider: Option<Untrusted>,
    /// On the provider, last try.
    #[serde(serialize_with = "sovr_capability::units::as_seconds")]
    pub time: Duration,
    /// All tries.
    pub cost: Amount,
    /// How many providers tried.
    pub attempts: u32,
    /// How it ended.
    pub result: TaskResult,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskResult {
    /// Done, and taken by the script.
    Accepted,
    /// Done, and refused by the script for good.
    Rejected,
    /// Not done.
    Failed,
}

/// A file that the run left in `output/`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputFile {
    /// Path in the pod's tree.
    pub path: Untrusted,
    /// Its size.
    pub size: Size,
}

/// Everything worth telling at the end of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The run's id.
    pub run: String,
    /// The pod's name.
    pub pod: Untrusted,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// Wall time of the script.
    #[serde(serialize_with = "sovr_capability::units::as_seconds")]
    pub time: Duration,
    /// What providers were paid.
    pub cost: Amount,
    /// The grant's budget, if money was granted.
    pub budget: Option<Amount>,
    /// Different providers that worked.
    pub providers: u64,
    /// Tasks in the order they were decided.
    pub tasks: Vec<TaskRow>,
    /// The pod's output directory.
    pub output_directory: PathBuf,
    /// New or changed files in it, sorted, at most [`Report::MOST_OUTPUTS`].
    pub outputs: Vec<OutputFile>,
    /// How many more there are.
    pub more_outputs: u64,
    /// The run's log.
    pub log: PathBuf,
    /// The run's audit log.
    pub audit: PathBuf,
    /// Calls that were refused.
    pub denials: u64,
    /// Demands, with what came of them, that could not be closed at the Golem daemon. [`Host::clean_up`] ends them.
    ///
    /// [`Host::clean_up`]: crate::Host::clean_up
    pub left_open: usize,
    /// Peak memory of the runner process, bytes, where the kernel tells.
    pub peak_memory: Option<u64>,
}

impl Report {
    /// Most output files listed one by one.
    pub const MOST_OUTPUTS: usize = 200;
}
