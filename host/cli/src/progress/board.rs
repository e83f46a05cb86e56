//! What is known about the jobs of a run while it goes on: how many tasks, who works on what.
//!
//! Fed with the events of the run, read by both displays. It draws nothing.

use std::collections::BTreeMap;

use sovr_capability::{Amount, Size, Untrusted};
use sovr_golem::event::{Doing, Event, Who};

/// Names are chosen by pods and providers; in a line with other things they get this many characters.
const NAME: usize = 32;

/// All jobs of a run.
#[derive(Debug, Default)]
pub(crate) struct Board {
    jobs: BTreeMap<u64, Job>,
    stopping: bool,
}

/// One job.
#[derive(Debug, Default)]
struct Job {
    /// As many as the pod was granted, at most.
    tasks: BTreeMap<u64, Task>,
    workers: BTreeMap<u64, Worker>,
}

#[derive(Debug)]
struct Task {
    label: Untrusted,
    state: State,
    /// All tries.
    cost: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Failed,
}

/// A worker and what it does.
#[derive(Debug)]
pub(crate) struct Worker {
    provider: Untrusted,
    task: Option<(u64, u32)>,
    doing: String,
    transferred: Option<(u64, Option<u64>)>,
}

/// The whole run in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Tasks submitted.
    pub total: u64,
    /// Tasks that have a result, or will not get one.
    pub done: u64,
    /// Those of them that will not.
    pub failed: u64,
    /// What their results cost.
    pub cost: Amount,
}

impl Board {
    /// Takes one event of a job into account.
    pub(crate) fn take(&mut self, job: u64, event: &Event) {
        self.jobs.entry(job).or_default().take(event);
    }

    /// The user stops the run: what is lost from now on is lost because of that.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether the user stops the run.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The run in numbers.
    pub(crate) fn whole(&self) -> Whole {
        let mut whole = Whole::default();
        for task in self.jobs.values().flat_map(|job| job.tasks.values()) {
            whole.total += 1;
            whole.done += u64::from(task.state != State::Open);
            whole.failed += u64::from(task.state == State::Failed);
            whole.cost = whole.cost.checked_add(task.cost).unwrap_or(Amount::MAX);
        }
        whole
    }

    /// A task's label, safe to show.
    pub(crate) fn label(&self, job: u64, task: u64) -> String {
        match self.jobs.get(&job).and_then(|job| job.tasks.get(&task)) {
            Some(task) if !task.label.is_empty() => task.label.escaped_within(NAME),
            _ => format!("task {task}"),
        }
    }

    /// A worker's provider, safe to show.
    pub(crate) fn provider(&self, job: u64, worker: u64) -> String {
        match self.jobs.get(&job).and_then(|job| job.workers.get(&worker)) {
            Some(worker) => worker.provider.escaped_within(NAME),
            None => format!("worker {worker}"),
        }
    }

    /// What a worker does, as one line: provider, task, step. Nothing for one that is gone.
    pub(crate) fn worker(&self, job: u64, worker: u64) -> Option<[String; 3]> {
        let state = self.jobs.get(&job)?.workers.get(&worker)?;
        let task = match state.task {
            Some((task, 1)) => self.label(job, task),
            Some((task, attempt)) => format!("{} (attempt {attempt})", self.label(job, task)),
            None => String::new(),
        };
        Some([state.provider.escaped_within(NAME), task, state.step()])
    }
}

impl Job {
    fn take(&mut self, event: &Event) {
        match event {
            Event::TaskQueued { task, label } => {
                let new = Task {
                    label: label.clone(),
                    state: State::Open,
                    cost: Amount::ZERO,
                };
                self.tasks.entry(*task).or_insert(new);
            }
            Event::AgreementCreated { worker, provider }
            | Event::WorkerStarted { worker, provider } => {
                self.worker(*worker, provider).rest("waiting for a task");
            }
            Event::AgreementConfirmed {
                worker, provider, ..
            } => self.worker(*worker, provider).rest("agreed"),
            Event::AgreementRejected { worker, .. }
            | Event::ActivityCreateFailed { worker, .. }
            | Event::WorkerFinished { worker, .. }
            | Event::AgreementTerminated { worker, .. } => {
                self.workers.remove(worker);
            }
            Event::TaskStarted {
                task,
                worker,
                provider,
                attempt,
                ..
            } => {
                let worker = self.worker(*worker, provider);
                worker.rest("");
                worker.task = Some((*task, *attempt));
            }
            Event::TaskFinished {
                task, worker, cost, ..
            } => {
                if let Some(task) = self.tasks.get_mut(task) {
                    task.state = State::Done;
                    task.cost = *cost;
                }
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.rest("done");
                }
            }
            Event::TaskRejected {
                task, retry: true, ..
            } => self.set(*task, State::Open),
            Event::TaskRejected {
                task, retry: false, ..
            }
            | Event::TaskFailed { task, .. } => {
                self.set(*task, State::Failed);
            }
            Event::CommandStarted { worker, doing, .. } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.doing = words(doing);
                    worker.transferred = None;
                }
            }
            Event::CommandProgress {
                worker,
                done,
                total,
            } => {
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.transferred = Some((*done, *total));
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, task: u64, state: State) {
        if let Some(task) = self.tasks.get_mut(&task) {
            task.state = state;
        }
    }

    fn worker(&mut self, worker: u64, provider: &Who) -> &mut Worker {
        self.workers.entry(worker).or_insert_with(|| Worker {
            provider: name(provider),
            task: None,
            doing: String::new(),
            transferred: None,
        })
    }
}

