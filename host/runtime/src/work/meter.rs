//! How much processor time a work takes.
//!
//! The kernel is asked and not the child, which is not to be believed. It knows for as long as somebody has still to be
//! told of the process's end; after that the process's number may be another's, so what was read last stays.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Processor time of a process, also when it is gone.
#[derive(Debug)]
pub struct Meter {
    process: u32,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    time: Duration,
    is_last: bool,
}

impl Meter {
    pub(super) fn new(process: u32) -> Self {
        Self {
            process,
            seen: Mutex::default(),
        }
    }

    /// So far, in steps of the kernel's: hundredths of a second.
    #[must_use]
    pub fn time(&self) -> Duration {
        let mut seen = self.seen();
        self.read(&mut seen);
        seen.time
    }

    /// Reads it for the last time.
    pub(super) fn stop(&self) {
        let mut seen = self.seen();
        self.read(&mut seen);
        seen.is_last = true;
    }

    fn read(&self, seen: &mut Seen) {
        if !seen.is_last
            && let Some(time) = of(self.process)
        {
            seen.time = seen.time.max(time);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name may hold anything. After it come the state and, ten fields on, user and system time.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let ticks = ticks()?.checked_add(ticks()?)?;
    let a_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(
        ticks.saturating_mul(1000).checked_div(a_second)?,
    ))
}
