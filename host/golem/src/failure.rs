//! Why work was not done.

use serde::Serialize;

/// What kind of failure it was; scripts decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// A program ended with a code other than 0.
    CommandFailed,
    /// A file could not be sent or fetched.
    TransferFailed,
    /// The task, or the whole job, took too long.
    TimedOut,
    /// The provider went away, or answered nonsense.
    ProviderLost,
    /// No provider is left that has not already failed this task.
    NoProvider,
    /// What is left of the budget does not cover another try.
    OverBudget,
    /// The script rejected the result for good.
    Rejected,
    /// The job was closed or the run interrupted first.
    Cancelled,
}

/// Why a task, or a batch, was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// In words, with the provider's own message.
    pub reason: String,
    /// Index of the step that failed, if one did.
    pub step: Option<u32>,
    /// What the failing program printed.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
}

impl Failure {
    /// A failure that no single step is to blame for.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            step: None,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    /// A failure of the step with this index.
    pub fn at(step: u32, kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            step: Some(step),
            ..Self::new(kind, reason)
        }
    }
}