impl Worker {
    fn rest(&mut self, doing: &str) {
        self.task = None;
        doing.clone_into(&mut self.doing);
        self.transferred = None;
    }

    fn step(&self) -> String {
        match self.transferred {
            Some((done, Some(total))) => {
                format!(
                    "{} {} of {}",
                    self.doing,
                    Size::bytes(done).rounded(),
                    Size::bytes(total).rounded()
                )
            }
            Some((done, None)) => format!("{} {}", self.doing, Size::bytes(done).rounded()),
            None => self.doing.clone(),
        }
    }
}

/// A provider's name; its id, if it gave itself none.
pub(crate) fn name(provider: &Who) -> Untrusted {
    if provider.name.is_empty() {
        Untrusted::from(provider.id.as_str())
    } else {
        provider.name.clone()
    }
}

fn words(doing: &Doing) -> String {
    match doing {
        Doing::Deploy => "deploying".to_owned(),
        Doing::Start => "starting".to_owned(),
        Doing::Terminate => "ending".to_owned(),
        Doing::Send { path } => format!("sending {}", path.escaped_within(NAME)),
        Doing::Run { program } => format!("running {}", program.escaped_within(NAME)),
        Doing::Download { path } => format!("fetching {}", path.escaped_within(NAME)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sovr_golem::FailureKind;

    use super::*;

    fn who(name: &str) -> Who {
        Who {
            id: "0x1".to_owned(),
            name: name.into(),
        }
    }

    fn queued(task: u64) -> Event {
        Event::TaskQueued {
            task,
            label: format!("frame {task}").into(),
        }
    }

    fn finished(task: u64) -> Event {
        let time = Duration::from_secs(1);
        Event::TaskFinished {
            task,
            worker: 0,
            time,
            cost: "0.1".parse().unwrap(),
            attempts: 1,
        }
    }

    fn board(events: &[Event]) -> Board {
        let mut board = Board::default();
        for event in events {
            board.take(0, event);
        }
        board
    }

    #[test]
    fn a_rejected_result_is_no_result() {
        let mut board = board(&[queued(0), queued(1), queued(2), queued(0), finished(0)]);
        let cost = "0.1".parse().unwrap();
        assert_eq!(
            board.whole(),
            Whole {
                total: 3,
                done: 1,
                failed: 0,
                cost
            }
        );

        board.take(
            0,
            &Event::TaskRejected {
                task: 0,
                reason: "dark".into(),
                retry: true,
            },
        );
        assert_eq!(
            board.whole(),
            Whole {
                total: 3,
                done: 0,
                failed: 0,
                cost
            }
        );

        board.take(
            0,
            &Event::TaskRejected {
                task: 0,
                reason: "dark".into(),
                retry: false,
            },
        );
        board.take(
            0,
            &Event::TaskFailed {
                task: 1,
                failure: FailureKind::TimedOut,
                reason: "late".into(),
            },
        );
        assert_eq!(
            board.whole(),
            Whole {
                total: 3,
                done: 2,
                failed: 2,
                cost
            }
        );
    }

    #[test]
    fn a_retried_task_costs_what_its_last_word_says() {
        // The cost of an event covers all tries of its task, so two words about one task must not add up.
        let board = board(&[queued(0), finished(0), finished(0)]);
        assert_eq!(board.whole().cost, "0.1".parse().unwrap());
    }

    #[test]
    fn a_worker_shows_provider_task_and_step() {
        let mut board = board(&[
            queued(4),
            Event::AgreementCreated {
                worker: 0,
                provider: who("sun"),
            },
            Event::TaskStarted {
                task: 4,
                label: "frame 4".into(),
                worker: 0,
                provider: who("sun"),
                attempt: 2,
            },
            Event::CommandStarted {
                worker: 0,
                task: Some(4),
                doing: Doing::Download {
                    path: "/out.png".into(),
                },
            },
            Event::CommandProgress {
                worker: 0,
                done: 1 << 20,
                total: Some(3 << 20),
            },
        ]);
        assert_eq!(
            board.worker(0, 0).unwrap(),
            [
                "sun",
                "frame 4 (attempt 2)",
                "fetching /out.png 1.0 MiB of 3.0 MiB"
            ]
        );

        board.take(
            0,
            &Event::WorkerFinished {
                worker: 0,
                provider: who("sun"),
                failure: None,
            },
        );
        assert!(board.worker(0, 0).is_none());
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let board = board(&[
            Event::TaskQueued {
                task: 0,
                label: "\u{1b}[2J".into(),
            },
            Event::AgreementCreated {
                worker: 0,
                provider: who("\u{202e}nus"),
            },
        ]);
        assert_eq!(board.label(0, 0), "\\u{1b}[2J");
        assert_eq!(board.provider(0, 0), "\\u{202e}nus");
    }
}
