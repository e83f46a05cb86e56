//! What became of a task.

use std::fmt;
use std::time::Duration;

use crate::bindings::sovr::pod::golem;
use crate::{FailureKind, Provider, StepResult};

/// A task that is decided, one way or the other.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The number that [`crate::Executor::submit`] answered.
    pub task: u64,
    /// The task's label.
    pub label: String,
    /// Who worked on it last; `None` if no provider ever did.
    pub provider: Option<Provider>,
    /// One result for each step, or why there is none.
    pub results: Result<Vec<StepResult>, Failure>,
    /// Time on the provider, last try.
    pub running_time: Duration,
    /// What all tries cost, in GLM.
    pub cost: String,
    /// How many providers tried.
    pub attempts: u32,
}

impl Outcome {
    /// The provider's name for people; a provider that gives itself none is called by its id.
    pub fn provider_name(&self) -> &str {
        match &self.provider {
            Some(provider) if provider.name.is_empty() => &provider.id,
            Some(provider) => &provider.name,
            None => "no provider",
        }
    }
}

impl From<golem::Outcome> for Outcome {
    fn from(outcome: golem::Outcome) -> Self {
        Self {
            task: outcome.task,
            label: outcome.label,
            provider: outcome.provider,
            results: outcome.results.map_err(Failure::from),
            running_time: Duration::from_nanos(outcome.running_time),
            cost: outcome.cost,
            attempts: outcome.attempts,
        }
    }
}

/// Why a task was not done.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What sort of failure.
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

impl From<golem::Failure> for Failure {
    fn from(failure: golem::Failure) -> Self {
        Self {
            kind: failure.kind,
            reason: failure.reason,
            step: failure.step,
            stdout: failure.stdout,
            stderr: failure.stderr,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FailureKind::CommandFailed => "a program failed",
            FailureKind::TransferFailed => "a file could not be transferred",
            FailureKind::TimedOut => "it took too long",
            FailureKind::ProviderLost => "the provider was lost",
            FailureKind::NoProvider => "no provider is left that has not failed it already",
            FailureKind::OverBudget => "the budget does not cover another try",
            FailureKind::Rejected => "the result was rejected",
            FailureKind::Cancelled => "it was cancelled",
        })?;
        if let Some(step) = self.step {
            write!(f, " in step {}", step + 1)?;
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        match self.stderr.trim_end().lines().next_back() {
            Some(last) => write!(f, " (it said last: {last})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::{Failure, FailureKind};

    #[test]
    fn a_failure_says_where_and_what_the_program_said_last() {
        let failure = Failure {
            kind: FailureKind::CommandFailed,
            reason: "exit code 3".to_owned(),
            step: Some(1),
            stdout: String::new(),
            stderr: "reading scene\nno such file\n".to_owned(),
        };
        assert_eq!(
            failure.to_string(),
            "a program failed in step 2: exit code 3 (it said last: no such file)"
        );
        let failure = Failure {
            step: None,
            reason: String::new(),
            stderr: String::new(),
            ..failure
        };
        assert_eq!(failure.to_string(), "a program failed");
    }
}
