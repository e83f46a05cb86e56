//! What the server remembers of a pod, and what that is worth.
//!
//! It lists from memory what another session has changed since, and remembers changes that failed. So whoever reads a pod
//! holds its lock and knows the mark that the last change left there; where that is another than the server's memory was
//! made under, the server is told to forget first.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::http::Fault;
use super::lock::{Held, Mark, Mode};
use super::session::{CLOSE, Call};
use super::{Inner, unlockable};
use crate::{Error, PodName};

/// How long the server's memory of a pod is good, as to changes made on other machines.
const FRESH: Duration = Duration::from_secs(30);
/// A mark that no change leaves.
const NEVER: Mark = Some([0; 16]);

/// What the server's memory of a pod is worth; none if it remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen(Option<Memory>);

#[derive(Debug, Clone, Copy)]
struct Memory {
    /// The change up to which it is good.
    mark: Mark,
    since: Instant,
}

/// What keeps a pod as it is, on this machine, while it is read.
pub(super) struct Reading {
    _held: Held,
    _seen: OwnedRwLockReadGuard<Seen>,
}

/// What keeps a pod for a change. Unless that is [`done`](Changing::done) the server is to forget what it remembers:
/// it remembers a change that failed as if it had not.
pub(super) struct Changing {
    held: Held,
    mark: Mark,
    seen: Arc<RwLock<Seen>>,
}

impl Changing {
    pub(super) async fn done(self) -> Result<(), Error> {
        if let Some(memory) = &mut self.seen.write().await.0 {
            memory.mark = self.mark;
        }
        drop(self.held);
        Ok(())
    }
}

impl Inner {
    pub(super) fn seen(&self, pod: &PodName) -> Arc<RwLock<Seen>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(pod.clone()).or_default().clone()
    }

    /// Has the server drop what it remembers of a pod before the next look.
    pub(super) async fn forget(&self, pod: &PodName) {
        if let Some(memory) = &mut self.seen(pod).write().await.0 {
            memory.mark = NEVER;
        }
    }

    pub(super) fn forget_all(&self) {
        let forget = |pods: &mut HashMap<_, _>| pods.clear();
        forget(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Makes sure that the server lists `pod` as it is after the last change of this machine.
    async fn refreshed(
        &self,
        pod: &PodName,
        held: &Held,
    ) -> Result<OwnedRwLockReadGuard<Seen>, Error> {
        let mark = held.mark().map_err(unlockable)?;
        let good = |seen: &Seen| matches!(seen.0, Some(memory) if memory.mark == mark && memory.since.elapsed() < FRESH);
        let state = self.seen(pod);
        let seen = state.clone().read_owned().await;
        if good(&seen) {
            return Ok(seen);
        }
        drop(seen);
        let mut seen = state.write_owned().await;
        if !good(&seen) {
            if seen.0.is_some() {
                let closed = self.close(pod).await;
                closed.map_err(|fault| fault.into_error(format!("open the pod `{pod}`")))?;
            }
            *seen = Seen(Some(Memory {
                mark,
                since: Instant::now(),
            }));
        }
        Ok(seen.downgrade())
    }

    /// Has the server drop what it remembers of a pod now. It remembers anew with the next call.
    pub(super) async fn close(&self, pod: &PodName) -> Result<(), Fault> {
        let close = Call::post(CLOSE, json!({ "podName": pod.as_str() }));
        match self.session.tell(close).await {
            // It may be gone, or be closed already.
            Ok(()) | Err(Fault::Refused { .. }) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Keeps a pod as it is while it is read.
    pub(super) async fn reading(&self, pod: &PodName) -> Result<Reading, Error> {
        let held = self.hold(pod.as_str(), Mode::Read).await?;
        let seen = self.refreshed(pod, &held).await?;
        Ok(Reading {
            _held: held,
            _seen: seen,
        })
    }

    /// Keeps a pod for oneself and says that it is about to change.
    pub(super) async fn writing(&self, pod: &PodName) -> Result<Changing, Error> {
        let held = self.hold(pod.as_str(), Mode::Write).await?;
        drop(self.refreshed(pod, &held).await?);
        let mark = held.renew().map_err(unlockable)?;
        Ok(Changing {
            held,
            mark,
            seen: self.seen(pod),
        })
    }
}
