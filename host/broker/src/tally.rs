//! The tasks of a run as rows, folded from the events of its jobs.
//!
//! Rows come from events and not from what the script pulls: a script that never asks for an outcome still shows what
//! its tasks cost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sovr_capability::Amount;
use sovr_golem::Event;

use crate::report::{TaskResult, TaskRow};

/// Rows of all jobs of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: BTreeMap<(u64, u64), Row>,
    decided: u64,
    providers: BTreeSet<String>,
}

#[derive(Debug)]
struct Row {
    row: TaskRow,
    /// When the task was decided, as a count; none while it is not.
    decided: Option<u64>,
}

impl Tally {
    /// Takes in one event of the job with this number.
    pub(crate) fn observe(&mut self, job: u64, event: &Event) {
        match event {
            Event::TaskQueued { task, label } => {
                let row = TaskRow {
                    job,
                    label: label.clone(),
                    provider: None,
                    time: Duration::ZERO,
                    cost: Amount::ZERO,
                    attempts: 0,
                    result: TaskResult::Failed,
                };
                self.rows.insert((job, *task), Row { row, decided: None });
            }
            Event::TaskStarted {
                task,
                provider,
                attempt,
                ..
            } => {
                self.providers.insert(provider.id.clone());
                self.change(job, *task, |row| {
                    row.provider = Some(provider.name.clone());
                    row.attempts = *attempt;
                });
            }
            Event::TaskFinished {
                task,
                time,
                cost,
                attempts,
                ..
            } => {
                self.change(job, *task, |row| {
                    row.time = *time;
                    row.cost = *cost;
                    row.attempts = *attempts;
                });
                self.decide(job, *task, TaskResult::Accepted);
            }
            Event::TaskFailed { task, .. } => self.decide(job, *task, TaskResult::Failed),
            Event::TaskRejected { task, retry, .. } => {
                let result = if *retry {
                    TaskResult::Failed
                } else {
                    TaskResult::Rejected
                };
                self.decide(job, *task, result);
            }
            _ => {}
        }
    }

    fn change(&mut self, job: u64, task: u64, change: impl FnOnce(&mut TaskRow)) {
        if let Some(row) = self.rows.get_mut(&(job, task)) {
            change(&mut row.row);
        }
    }

    fn decide(&mut self, job: u64, task: u64, result: TaskResult) {
        self.decided += 1;
        let when = self.decided;
        if let Some(row) = self.rows.get_mut(&(job, task)) {
            row.row.result = result;
            row.decided = Some(when);
        }
    }

    /// Different providers that began a task.
    pub(crate) fn providers(&self) -> u64 {
        self.providers.len() as u64
    }

    /// The rows in the order in which their tasks were decided; those that never were, last.
    pub(crate) fn rows(self) -> Vec<TaskRow> {
        let mut rows: Vec<Row> = self.rows.into_values().collect();
        rows.sort_by_key(|row| row.decided.unwrap_or(u64::MAX));
        rows.into_iter().map(|row| row.row).collect()
    }
}
