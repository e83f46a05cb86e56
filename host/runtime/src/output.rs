//! What a guest says, on its way out: counted, and no faster than somebody could want to read it.
//!
//! Standard output, standard error and the log share one [`Allowance`] of bytes. A print that no longer fits ends the
//! run, because a program cannot know that its output was thrown away; a log line that no longer fits is dropped and
//! counted, as the contract says. Before that, [`Pace`] slows a flood down: a guest that prints too fast waits.
//!
//! Bytes leave the runner as the guest wrote them. They are made harmless on the broker's side, because the runner's
//! word that it did so would be worth nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::limits::Limit;
use crate::runner::broker::Broker;
use crate::wire::{Note, OUTPUT_CHUNK};

/// Bytes that may be printed at once, and in each second after that.
pub(crate) const PRINT_BURST: u32 = 256 << 10;
/// See [`PRINT_BURST`].
pub(crate) const PRINT_RATE: u32 = 4 << 20;

/// Log lines that may be written at once, and in each second after that; more are dropped.
pub(crate) const LOG_BURST: u32 = 1000;
/// See [`LOG_BURST`].
pub(crate) const LOG_RATE: u32 = 200;

/// Changes of progress bars (except of their positions) at once, and in each second after that.
pub(crate) const BAR_BURST: u32 = 200;
/// See [`BAR_BURST`].
pub(crate) const BAR_RATE: u32 = 50;

/// Messages that the broker takes from a runner at once, and in each second after that. An honest runner stays below,
/// because it puts output together while the socket is busy; another one is read slowly.
pub(crate) const MESSAGE_BURST: u32 = 5000;
/// See [`MESSAGE_BURST`].
pub(crate) const MESSAGE_RATE: u32 = 2000;

/// A number of bytes that can be used up. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<Mutex<u64>>);

impl Allowance {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(bytes)))
    }

    /// Takes as much of `bytes` as is left, and answers how much that was.
    pub(crate) fn take_up_to(&self, bytes: usize) -> usize {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = bytes.min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= taken as u64;
        taken
    }

    /// Takes all of `bytes`, or nothing.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match left.checked_sub(bytes as u64) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}

/// Keeps something at so many units in a second, after a burst.
///
/// The bucket may be overdrawn by one piece, however large: a piece need not be cut to the bucket's size, and the next
/// waits the longer.
#[derive(Debug)]
pub(crate) struct Pace {
    burst: f64,
    rate: f64,
    /// Units to spend; below zero when overdrawn.
    left: f64,
    since: Instant,
}

impl Pace {
    pub(crate) fn new(burst: u32, rate: u32) -> Self {
        let burst = f64::from(burst);
        Self {
            burst,
            rate: f64::from(rate),
            left: burst,
            since: Instant::now(),
        }
    }

    fn refill(&mut self) {
        let now = Instant::now();
        let earned = now.duration_since(self.since).as_secs_f64() * self.rate;
        self.left = (self.left + earned).min(self.burst);
        self.since = now;
    }

    /// Whether something may pass now.
    pub(crate) fn open(&mut self) -> bool {
        self.refill();
        self.left >= 1.0
    }

    /// Counts what passed.
    pub(crate) fn spend(&mut self, units: usize) {
        self.left -= units as f64;
    }

    /// Waits until something may pass.
    pub(crate) async fn wait(&mut self) {
        while !self.open() {
            let missing = (1.0 - self.left) / self.rate;
            // At least a little, so that rounding cannot make this a loop that does not sleep.
            tokio::time::sleep(Duration::from_secs_f64(missing).max(Duration::from_millis(1)))
                .await;
        }
    }
}

/// Which stream a [`Printer`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Standard output or standard error of a script. All streams a guest opens on it are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    stream: Stream,
    broker: Broker,
    allowance: Allowance,
    pace: Arc<tokio::sync::Mutex<Pace>>,
}

impl Printer {
    pub(crate) fn new(stream: Stream, broker: Broker, allowance: Allowance) -> Self {
        let pace = Arc::new(tokio::sync::Mutex::new(Pace::new(PRINT_BURST, PRINT_RATE)));
        Self {
            stream,
            broker,
            allowance,
            pace,
        }
    }
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    /// For WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {
        self.pace.lock().await.wait().await;
        self.broker.has_room().await;
    }
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let fits = self.allowance.take_up_to(bytes.len());
        if let Ok(mut pace) = self.pace.try_lock() {
            pace.spend(fits);
        }
        for chunk in bytes[..fits].chunks(OUTPUT_CHUNK) {
            let chunk = chunk.to_vec();
            self.broker.tell_at_once(match self.stream {
                Stream::Stdout => Note::Stdout(chunk),
                Stream::Stderr => Note::Stderr(chunk),
            });
        }
        if fits < bytes.len() {
            Err(StreamError::Trap(Limit::Log.into()))
        } else {
            Ok(())
        }
    }

    /// What is queued is as good as flushed: it leaves before anything that the guest does next, and before the end.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let open = self.pace.try_lock().is_ok_and(|mut pace| pace.open());
        Ok(if open { self.broker.room() } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_once() {
        let allowance = Allowance::new(10);
        let other = allowance.clone();
        assert!(allowance.take(6));
        assert!(!other.take(5));
        assert_eq!(other.take_up_to(100), 4);
        assert_eq!(allowance.take_up_to(1), 0);
        assert!(allowance.take(0));
    }

    #[tokio::test]
    async fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 500);
        for _ in 0..10 {
            assert!(pace.open());
            pace.spend(1);
        }
        assert!(!pace.open());
        for _ in 0..50 {
            pace.wait().await;
            pace.spend(1);
        }
        assert!(
            start.elapsed() >= Duration::from_millis(98),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test]
    async fn an_overdrawn_pace_makes_the_next_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 1000);
        pace.spend(110);
        pace.wait().await;
        assert!(
            start.elapsed() >= Duration::from_millis(100),
            "{:?}",
            start.elapsed()
        );
    }
}
