//! A child that does one thing for the program, answers once and ends.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sovr_capability::Untrusted;
use sovr_sandbox::frame::{self, FrameError, Reader};
use sovr_sandbox::{Child, Confinement, Entered, ProcessLimits, Role, SpawnError, enter};
use tokio::time::timeout;

/// Bytes of the largest order. Orders hold no data of strangers.
const ORDER_MAX: usize = 4 << 10;

/// Bytes of the largest answer.
pub(crate) const ANSWER_MAX: usize = 4 << 20;

/// What the standard library says before it aborts because memory could not be allocated.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// Address space of a child that runs no guest: code, stacks and the allocator's arenas, with room.
pub(crate) const ADDRESS_SPACE: u64 = 64 << 30;

/// Descriptors of a child that only works on the files it was given.
pub(crate) const OPEN_FILES: u64 = 64;

/// Processor seconds for each second of wall clock: a limit beside the deadline, should this process be stopped.
const PROCESSORS: u32 = 16;

/// What an errand may take of the machine. Sizes are bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// Wall clock.
    pub(crate) time: Duration,
    pub(crate) memory: u64,
    pub(crate) file_size: u64,
    pub(crate) threads: bool,
}

impl Allowed {
    /// These limits and no path at all.
    pub(crate) fn confinement(&self) -> Confinement {
        Confinement {
            read: Vec::new(),
            write: Vec::new(),
            limits: ProcessLimits {
                data: self.memory,
                address_space: ADDRESS_SPACE,
                file_size: self.file_size,
                open_files: OPEN_FILES,
                threads: self.threads,
                cpu: Some(self.time.saturating_mul(PROCESSORS)),
            },
        }
    }
}

/// Why an errand brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ErrandError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("it took longer than the {0:?} it was given")]
    Time(Duration),
    #[error("it took more than the {} MiB of memory it was given", .0 >> 20)]
    Memory(u64),
    #[error("its process ended with {status}{}", said(.diagnostics))]
    Died {
        status: ExitStatus,
        diagnostics: Untrusted,
    },
    #[error("its process answered wrongly: {0}")]
    Answer(FrameError),
    #[error("its process was lost: {0}")]
    Lost(io::Error),
}

fn said(diagnostics: &Untrusted) -> String {
    if diagnostics.is_empty() {
        String::new()
    } else {
        format!(" and said: {}", diagnostics.block().trim_end())
    }
}

impl ErrandError {
    /// Whether the errand was too much, rather than something having failed.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Time(_) | Self::Memory(_))
    }
}

/// Sends a child on an errand and waits for its answer; it is gone when this returns or is dropped.
pub(crate) async fn send<Order: Serialize, Answer: DeserializeOwned>(
    role: Role,
    confinement: &Confinement,
    files: Vec<OwnedFd>,
    order: &Order,
    time: Duration,
) -> Result<Answer, ErrandError> {
    let mut child = sovr_sandbox::spawn(role, confinement, files)?;
    let mut channel = child.take_channel();
    let answered = timeout(time, async {
        // That it ended before it read the order is seen below.
        match frame::send(&mut channel, order, ORDER_MAX).await {
            Ok(()) | Err(FrameError::Closed) => {}
            Err(error) => return Err(error),
        }
        Reader::new(&mut channel, ANSWER_MAX).next::<Answer>().await
    })
    .await
    .map_err(|_| ErrandError::Time(time))?;
    match answered {
        Ok(Some(answer)) => {
            // It has nothing more to do, and its files are complete only when it is gone.
            child.kill();
            child.wait().await.map_err(ErrandError::Lost)?;
            Ok(answer)
        }
        Ok(None) | Err(FrameError::Closed) => Err(autopsy(child, confinement, time).await),
        Err(error) => Err(ErrandError::Answer(error)),
    }
}

async fn autopsy(mut child: Child, confinement: &Confinement, time: Duration) -> ErrandError {
    // The channel is closed; what is left of the process is its end.
    let status = match timeout(Duration::from_secs(1), child.wait()).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return ErrandError::Lost(error),
        Err(_) => return ErrandError::Time(time),
    };
    let diagnostics = child.diagnostics();
    let signal = status.signal().and_then(Signal::from_named_raw);
    match signal {
        // The kernel's way to end a process that used up its processor time.
        Some(Signal::KILL | Signal::XCPU) => ErrandError::Time(time),
        Some(Signal::ABORT) if diagnostics.contains(OUT_OF_MEMORY) => {
            ErrandError::Memory(confinement.limits.data)
        }
        _ => ErrandError::Died {
            status,
            diagnostics: Untrusted::new(diagnostics),
        },
    }
}

/// The child's side: confined, it does `work` and answers.
pub(crate) fn serve<Order: DeserializeOwned, Answer: Serialize>(
    work: impl FnOnce(Order, Vec<File>, &Confinement) -> Answer,
) -> ExitCode {
    let Entered {
        mut channel,
        files,
        confinement,
    } = match enter() {
        Ok(entered) => entered,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let answered = frame::read(&mut channel, ORDER_MAX)
        .and_then(|order| order.ok_or(FrameError::Closed))
        .and_then(|order| {
            frame::write(&mut channel, &work(order, files, &confinement), ANSWER_MAX)
        });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// All of a file, wherever others left its position.
pub(crate) fn read_whole(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}
