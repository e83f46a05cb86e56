//! What the caller, the driver and the workers of one job have in common.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::board::{Assignment, Board};
use super::memory::Memory;
use crate::event::Observer;
use crate::failure::{Failure, FailureKind};
use crate::lease::Stop;
use crate::network::Provider;
use crate::outcome::Summary;
use crate::purse::Purse;
use crate::step::Step;

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Sent to after each change of the state; whoever waits for something looks again.
    changes: watch::Sender<()>,
    stop: watch::Sender<Option<Failure>>,
    pub(crate) purse: Arc<Purse>,
    pub(crate) observer: Arc<dyn Observer>,
}

pub(crate) struct State {
    pub(crate) board: Board,
    pub(crate) memory: Memory,
    pub(crate) workers: BTreeMap<u64, Live>,
    pub(crate) preparation: Preparation,
    pub(crate) setup: Vec<Step>,
    pub(crate) closing: bool,
}

/// A worker that was begun and whose agreement is not ended.
pub(crate) struct Live {
    pub(crate) provider: Provider,
    pub(crate) busy: bool,
}

/// How getting workers ready has gone so far.
#[derive(Default)]
pub(crate) struct Preparation {
    ever_succeeded: bool,
    failed: u32,
    last: Option<Failure>,
}

impl Preparation {
    pub(crate) fn succeeded(&mut self) {
        self.ever_succeeded = true;
    }

    /// A failure that may be the package's or the set-up's own fault.
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.failed += 1;
        self.last = Some(failure);
    }

    /// The failure to report when this has gone wrong on `most` providers and well on none.
    pub(crate) fn hopeless(&self, most: u32) -> Option<&Failure> {
        self.last
            .as_ref()
            .filter(|_| !self.ever_succeeded && self.failed >= most)
    }
}

/// What a worker gets when it asks for a task.
pub(crate) enum Next {
    Task(Assignment),
    /// There are only tasks that others must do.
    NotForYou,
    /// There is nothing to do at the moment.
    Nothing,
}

impl Shared {
    pub(crate) fn new(board: Board, purse: Arc<Purse>, observer: Arc<dyn Observer>) -> Self {
        Self {
            state: Mutex::new(State {
                board,
                memory: Memory::default(),
                workers: BTreeMap::new(),
                preparation: Preparation::default(),
                setup: Vec::new(),
                closing: false,
            }),
            changes: watch::Sender::new(()),
            stop: watch::Sender::new(None),
            purse,
            observer,
        }
    }

    /// Looks at the state.
    pub(crate) fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells everybody who waits.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.look());
        self.tell();
        result
    }

    /// Makes everybody who waits look again.
    pub(crate) fn tell(&self) {
        self.changes.send_replace(());
    }

    /// To be asked for before the look at the state that decides whether to wait.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.subscribe()
    }

    /// Ends all work, with this failure for what is not done. The first reason stands.
    pub(crate) fn end(&self, failure: Failure) {
        self.change(|state| state.board.end(failure.clone()));
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(failure);
            first
        });
    }

    pub(crate) fn close(&self) {
        self.change(|state| state.closing = true);
        self.end(Failure::new(
            FailureKind::Cancelled,
            "the job was closed before this was done",
        ));
    }

    pub(crate) fn take(&self, worker: u64, provider: &Provider) -> Next {
        let mut state = self.look();
        let assignment = state.board.take(worker, provider);
        let busy = assignment.is_some();
        let was_busy = state
            .workers
            .get_mut(&worker)
            .map(|live| std::mem::replace(&mut live.busy, busy));
        // Asking in vain is no news: workers that wait would wake each other for ever.
        if busy || was_busy == Some(true) {
            self.tell();
        }
        match assignment {
            Some(assignment) => {
                state.memory.worked(provider);
                Next::Task(assignment)
            }
            None if !state.board.is_full() && state.board.waiting().next().is_some() => {
                Next::NotForYou
            }
            None => Next::Nothing,
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let state = self.look();
        let counts = state.board.counts();
        Summary {
            tasks: counts.tasks,
            accepted: counts.accepted,
            rejected: counts.rejected,
            failed: counts.failed,
            providers: state.memory.workers(),
            cost: self.purse.spent(),
        }
    }
}
