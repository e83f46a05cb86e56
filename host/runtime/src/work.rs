//! Runs an entry point of a package in a confined child, for a provider.
//!
//! The child sees the volumes of its activity and one socket, on which it tells what the program prints and how it
//! ended. It asks for nothing: unlike a runner it has nobody to ask. Both sides keep the time and the amount of output,
//! the child to say well what happened, the parent because the child is not to be believed.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sovr_capability::Untrusted;
use sovr_sandbox::frame::{self, FrameError, Reader};
use sovr_sandbox::{Child, Confinement, ProcessLimits, Role};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use crate::limits::{self, Limit};

pub(crate) mod child;
mod meter;

pub use meter::Meter;

/// Bytes of an order: arguments, environment and volumes.
const ORDER_MAX: usize = 1 << 20;

/// Bytes of one message of the child. Output is cut into pieces smaller than this.
const MESSAGE_MAX: usize = 128 << 10;

/// Time to load the code, when nothing of a stranger runs yet. Generous for the sake of loaded machines.
const STARTUP: Duration = Duration::from_secs(30);

/// What a child gets beyond the program's time to stop it by itself and to say so. Then it is killed.
const GRACE: Duration = Duration::from_millis(50);

/// Memory that the process needs beside the program's and the code: the engine, stacks, messages on their way.
const OVERHEAD: u64 = 128 << 20;

/// Address space of the process. Each memory of the program reserves 4 GiB and guards, used or not.
const ADDRESS_SPACE: u64 = 256 << 30;

/// Descriptors of the process beside those of the program's objects.
const OPEN_FILES: u64 = 64;

/// Processor time beyond the wall clock: a limit beside the deadline, should the parent be stopped.
const PROCESSOR_TIME: Duration = Duration::from_secs(30);

/// One run of an entry point.
#[derive(Debug)]
pub struct WorkRequest {
    /// Native code, from [`crate::code::Cache::get_or_compile`].
    pub code: File,
    /// Arguments, the program's own name first.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// What the program sees of the file system.
    pub volumes: Vec<Volume>,
    /// What it may take.
    pub limits: WorkLimits,
}

/// A directory of this machine that the program sees at a place of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Absolute path in the program's view, such as `/golem/work`.
    pub guest: String,
    /// Absolute path here.
    pub host: PathBuf,
    /// Whether the program may write there.
    pub writable: bool,
}

/// Limits of one run of an entry point. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkLimits {
    /// Memories and tables of the program together.
    pub memory: u64,
    /// Wall clock.
    pub time: Duration,
    /// Standard output and standard error together; more ends the run with [`Limit::Log`].
    pub output: u64,
    /// The largest single file. A write beyond it fails in the program.
    pub file_size: u64,
}

/// What a running entry point does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkEvent {
    /// Bytes on standard output, as they came.
    Stdout(Vec<u8>),
    /// Bytes on standard error, as they came.
    Stderr(Vec<u8>),
    /// It is over. Comes once, and last.
    End(WorkEnd),
}

/// How a run of an entry point ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkEnd {
    /// The program ended by itself, with this exit code.
    Exited(i32),
    /// A limit ended it.
    Limit(Limit),
    /// It did what no program can do and go on.
    Trapped(Untrusted),
    /// It could not be started: it imports what is not here, or has no `main`.
    Refused(Untrusted),
    /// [`Work::kill`] ended it.
    Killed,
    /// The child failed; the program may not be to blame. Partly in the child's words, so it must be escaped like them.
    Broken(Untrusted),
}

/// Why an entry point could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The child could not be started.
    #[error("cannot start a process for the work: {0}")]
    Spawn(#[from] sovr_sandbox::SpawnError),
    /// The child could not be told what to do.
    #[error("cannot tell the work's process what to do: {0}")]
    Channel(#[from] sovr_sandbox::frame::FrameError),
}

/// What the child is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    args: Vec<String>,
    env: Vec<(String, String)>,
    volumes: Vec<Volume>,
    limits: WorkLimits,
}

/// What the child tells.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// The code is loaded and its imports are there; the program starts now. Comes first.
    Ready,
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// Nothing follows.
    End(WorkEnd),
}

/// A running entry point. Dropping it kills the process.
#[derive(Debug)]
pub struct Work {
    /// Before the process: it is read while there is one.
    meter: Metered,
    child: Child,
    messages: Reader<UnixStream>,
    limits: WorkLimits,
    state: State,
    /// When the process is killed.
    until: Instant,
    /// Bytes it may still print.
    output: u64,
    killed: AtomicBool,
}

/// Dropping it reads the meter for the last time.
#[derive(Debug)]
struct Metered(Arc<Meter>);

