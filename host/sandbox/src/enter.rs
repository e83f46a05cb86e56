//! The child's side: from a freshly started program to a confined one.
//!
//! The order matters. Nothing is read before stray descriptors are closed and the parent's death is this process's
//! death; limits and walls come up before the caller sees the channel. From then on nothing can be undone.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;

use rustix::process::{
    Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};

use crate::confinement::{Confinement, ProcessLimits};
use crate::frame::FrameError;
use crate::letter;
use crate::role::role;
use crate::{files, syscalls};

/// What a child has once its walls are up.
#[derive(Debug)]
pub struct Entered {
    /// The channel to the parent.
    pub channel: UnixStream,
    /// The files that the parent gave, in its order.
    pub files: Vec<File>,
    /// What the child may do.
    pub confinement: Confinement,
}

/// Why a child could not be confined. It must end then, without doing anything else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnterError {
    /// The process was not started as a child.
    #[error("this process was not started in a role")]
    NoRole,
    /// The walls would hold for one thread only.
    #[error("a child must enter its role before it starts threads; {0} are running")]
    Threads(usize),
    /// The parent is gone.
    #[error("the parent of this process has ended")]
    Orphan,
    /// The parent's orders could not be read.
    #[error("the orders of this process's parent could not be read: {0}")]
    Orders(#[from] FrameError),
    /// A wall could not be raised.
    #[error("{doing}: {cause}")]
    Wall {
        /// What was attempted.
        doing: String,
        /// What the kernel or its binding said.
        cause: String,
    },
}

pub(crate) fn wall<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> EnterError {
    |cause| EnterError::Wall {
        doing: doing.into(),
        cause: cause.to_string(),
    }
}

/// Confines this process as its parent ordered. To be called once, right after [`role`] said that this process is a
/// child, before threads are started, files opened or anything read that a stranger made.
///
/// What the kernel lacks is left out where a weaker wall is still useful (landlock); [`walls`](crate::walls) tells.
///
/// # Errors
/// This process is no child, its parent is gone, or a wall that every supported kernel has could not be raised.
pub fn enter() -> Result<Entered, EnterError> {
    let role = role().ok_or(EnterError::NoRole)?;
    let threads = fs::read_dir("/proc/self/task")
        .map_err(wall("cannot count threads"))?
        .count();
    if threads != 1 {
        return Err(EnterError::Threads(threads));
    }
    close_strays().map_err(wall("cannot close inherited descriptors"))?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(wall("cannot tie this process to its parent"))?;
    let channel = take_channel().map_err(wall("cannot take over the channel"))?;
    let (letter, files) = letter::read(&channel)?;
    // The signal does not come if the parent had ended before it was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != i32::try_from(letter.parent).ok() {
        return Err(EnterError::Orphan);
    }
    let confinement = letter.confinement;
    limit(&confinement.limits)?;
    rustix::thread::set_no_new_privs(true).map_err(wall("cannot give up new privileges"))?;
    files::confine(&confinement, &files)?;
    syscalls::confine(role, &confinement.limits)?;
    Ok(Entered {
        channel,
        files,
        confinement,
    })
}

/// Closes what the parent's own parent left open in it, which any shell can do.
fn close_strays() -> io::Result<()> {
    // SAFETY: this is the first thing a child does, on its only thread. Nothing in this process owns a descriptor
    // above the standard three yet, so none is closed under somebody's hands.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The channel comes as standard input; it moves to a descriptor that has an owner.
fn take_channel() -> io::Result<UnixStream> {
    let stdin = rustix::stdio::stdin();
    let channel = UnixStream::from(stdin.try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(channel)
}

fn limit(limits: &ProcessLimits) -> Result<(), EnterError> {
    let seconds = limits
        .cpu
        .map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
    let limits = [
        (Resource::Core, "core dumps", Some(0)),
        (Resource::Data, "memory", Some(limits.data)),
        (Resource::As, "address space", Some(limits.address_space)),
        (Resource::Fsize, "file size", Some(limits.file_size)),
        (Resource::Nofile, "open files", Some(limits.open_files)),
        (Resource::Cpu, "processor time", seconds),
    ];
    for (resource, name, limit) in limits {
        let Some(limit) = limit else { continue };
        // What is stricter already stays: only a privileged process could lift it.
        let limit = match rustix::process::getrlimit(resource).maximum {
            Some(maximum) => limit.min(maximum),
            None => limit,
        };
        setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            },
        )
        .map_err(wall(format!("cannot limit {name} to {limit}")))?;
    }
    // SAFETY: ignoring a signal installs no handler. A write beyond the limit then fails instead of ending the process.
    if unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(wall("cannot ignore the signal of the file size limit")(
            io::Error::last_os_error(),
        ));
    }
    Ok(())
}
