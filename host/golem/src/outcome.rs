//! What a job answers.

use std::time::Duration;

use serde::Serialize;
use sovr_capability::Amount;

use crate::failure::Failure;
use crate::network::Provider;
use crate::step::StepResult;

/// A task that is decided, one way or the other.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The number that `submit` answered.
    pub task: u64,
    /// The label given to `submit`.
    pub label: String,
    /// Who worked on it last; none if no provider ever did.
    pub provider: Option<Provider>,
    /// One result per step, or why there is none.
    pub results: Result<Vec<StepResult>, Failure>,
    /// Time on the provider, last try.
    pub running_time: Duration,
    /// What the provider's time for this task cost, all tries. Starting a provider and its set-up steps are not in it;
    /// they are in [`Summary::cost`].
    pub cost: Amount,
    /// How many providers tried.
    pub attempts: u32,
}

impl Outcome {
    /// Bytes it takes in memory, by rough count.
    pub(crate) fn size(&self) -> usize {
        let contents = match &self.results {
            Ok(results) => results.iter().map(StepResult::size).sum(),
            Err(failure) => failure.reason.len() + failure.stdout.len() + failure.stderr.len(),
        };
        contents + self.label.len()
    }
}

/// What was agreed for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Terms {
    /// `local`, or the payment network's name.
    pub network: String,
    /// The payment driver.
    pub driver: String,
    /// The market's subnet.
    pub subnet: String,
    /// Reserved for this job.
    pub budget: Amount,
    /// Providers at work at the same time.
    pub max_workers: u32,
}

/// A job in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Tasks submitted.
    pub tasks: u64,
    /// Results taken, those that nobody rejected included.
    pub accepted: u64,
    /// Results refused for good.
    pub rejected: u64,
    /// Tasks without a result.
    pub failed: u64,
    /// Different providers that worked.
    pub providers: u64,
    /// What the job cost in all.
    pub cost: Amount,
}
