//! How long programs have run, the one that runs now included.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A clock that ticks while a program runs.
#[derive(Default)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Default)]
struct State {
    before: Duration,
    since: Option<Instant>,
}

/// A program that runs; dropping it stops the clock.
pub(crate) struct Ticking<'a>(&'a Clock);

impl Clock {
    pub(crate) fn time(&self) -> Duration {
        let state = self.state();
        state.before + state.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn start(&self) -> Ticking<'_> {
        self.state().since = Some(Instant::now());
        Ticking(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(since) = state.since.take() {
            state.before += since.elapsed();
        }
    }
}
