//! Between the contract's words and the domain's types.
//!
//! What comes from a script is text and numbers of its choice. Here it becomes amounts, durations and checked paths,
//! or an `error.invalid` that says which field was wrong and why. Nothing here decides what is allowed.

use std::time::Duration;

use sovr_capability::{Amount, Denial};
use sovr_golem as golem;
use sovr_runtime::bindings::{errors, golem as contract};

/// A longer timeout is taken for this one, so that adding it to an instant cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// An `error.invalid` for a named field.
pub(crate) fn invalid(field: &str, why: impl std::fmt::Display) -> errors::Error {
    errors::Error::Invalid(format!("{field}: {why}"))
}

pub(crate) fn denied(denial: &Denial) -> errors::Error {
    errors::Error::Denied(errors::Denial {
        capability: denial.capability.clone(),
        asked: denial.asked.clone(),
        granted: denial.granted.clone(),
    })
}

pub(crate) fn amount(field: &str, text: &str) -> Result<Amount, errors::Error> {
    text.parse().map_err(|error| invalid(field, error))
}

/// A duration of the contract; none stays none.
pub(crate) fn duration(
    field: &str,
    nanoseconds: Option<u64>,
) -> Result<Option<Duration>, errors::Error> {
    match nanoseconds {
        Some(0) => Err(invalid(field, "must be longer than nothing")),
        Some(nanoseconds) => Ok(Some(Duration::from_nanos(nanoseconds).min(LONGEST))),
        None => Ok(None),
    }
}

/// GiB as a script may ask for them: finite and positive.
pub(crate) fn gib(field: &str, value: Option<f64>) -> Result<Option<f64>, errors::Error> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(invalid(field, "must be a positive number of GiB"))
        }
        value => Ok(value),
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn provider(provider: &golem::Provider) -> contract::Provider {
    contract::Provider {
        id: provider.id.to_string(),
        name: provider.name.clone(),
    }
}

pub(crate) fn terms(terms: &golem::Terms) -> contract::Terms {
    contract::Terms {
        network: terms.network.clone(),
        driver: terms.driver.clone(),
        subnet: terms.subnet.clone(),
        budget: terms.budget.to_string(),
        max_workers: terms.max_workers,
    }
}

pub(crate) fn summary(summary: &golem::Summary) -> contract::Summary {
    contract::Summary {
        tasks: summary.tasks,
        accepted: summary.accepted,
        rejected: summary.rejected,
        failed: summary.failed,
        providers: summary.providers,
        cost: summary.cost.to_string(),
    }
}

pub(crate) fn failure(failure: golem::Failure) -> contract::Failure {
    use contract::FailureKind as To;
    use golem::FailureKind as From;
    contract::Failure {
        kind: match failure.kind {
            From::CommandFailed => To::CommandFailed,
            From::TransferFailed => To::TransferFailed,
            From::TimedOut => To::TimedOut,
            From::ProviderLost => To::ProviderLost,
            From::NoProvider => To::NoProvider,
            From::OverBudget => To::OverBudget,
            From::Rejected => To::Rejected,
            From::Cancelled => To::Cancelled,
        },
        reason: failure.reason,
        step: failure.step,
        stdout: failure.stdout,
        stderr: failure.stderr,
    }
}

/// A failure as the answer of a call that had no outcome to put it in.
pub(crate) fn failure_as_error(failure: golem::Failure) -> errors::Error {
    match failure.kind {
        golem::FailureKind::TimedOut => errors::Error::TimedOut(failure.reason),
        golem::FailureKind::OverBudget => errors::Error::OverBudget(failure.reason),
        golem::FailureKind::Cancelled => errors::Error::Cancelled,
        _ => errors::Error::Unavailable(failure.reason),
    }
}

pub(crate) fn executor_error(error: golem::ExecutorError) -> errors::Error {
    match error {
        golem::ExecutorError::Closed => errors::Error::Cancelled,
        golem::ExecutorError::UnknownTask(_) => errors::Error::NotFound(error.to_string()),
        golem::ExecutorError::NotPending { .. } | golem::ExecutorError::AlreadyStarted => {
            errors::Error::Invalid(error.to_string())
        }
        golem::ExecutorError::Network(_) => errors::Error::Unavailable(error.to_string()),
    }
}

fn step_result(result: golem::StepResult) -> contract::StepResult {
    contract::StepResult {
        stdout: result.stdout,
        stderr: result.stderr,
        exit_code: result.exit_code,
        bytes: result.bytes,
    }
}

pub(crate) fn outcome(outcome: golem::Outcome) -> contract::Outcome {
    contract::Outcome {
        task: outcome.task,
        label: outcome.label,
        provider: outcome.provider.as_ref().map(provider),
        results: outcome
            .results
            .map(|results| results.into_iter().map(step_result).collect())
            .map_err(failure),
        running_time: nanoseconds(outcome.running_time),
        cost: outcome.cost.to_string(),
        attempts: outcome.attempts,
    }
}

/// An event of a batch; progress of transfers is for people and does not reach the script.
pub(crate) fn batch_event(event: golem::BatchEvent) -> Option<contract::Event> {
    let output = |step, text| contract::StepOutput { step, text };
    Some(match event {
        golem::BatchEvent::Started(step) => contract::Event::Started(step),
        golem::BatchEvent::Stdout(step, text) => contract::Event::Stdout(output(step, text)),
        golem::BatchEvent::Stderr(step, text) => contract::Event::Stderr(output(step, text)),
        golem::BatchEvent::Progress { .. } => return None,
        golem::BatchEvent::Finished(step, result) => {
            contract::Event::Finished(contract::StepFinished {
                step,
                result: step_result(result),
            })
        }
        golem::BatchEvent::Ended(end) => contract::Event::Ended(end.map_err(failure)),
    })
}
