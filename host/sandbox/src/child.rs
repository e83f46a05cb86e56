//! A child as its parent sees it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::reaper;
use crate::role::Role;

/// How much of a child's standard error is kept: its beginning, because the first complaint is the cause of the rest.
const DIAGNOSTICS_MAX: usize = 8 * 1024;

/// A confined child process. Dropping it kills it.
pub struct Child {
    role: Role,
    id: u32,
    /// Readable when the process has ended; and names this process even if its id is used again.
    end: AsyncFd<OwnedFd>,
    /// `None` once the process is reaped and its id may belong to another.
    process: Mutex<Option<std::process::Child>>,
    status: Option<ExitStatus>,
    channel: Option<UnixStream>,
    diagnostics: Mutex<Diagnostics>,
}

struct Diagnostics {
    pipe: File,
    kept: Vec<u8>,
}

impl Child {
    pub(crate) fn new(
        role: Role,
        mut process: std::process::Child,
        channel: StdUnixStream,
        diagnostics: OwnedFd,
    ) -> io::Result<Self> {
        let id = process.id();
        let watched = || -> io::Result<_> {
            let end = pidfd_open(Pid::from_child(&process), PidfdFlags::empty())?;
            channel.set_nonblocking(true)?;
            // SAFETY: the descriptor is owned and nothing gives it away, so it stays open for as long as it is watched.
            let end = unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) }?;
            Ok((end, UnixStream::from_std(channel)?))
        };
        match watched() {
            Ok((end, channel)) => Ok(Self {
                role,
                id,
                end,
                process: Mutex::new(Some(process)),
                status: None,
                channel: Some(channel),
                diagnostics: Mutex::new(Diagnostics {
                    pipe: File::from(diagnostics),
                    kept: Vec::new(),
                }),
            }),
            Err(error) => {
                // Its channel is closed, so it ends even if this fails.
                drop(process.kill());
                reaper::reap(process);
                Err(error)
            }
        }
    }

    /// What it was started for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The channel to it.
    ///
    /// # Panics
    /// When called a second time.
    pub fn take_channel(&mut self) -> UnixStream {
        self.channel
            .take()
            .expect("a child's channel is taken once")
    }

    /// Waits until the process has ended; at once if it has. May be dropped and called again.
    ///
    /// # Errors
    /// The system lost track of the process, which happens where the signal `SIGCHLD` is ignored. It has ended then.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            let mut ended = self.end.readable().await?;
            let mut process = lock(&self.process);
            let Some(child) = process.as_mut() else {
                return Err(io::Error::other("the process was already waited for"));
            };
            match child.try_wait() {
                Ok(None) => {
                    ended.clear_ready();
                }
                Ok(Some(status)) => {
                    *process = None;
                    drop(process);
                    self.status = Some(status);
                }
                Err(error) => {
                    *process = None;
                    return Err(error);
                }
            }
        }
    }

    /// Kills the process and whatever is in its group, at once. Does nothing if it has ended.
    pub fn kill(&self) {
        // While it is not reaped, its id and that of its group cannot be given to others.
        if let Some(process) = &*lock(&self.process) {
            // Both fail only if nothing is left to kill.
            let _ = pidfd_send_signal(self.end.as_fd(), Signal::KILL);
            let _ = kill_process_group(Pid::from_child(process), Signal::KILL);
        }
    }

    /// What it wrote to standard error so far, at most the first 8 KiB. A child may be in a stranger's hands, so this
    /// is text that must be escaped before a terminal sees it.
    pub fn diagnostics(&self) -> String {
        let mut diagnostics = lock(&self.diagnostics);
        let Diagnostics { pipe, kept } = &mut *diagnostics;
        let room = DIAGNOSTICS_MAX.saturating_sub(kept.len());
        // Ends with the pipe's end or with "would block"; what was read before that is kept.
        drop(pipe.take(room as u64).read_to_end(kept));
        String::from_utf8_lossy(kept).into_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if let Some(process) = lock(&self.process).take() {
            reaper::reap(process);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("role", &self.role)
            .field("id", &self.id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
