//! A runtime on a local provider: an exe-unit in a directory of its own, and what it used.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::Instant;

use super::Shared;
use super::fault::{EXAGGERATION, Fault};
use super::node::Node;
use crate::blocking::blocking;
use crate::demand::WasiPackage;
use crate::exe_unit::scratch::Directory;
use crate::exe_unit::{self, Ending, ExeUnit, Limits};
use crate::network::{Activity, Attention, NetworkError};
use crate::price::Usage;
use crate::step::{BatchEvent, Command};

/// Longest time of one program. Callers have timeouts of their own; this ends what nobody ends.
const PROGRAM: Duration = Duration::from_secs(24 * 3600);

/// Files and directories that an activity may keep.
const FILES: u64 = 100_000;

/// Bytes that one program may print.
const OUTPUT: u64 = 16 << 20;

/// A batch that was told to end is waited for at most this long. It cannot commit anything after that either.
const END: Duration = Duration::from_secs(10);

pub(super) struct LocalActivity {
    id: String,
    node: Arc<Node>,
    life: Arc<Life>,
}

/// What the activity, its batch and its agreement share.
pub(super) struct Life {
    begun: Instant,
    ended: Mutex<Option<Instant>>,
    ending: Ending,
    lies: bool,
    /// Locked by the batch that runs; none once ended.
    unit: Arc<tokio::sync::Mutex<Option<Unit>>>,
}

/// The exe-unit with what it occupies.
struct Unit {
    unit: ExeUnit,
    directory: Directory,
    counted: Arc<()>,
}

impl Life {
    pub(super) fn usage(&self) -> Usage {
        let end = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = Usage {
            cpu: self.ending.cpu(),
            duration: end.unwrap_or_else(Instant::now) - self.begun,
        };
        match self.lies {
            true => Usage {
                cpu: usage.cpu.saturating_mul(EXAGGERATION),
                duration: usage.duration.saturating_mul(EXAGGERATION),
            },
            false => usage,
        }
    }

    /// Ends what runs, without waiting; what is occupied is free when the batch has ended.
    pub(super) fn begin_end(&self) {
        self.ending.end();
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
        if let Ok(mut unit) = self.unit.try_lock() {
            drop(unit.take());
        }
    }

    /// Ends what runs and frees what is occupied.
    pub(super) async fn end(&self) {
        self.ending.end();
        if let Ok(mut unit) = tokio::time::timeout(END, self.unit.lock()).await
            && let Some(unit) = unit.take()
        {
            remove(unit).await;
        }
        self.begin_end();
    }
}

/// Removes the activity's files, which may be many.
async fn remove(unit: Unit) {
    let Unit {
        unit,
        directory,
        counted,
    } = unit;
    drop(unit);
    // What cannot be removed stays in the scratch directory; nobody reads it.
    let _ = blocking(move || directory.remove()).await;
    drop(counted);
}

impl LocalActivity {
    pub(super) fn create(
        id: String,
        shared: &Arc<Shared>,
        node: &Arc<Node>,
        package: &WasiPackage,
    ) -> Result<Self, NetworkError> {
        let lost = |error: std::io::Error| NetworkError::Lost {
            provider: node.provider.name.clone(),
            reason: format!(
                "cannot make a directory in {}: {error}",
                shared.scratch.display()
            ),
        };
        let directory = Directory::create(&shared.scratch).map_err(lost)?;
        let limits = Limits {
            memory: node.settings.memory,
            file: node.settings.storage,
            storage: node.settings.storage,
            files: FILES,
            output: OUTPUT,
            time: PROGRAM,
        };
        let (unit, ending) = ExeUnit::new(
            shared.runtime_of(node),
            package.clone(),
            limits,
            directory.path(),
        );
        let unit = Unit {
            unit,
            directory,
            counted: Arc::clone(&shared.activities),
        };
        Ok(Self {
            id,
            node: Arc::clone(node),
            life: Arc::new(Life {
                begun: Instant::now(),
                ended: Mutex::new(None),
                ending,
                lies: node.fault == Some(Fault::LieAboutUsage),
                unit: Arc::new(tokio::sync::Mutex::new(Some(unit))),
            }),
        })
    }

    pub(super) fn life(&self) -> &Arc<Life> {
        &self.life
    }

    fn lost(&self) -> NetworkError {
        NetworkError::Lost {
            provider: self.node.provider.name.clone(),
            reason: "endpoint address not found".to_owned(),
        }
    }
}

/// Runs a batch; the guard keeps others out.
async fn run(
    mut guard: OwnedMutexGuard<Option<Unit>>,
    life: Arc<Life>,
    batch: Vec<Command>,
    events: mpsc::Sender<BatchEvent>,
) {
    let end = match guard.as_mut() {
        Some(unit) => unit.unit.run(batch, events).await,
        None => None,
    };
    if life.ending.has_ended()
        && let Some(unit) = guard.take()
    {
        remove(unit).await;
    }
    // Who hears the end may send the next batch at once.
    drop(guard);
    if let Some(end) = end {
        end.tell();
    }
}

#[async_trait]
impl Activity for LocalActivity {
    fn id(&self) -> &str {
        &self.id
    }

    async fn exec(
        &self,
        batch: Vec<Command>,
        // What happens here can be told at once.
        _: Attention,
    ) -> Result<mpsc::Receiver<BatchEvent>, NetworkError> {
        if self.node.is_gone() {
            return Err(self.lost());
        }
        let Ok(guard) = Arc::clone(&self.life.unit).try_lock_owned() else {
            return Err(NetworkError::State(exe_unit::busy()));
        };
        if guard.is_none() || self.life.ending.has_ended() {
            return Err(NetworkError::State(format!(
                "the activity {} is terminated",
                self.id
            )));
        }
        let (sender, events) = ExeUnit::events();
        tokio::spawn(run(guard, Arc::clone(&self.life), batch, sender));
        Ok(events)
    }

    async fn usage(&self) -> Result<Usage, NetworkError> {
        match self.node.is_gone() {
            true => Err(self.lost()),
            false => Ok(self.life.usage()),
        }
    }

    async fn destroy(&self) {
        self.life.end().await;
    }
}

impl Drop for LocalActivity {
    fn drop(&mut self) {
        self.life.begin_end();
    }
}
