//! The tasks of a job and what became of them. Knows no time, no network and no money; every change is a method here.
//!
//! ```text
//!            take            done             next          accept
//! Waiting --------> Running ------> Done ------------> Asked ------> Accepted
//!    ^                 |              |                  |   reject
//!    |  another try    | failed       | next             +---------> Rejected
//!    +-----------------+              v                  |
//!    |                 `-----------> Failed              |
//!    `---------------------------------------------------' reject, retry
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sovr_capability::Amount;

use super::{ExecutorError, Task};
use crate::event::{Event, Observer};
use crate::failure::{Failure, FailureKind};
use crate::network::{NodeId, Provider};
use crate::outcome::Outcome;
use crate::step::StepResult;

/// Bytes of outcomes that wait for `next` beyond which no further task is begun. Who does not ask for results must not
/// fill the host's memory with them.
const MOST_WAITING: usize = 32 << 20;

pub(crate) struct Board {
    max_attempts: u32,
    entries: Vec<Entry>,
    /// Tasks that wait for a worker; those that failed before come first.
    waiting: VecDeque<u64>,
    outcomes: VecDeque<Outcome>,
    /// Bytes in `outcomes`.
    held: usize,
    /// Tasks that are neither waiting nor decided.
    running: usize,
    /// Why nothing is done any more.
    ended: Option<Failure>,
    observer: Arc<dyn Observer>,
}

struct Entry {
    task: Arc<Task>,
    state: State,
    /// Everybody who tried, with what went wrong there.
    tries: Vec<Try>,
    /// Tries so far, the one under way included.
    attempts: u32,
    /// Who tried last.
    provider: Option<Provider>,
    cost: Amount,
    running_time: Duration,
}

struct Try {
    provider: Provider,
    failure: Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    /// Decided, and not yet answered by `next`.
    Done {
        succeeded: bool,
    },
    /// Succeeded, answered, and neither accepted nor rejected.
    Asked,
    Accepted,
    Rejected,
    Failed,
}

/// A task that a worker has taken.
pub(crate) struct Assignment {
    pub(crate) id: u64,
    pub(crate) task: Arc<Task>,
}

/// A try that is over.
pub(crate) struct TryEnd<'a> {
    pub(crate) task: u64,
    pub(crate) worker: u64,
    pub(crate) provider: &'a Provider,
    pub(crate) time: Duration,
    pub(crate) cost: Amount,
}

/// Numbers of tasks by their fate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) tasks: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
}

/// Somebody to blame for a failed try, now that another provider has done the task.
pub(crate) struct Blame {
    pub(crate) provider: Provider,
    pub(crate) reason: String,
}

impl Board {
    pub(crate) fn new(max_attempts: u32, observer: Arc<dyn Observer>) -> Self {
        Self {
            max_attempts: max_attempts.max(1),
            entries: Vec::new(),
            waiting: VecDeque::new(),
            outcomes: VecDeque::new(),
            held: 0,
            running: 0,
            ended: None,
            observer,
        }
    }

    pub(crate) fn submit(&mut self, task: Task) -> u64 {
        let id = self.entries.len() as u64;
        self.observer.observe(&Event::TaskQueued {
            task: id,
            label: task.label.as_str().into(),
        });
        self.entries.push(Entry {
            task: Arc::new(task),
            state: State::Waiting,
            tries: Vec::new(),
            attempts: 0,
            provider: None,
            cost: Amount::ZERO,
            running_time: Duration::ZERO,
        });
        match self.ended.clone() {
            Some(failure) => self.fail(id, failure),
            None => self.waiting.push_back(id),
        }
        id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tasks that wait, in the order in which they are to be done.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().copied()
    }

    /// Whether this provider may try this task.
    pub(crate) fn may_try(&self, task: u64, provider: &NodeId) -> bool {
        self.entry(task).is_some_and(|entry| {
            entry
                .tries
                .iter()
                .all(|attempt| attempt.provider.id != *provider)
        })
    }