impl Drop for Metered {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[derive(Debug)]
enum State {
    Loading,
    Running,
    /// The end is known and the process is about to be gone.
    Ending(WorkEnd),
    Over,
}

impl Work {
    /// Starts the entry point in a child of its own.
    ///
    /// # Errors
    /// The process cannot be started, or arguments and environment are longer than 1 MiB.
    pub async fn start(request: WorkRequest) -> Result<Self, WorkError> {
        let WorkRequest {
            code,
            args,
            env,
            volumes,
            limits,
        } = request;
        let code_size = code
            .metadata()
            .map_err(|error| WorkError::Channel(FrameError::Io(error)))?
            .len();
        let paths = |writable| {
            volumes
                .iter()
                .filter(|volume| volume.writable == writable)
                .map(|volume| volume.host.clone())
                .collect()
        };
        let confinement = Confinement {
            read: paths(false),
            write: paths(true),
            limits: ProcessLimits {
                data: limits
                    .memory
                    .saturating_add(code_size)
                    .saturating_add(OVERHEAD),
                address_space: ADDRESS_SPACE,
                file_size: limits.file_size,
                open_files: OPEN_FILES + limits::HOST_OBJECTS as u64,
                threads: true,
                cpu: Some(limits.time.saturating_add(PROCESSOR_TIME)),
            },
        };
        let mut child = sovr_sandbox::spawn(Role::Work, &confinement, vec![code.into()])?;
        let mut channel = child.take_channel();
        let order = Order {
            args,
            env,
            volumes,
            limits,
        };
        match frame::send(&mut channel, &order, ORDER_MAX).await {
            // That it ended already is told by the first message that does not come.
            Ok(()) | Err(FrameError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            meter: Metered(Arc::new(Meter::new(child.id()))),
            child,
            messages: Reader::new(channel, MESSAGE_MAX),
            limits,
            state: State::Loading,
            until: Instant::now() + STARTUP,
            output: limits.output,
            killed: AtomicBool::new(false),
        })
    }

    /// The next thing that happened; `None` after [`WorkEvent::End`], and then the process is gone. May stand in a
    /// `select!`. Output that nobody takes makes the program wait, while its time runs on.
    pub async fn next(&mut self) -> Option<WorkEvent> {
        loop {
            match &self.state {
                State::Over => return None,
                State::Ending(end) => {
                    let end = end.clone();
                    self.meter.0.stop();
                    self.child.kill();
                    // It fails only where nobody can know more about the process.
                    let _ = self.child.wait().await;
                    self.state = State::Over;
                    return Some(WorkEvent::End(end));
                }
                State::Loading | State::Running => {
                    if let Some(event) = self.listen().await {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Takes one message; `None` if there is nothing to tell about it.
    async fn listen(&mut self) -> Option<WorkEvent> {
        let message = timeout_at(self.until, self.messages.next::<Message>()).await;
        let ready = matches!(self.state, State::Running);
        let end = match message {
            Ok(Ok(Some(Message::Ready))) if !ready => {
                self.state = State::Running;
                let time = self.limits.time.saturating_add(GRACE);
                self.until = Instant::now().checked_add(time).unwrap_or_else(far_away);
                return None;
            }
            Ok(Ok(Some(Message::Stdout(bytes)))) if ready => match self.count(bytes) {
                Ok(bytes) => return Some(WorkEvent::Stdout(bytes)),
                Err(end) => end,
            },
            Ok(Ok(Some(Message::Stderr(bytes)))) if ready => match self.count(bytes) {
                Ok(bytes) => return Some(WorkEvent::Stderr(bytes)),
                Err(end) => end,
            },
            Ok(Ok(Some(Message::End(end)))) => end,
            Ok(Ok(Some(_))) => broken("its process spoke out of turn"),
            Ok(Ok(None) | Err(FrameError::Closed)) => self.vanished().await,
            Ok(Err(error)) => broken(format!("its process spoke wrongly: {error}")),
            Err(_) if ready => WorkEnd::Limit(Limit::Time),
            Err(_) => broken(format!("its code was not loaded within {STARTUP:?}")),
        };
        let killed = self.killed.load(Ordering::Relaxed);
        self.state = State::Ending(if killed { WorkEnd::Killed } else { end });
        None
    }

    fn count(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, WorkEnd> {
        self.output = self
            .output
            .checked_sub(bytes.len() as u64)
            .ok_or(WorkEnd::Limit(Limit::Log))?;
        Ok(bytes)
    }

    /// The process closed its channel without a word.
    async fn vanished(&mut self) -> WorkEnd {
        self.meter.0.stop();
        let status = match timeout_at(Instant::now() + GRACE, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "closed its channel".to_owned(),
        };
        let diagnostics = self.child.diagnostics();
        broken(format!(
            "its process ended ({status}) {}",
            diagnostics.trim_end()
        ))
    }

    /// Id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time it takes.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter.0)
    }

    /// Ends the process now. [`Self::next`] then tells [`WorkEnd::Killed`], if the end was not on its way already.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.child.kill();
    }
}

fn broken(reason: impl Into<String>) -> WorkEnd {
    WorkEnd::Broken(Untrusted::new(reason))
}

/// For times that the clock cannot count to.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}
