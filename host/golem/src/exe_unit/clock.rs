//! How much processor time programs have taken, the one that runs now included.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Answers the processor time that a program has taken so far, also when it is over.
pub type Meter = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A clock that ticks while a program computes.
#[derive(Default)]
pub(crate) struct Clock(Mutex<State>);

#[derive(Default)]
struct State {
    before: Duration,
    running: Option<Meter>,
}

/// A program that runs; dropping it stops the clock.
pub(crate) struct Ticking<'a>(&'a Clock);

impl Clock {
    pub(crate) fn time(&self) -> Duration {
        self.state().time()
    }

    /// Goes with the meter; without one, with the time that goes by.
    pub(crate) fn start(&self, meter: Option<Meter>) -> Ticking<'_> {
        let begun = Instant::now();
        let meter = meter.unwrap_or_else(|| Arc::new(move || begun.elapsed()));
        self.state().running = Some(meter);
        Ticking(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn time(&self) -> Duration {
        let running = self.running.as_ref().map(|meter| meter());
        self.before + running.unwrap_or_default()
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.before = state.time();
        state.running = None;
    }
}