    /// Whether so many results wait for `next` that no task is begun before some are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.held >= MOST_WAITING
    }

    /// The next task for this provider.
    pub(crate) fn take(&mut self, worker: u64, provider: &Provider) -> Option<Assignment> {
        if self.is_full() {
            return None;
        }
        let position = self
            .waiting
            .iter()
            .position(|task| self.may_try(*task, &provider.id))?;
        let id = self.waiting.remove(position)?;
        let entry = self.entry_mut(id)?;
        entry.state = State::Running;
        entry.attempts += 1;
        let attempt = entry.attempts;
        let task = Arc::clone(&entry.task);
        self.running += 1;
        self.observer.observe(&Event::TaskStarted {
            task: id,
            label: task.label.as_str().into(),
            worker,
            provider: provider.into(),
            attempt,
        });
        Some(Assignment { id, task })
    }

    /// A try succeeded. Answers who failed at the same task.
    pub(crate) fn done(&mut self, end: &TryEnd<'_>, results: Vec<StepResult>) -> Vec<Blame> {
        let Some(entry) = self.end_try(end) else {
            return Vec::new();
        };
        let blames = entry
            .tries
            .iter()
            .filter(|attempt| may_be_the_tasks(attempt.failure.kind))
            .map(|attempt| Blame {
                provider: attempt.provider.clone(),
                reason: attempt.failure.reason.clone(),
            })
            .collect();
        entry.state = State::Done { succeeded: true };
        let (cost, attempts) = (entry.cost, entry.attempts);
        let outcome = entry.outcome(end.task, Ok(results));
        self.keep(outcome);
        self.observer.observe(&Event::TaskFinished {
            task: end.task,
            worker: end.worker,
            time: end.time,
            cost,
            attempts,
        });
        blames
    }

    /// A try failed. Another follows if one is left.
    pub(crate) fn failed(&mut self, end: &TryEnd<'_>, failure: Failure) {
        let ended = self.ended.clone();
        let Some(entry) = self.end_try(end) else {
            return;
        };
        entry.tried(end.provider.clone(), failure.clone());
        match ended {
            Some(reason) => self.fail(end.task, reason),
            None => self.try_again(end.task, failure),
        }
    }

    /// Decides a waiting task for which nothing more can be done. What went wrong in its last try is kept.
    pub(crate) fn give_up(&mut self, task: u64, kind: FailureKind, reason: String) {
        self.waiting.retain(|waiting| *waiting != task);
        let Some(entry) = self.entry(task) else {
            return;
        };
        let failure = match entry.tries.last() {
            None => Failure::new(kind, reason),
            Some(last) => Failure {
                kind,
                reason: format!(
                    "{reason}; the last try, on {}: {}",
                    last.provider.name, last.failure.reason
                ),
                ..last.failure.clone()
            },
        };
        self.fail(task, failure);
    }

    /// Nothing is done any more: what waits, and what is submitted from now on, fails with `failure`.
    pub(crate) fn end(&mut self, failure: Failure) {
        if self.ended.is_none() {
            self.ended = Some(failure.clone());
        }
        for task in std::mem::take(&mut self.waiting) {
            self.fail(task, failure.clone());
        }
    }

    /// The next decided task.
    pub(crate) fn next(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.pop_front()?;
        self.held = self.held.saturating_sub(outcome.size());
        if let Some(entry) = self.entry_mut(outcome.task) {
            entry.state = match &outcome.results {
                Ok(_) => State::Asked,
                Err(failure) if failure.kind == FailureKind::Rejected => State::Rejected,
                Err(_) => State::Failed,
            };
        }
        Some(outcome)
    }

    /// Whether nothing waits, runs, or was not yet answered by `next`.
    pub(crate) fn is_decided(&self) -> bool {
        self.waiting.is_empty() && self.running == 0 && self.outcomes.is_empty()
    }

    pub(crate) fn accept(&mut self, task: u64) -> Result<(), ExecutorError> {
        let entry = self.judged(task, "accepted")?;
        entry.state = State::Accepted;
        entry.forget();
        self.observer.observe(&Event::TaskAccepted { task });
        Ok(())
    }

    /// Refuses a result. With `retry`, the refusal counts as a failed try.
    pub(crate) fn reject(
        &mut self,
        task: u64,
        reason: &str,
        retry: bool,
    ) -> Result<(), ExecutorError> {
        let ended = self.ended.clone();
        let entry = self.judged(task, "rejected")?;
        entry.state = State::Rejected;
        let provider = entry.provider.clone();
        self.observer.observe(&Event::TaskRejected {
            task,
            reason: reason.into(),
            retry,
        });
        if !retry {
            if let Some(entry) = self.entry_mut(task) {
                entry.forget();
            }
            return Ok(());
        }
        let failure = Failure::new(
            FailureKind::Rejected,
            format!("its result was rejected: {reason}"),
        );
        if let (Some(provider), Some(entry)) = (provider, self.entry_mut(task)) {
            entry.tried(provider, failure.clone());
        }
        match ended {
            Some(reason) => self.fail(task, reason),
            None => self.try_again(task, failure),
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            tasks: self.entries.len() as u64,
            ..Counts::default()
        };
        for entry in &self.entries {
            match entry.state {
                State::Done { succeeded: true } | State::Asked | State::Accepted => {
                    counts.accepted += 1
                }
                State::Rejected => counts.rejected += 1,
                State::Done { succeeded: false }
                | State::Failed
                | State::Waiting
                | State::Running => {
                    counts.failed += 1;
                }
            }
        }
        counts
    }

    /// A task whose result may be judged now.
    fn judged(&mut self, task: u64, asked: &'static str) -> Result<&mut Entry, ExecutorError> {
        let entry = self
            .entry_mut(task)
            .ok_or(ExecutorError::UnknownTask(task))?;
        let why = match entry.state {
            State::Asked => return Ok(entry),
            State::Waiting | State::Running => "it is not done yet",
            State::Done { .. } => "its result was not yet answered by `next`",
            State::Accepted => "its result was accepted before",
            State::Rejected => "its result was rejected before",
            State::Failed => "it failed",
        };
        Err(ExecutorError::NotPending {
            task,
            asked,
            why: why.to_owned(),
        })
    }

    /// Books what a try used; none if there is no such try, which no worker can bring about.
    fn end_try(&mut self, end: &TryEnd<'_>) -> Option<&mut Entry> {
        let entry = self
            .entries
            .get_mut(usize::try_from(end.task).ok()?)
            .filter(|entry| entry.state == State::Running)?;
        self.running -= 1;
        entry.provider = Some(end.provider.clone());
        entry.running_time = end.time;
        entry.cost = entry.cost.checked_add(end.cost).unwrap_or(Amount::MAX);
        Some(entry)
    }

    fn try_again(&mut self, task: u64, failure: Failure) {
        let most = self.max_attempts;
        let Some(entry) = self.entry_mut(task) else {
            return;
        };
        if entry.attempts < most {
            entry.state = State::Waiting;
            self.waiting.push_front(task);
            self.observer.observe(&Event::TaskRetried {
                task,
                failure: failure.kind,
                reason: failure.reason.into(),
            });
            return;
        }
        let failure = match (entry.attempts, &entry.provider) {
            (2.., Some(last)) => Failure {
                reason: format!(
                    "{} providers tried; the last, {}: {}",
                    entry.attempts, last.name, failure.reason
                ),
                ..failure
            },
            _ => failure,
        };
        self.fail(task, failure);
    }

    /// Decides a task that gets no result.
    fn fail(&mut self, task: u64, failure: Failure) {
        let Some(entry) = self.entry_mut(task) else {
            return;
        };
        entry.state = State::Done { succeeded: false };
        let event = Event::TaskFailed {
            task,
            failure: failure.kind,
            reason: failure.reason.as_str().into(),
        };
        let outcome = entry.outcome(task, Err(failure));
        entry.forget();
        self.keep(outcome);
        self.observer.observe(&event);
    }

    /// Keeps an outcome until `next` asks for it.
    fn keep(&mut self, outcome: Outcome) {
        self.held = self.held.saturating_add(outcome.size());
        self.outcomes.push_back(outcome);
    }

    fn entry(&self, task: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(task).ok()?)
    }

    fn entry_mut(&mut self, task: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(task).ok()?)
    }
}

impl Entry {
    /// Remembers a failed try. What programs printed is of use only for the last one.
    fn tried(&mut self, provider: Provider, failure: Failure) {
        self.forget_prints();
        self.tries.push(Try { provider, failure });
    }

    /// Lets go of what only another try would need: a job may have many tasks, and files given as bytes lie in memory.
    fn forget(&mut self) {
        self.forget_prints();
        self.task = Arc::new(Task {
            label: self.task.label.clone(),
            steps: Vec::new(),
            timeout: None,
        });
    }

    fn forget_prints(&mut self) {
        for attempt in &mut self.tries {
            attempt.failure.stdout = String::new();
            attempt.failure.stderr = String::new();
        }
    }

    fn outcome(&self, task: u64, results: Result<Vec<StepResult>, Failure>) -> Outcome {
        Outcome {
            task,
            label: self.task.label.clone(),
            provider: self.provider.clone(),
            results,
            running_time: self.running_time,
            cost: self.cost,
            attempts: self.attempts,
        }
    }
}

/// Whether a failure of this kind is the provider's own doing, whatever the task.
pub(crate) fn is_providers_own(kind: FailureKind) -> bool {
    kind == FailureKind::ProviderLost
}

/// Whether a failure of this kind may be the task's own fault.
fn may_be_the_tasks(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::CommandFailed | FailureKind::TransferFailed | FailureKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Step;

    fn provider(number: u8) -> Provider {
        Provider {
            id: NodeId::from_bytes([number; 20]),
            name: format!("provider {number}"),
        }
    }

    fn board(max_attempts: u32) -> Board {
        Board::new(max_attempts, Arc::new(|_: &Event| {}))
    }

    fn task(label: &str) -> Task {
        Task {
            label: label.to_owned(),
            steps: Vec::new(),
            timeout: None,
        }
    }

    fn end(task: u64, provider: &Provider) -> TryEnd<'_> {
        TryEnd {
            task,
            worker: 0,
            provider,
            time: Duration::from_secs(1),
            cost: Amount::glm(1),
        }
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "it broke")
    }

    #[test]
    fn outcomes_come_in_order_of_completion() {
        let mut board = board(3);
        let (a, b) = (provider(1), provider(2));
        board.submit(task("first"));
        board.submit(task("second"));
        assert_eq!(board.take(0, &a).unwrap().id, 0);
        assert_eq!(board.take(1, &b).unwrap().id, 1);
        board.done(&end(1, &b), Vec::new());
        board.done(&end(0, &a), Vec::new());
        assert!(!board.is_decided());
        assert_eq!(board.next().unwrap().label, "second");
        assert_eq!(board.next().unwrap().label, "first");
        assert!(board.next().is_none() && board.is_decided());
    }

    #[test]
    fn a_failed_task_goes_first_and_never_to_the_same_provider() {
        let mut board = board(3);
        let (a, b) = (provider(1), provider(2));
        board.submit(task("first"));
        board.submit(task("second"));
        board.take(0, &a).unwrap();
        board.failed(&end(0, &a), failure(FailureKind::CommandFailed));
        assert!(!board.may_try(0, &a.id));
        assert_eq!(board.take(0, &a).unwrap().id, 1);
        assert_eq!(board.take(1, &b).unwrap().id, 0);
    }

    #[test]
    fn tries_are_bounded_and_all_are_paid_for() {
        let mut board = board(2);
        board.submit(task("hopeless"));
        for number in [1, 2] {
            let provider = provider(number);
            board.take(0, &provider).unwrap();
            board.failed(&end(0, &provider), failure(FailureKind::TimedOut));
        }
        let outcome = board.next().unwrap();
        let failure = outcome.results.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert_eq!(
            failure.reason,
            "2 providers tried; the last, provider 2: it broke"
        );
        assert_eq!((outcome.attempts, outcome.cost), (2, Amount::glm(2)));
        assert_eq!(outcome.provider, Some(provider(2)));
        assert!(board.take(0, &provider(3)).is_none());
    }

    #[test]
    fn who_failed_is_blamed_once_another_has_done_it() {
        let mut board = board(4);
        let providers = [provider(1), provider(2), provider(3)];
        board.submit(task("task"));
        for (provider, kind) in providers
            .iter()
            .zip([FailureKind::CommandFailed, FailureKind::ProviderLost])
        {
            board.take(0, provider).unwrap();
            board.failed(&end(0, provider), failure(kind));
        }
        board.take(0, &providers[2]).unwrap();
        let blames = board.done(&end(0, &providers[2]), Vec::new());
        let blamed: Vec<_> = blames.iter().map(|blame| &blame.provider).collect();
        assert_eq!(blamed, [&providers[0]]);
    }

    #[test]
    fn a_rejected_result_is_tried_elsewhere_and_answered_again() {
        let mut board = board(2);
        let (a, b) = (provider(1), provider(2));
        board.submit(task("task"));
        board.take(0, &a).unwrap();
        board.done(&end(0, &a), Vec::new());
        board.next().unwrap();
        board.reject(0, "blurred", true).unwrap();
        assert!(!board.is_decided());
        assert!(board.take(0, &a).is_none());
        board.take(1, &b).unwrap();
        board.done(&end(0, &b), Vec::new());
        assert_eq!(board.next().unwrap().attempts, 2);

        board.reject(0, "blurred again", true).unwrap();
        let failure = board.next().unwrap().results.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Rejected);
        assert!(
            failure.reason.contains("blurred again"),
            "{}",
            failure.reason
        );
        assert_eq!(board.counts().rejected, 1);
    }

    #[test]
    fn only_an_answered_result_can_be_judged_and_only_once() {
        let mut board = board(1);
        let provider = provider(1);
        assert_eq!(board.accept(0), Err(ExecutorError::UnknownTask(0)));
        board.submit(task("task"));
        let refused = |result: Result<(), ExecutorError>, why: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
        };
        refused(board.accept(0), "it is not done yet");
        board.take(0, &provider).unwrap();
        refused(board.reject(0, "", true), "it is not done yet");
        board.done(&end(0, &provider), Vec::new());
        refused(board.accept(0), "not yet answered by `next`");
        board.next().unwrap();
        board.accept(0).unwrap();
        refused(
            board.reject(0, "", false),
            "it was accepted before".trim_start_matches("it "),
        );
        board.submit(task("failing"));
        board.take(0, &provider).unwrap();
        board.failed(&end(1, &provider), failure(FailureKind::CommandFailed));
        board.next().unwrap();
        refused(board.accept(1), "it failed");
        assert_eq!(
            board.counts(),
            Counts {
                tasks: 2,
                accepted: 1,
                rejected: 0,
                failed: 1
            }
        );
    }

    #[test]
    fn after_the_end_everything_fails_with_its_reason() {
        let mut board = board(3);
        let provider = provider(1);
        for label in ["running", "waiting", "rejected"] {
            board.submit(task(label));
        }
        board.take(0, &provider).unwrap();
        board.end(failure(FailureKind::Cancelled));
        board.submit(task("late"));
        board.failed(&end(0, &provider), failure(FailureKind::ProviderLost));
        let mut labels = Vec::new();
        while let Some(outcome) = board.next() {
            assert_eq!(outcome.results.unwrap_err().kind, FailureKind::Cancelled);
            labels.push(outcome.label);
        }
        assert_eq!(labels, ["waiting", "rejected", "late", "running"]);
        assert!(board.is_decided());
    }

    #[test]
    fn results_that_nobody_takes_do_not_pile_up() {
        let mut board = board(1);
        let provider = provider(1);
        let result = || StepResult {
            bytes: Some(vec![0; 1 << 20]),
            ..StepResult::default()
        };
        let mut done = 0;
        loop {
            board.submit(task("greedy"));
            let Some(Assignment { id, .. }) = board.take(0, &provider) else {
                break;
            };
            board.done(&end(id, &provider), vec![result(), result()]);
            done += 1;
        }
        assert_eq!(done, MOST_WAITING / (2 << 20));
        assert!(board.is_full() && board.waiting().next().is_some());

        board.next().unwrap();
        assert!(!board.is_full() && board.take(0, &provider).is_some());
        while board.next().is_some() {}
        assert_eq!(board.held, 0);
    }

    #[test]
    fn a_decided_task_holds_neither_its_files_nor_what_was_printed() {
        let steps = || {
            vec![Step::Send {
                source: Arc::new(crate::transfer::Bytes::new(vec![0; 10])),
                destination: "/golem/work/x".to_owned(),
            }]
        };
        let mut board = board(2);
        let (a, b) = (provider(1), provider(2));
        for label in ["accepted", "rejected", "failed"] {
            board.submit(Task {
                steps: steps(),
                ..task(label)
            });
        }
        for id in 0..2 {
            board.take(0, &a).unwrap();
            board.done(&end(id, &a), Vec::new());
            board.next().unwrap();
        }
        board.accept(0).unwrap();
        board.reject(1, "blurred", false).unwrap();
        for provider in [&a, &b] {
            board.take(0, provider).unwrap();
            let printed = Failure {
                stdout: "talk".to_owned(),
                ..failure(FailureKind::CommandFailed)
            };
            board.failed(&end(2, provider), printed);
        }
        assert_eq!(board.next().unwrap().results.unwrap_err().stdout, "talk");
        for entry in &board.entries {
            assert!(entry.task.steps.is_empty(), "{}", entry.task.label);
            assert!(
                entry
                    .tries
                    .iter()
                    .all(|attempt| attempt.failure.stdout.is_empty())
            );
        }
    }

    #[test]
    fn giving_up_keeps_what_the_last_try_printed() {
        let mut board = board(3);
        let provider = provider(1);
        board.submit(task("task"));
        board.take(0, &provider).unwrap();
        let broken = Failure {
            stderr: "no scene".to_owned(),
            ..Failure::at(2, FailureKind::CommandFailed, "exited with code 4")
        };
        board.failed(&end(0, &provider), broken);
        board.give_up(0, FailureKind::NoProvider, "nobody is left".to_owned());
        let failure = board.next().unwrap().results.unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoProvider);
        assert_eq!(
            failure.reason,
            "nobody is left; the last try, on provider 1: exited with code 4"
        );
        assert_eq!(
            (failure.step, failure.stderr.as_str()),
            (Some(2), "no scene")
        );
    }
}
