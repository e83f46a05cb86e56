//! Starting a child.
//!
//! The child is this very program, opened through `/proc/self/exe`, so that it is the same file even if it was replaced
//! on disk since. It gets the channel as its standard input and nothing else, which is all that `posix_spawn` needs:
//! no code of ours runs between fork and exec, and no page table is copied.
//!
//! All children are started by one thread that lives as long as the program. The kernel sends the parent-death signal
//! when the *thread* that started a child ends, so a child of a pool's thread would die when the pool shrinks.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::child::Child;
use crate::confinement::Confinement;
use crate::frame::FrameError;
use crate::letter::{self, FILES_MAX, Letter};
use crate::role::{CHILD_NAME, Role};

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a confined process for the role \"{role}\": {cause}")]
pub struct SpawnError {
    role: Role,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0} files were given and at most {FILES_MAX} can be")]
    TooManyFiles(usize),
    #[error("its orders could not be written: {0}")]
    Orders(FrameError),
    #[error("{doing}: {error}; see `sovr-host doctor`")]
    System {
        doing: &'static str,
        error: io::Error,
    },
}

fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Cause {
    move |error| Cause::System {
        doing,
        error: error.into(),
    }
}

/// Starts this program again in `role`, behind the walls of `confinement`. `files` arrive in the child as
/// [`Entered::files`](crate::Entered::files), in this order; the child may read them if they are open for reading, even
/// by opening them again through `/proc/self/fd`.
///
/// # Errors
/// A limit of the machine is reached, or the kernel lacks what children need.
///
/// # Panics
/// Outside a tokio runtime that drives IO.
pub fn spawn(
    role: Role,
    confinement: &Confinement,
    files: Vec<OwnedFd>,
) -> Result<Child, SpawnError> {
    start(role, confinement, &files).map_err(|cause| SpawnError { role, cause })
}

fn start(role: Role, confinement: &Confinement, files: &[OwnedFd]) -> Result<Child, Cause> {
    if files.len() > FILES_MAX {
        return Err(Cause::TooManyFiles(files.len()));
    }
    let (ours, theirs) = UnixStream::pair().map_err(system("no socket pair could be made"))?;
    let letter = Letter {
        parent: std::process::id(),
        files: u32::try_from(files.len()).unwrap_or(u32::MAX),
        confinement: confinement.clone(),
    };
    letter::write(&ours, &letter, files).map_err(Cause::Orders)?;
    // Not blocking at either end: who writes more than anybody reads loses it and goes on.
    let (diagnostics, their_stderr) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(system("no pipe could be made"))?;

    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(CHILD_NAME)
        .arg(role.name())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(their_stderr))
        .process_group(0);
    let process = on_the_starting_thread(command)
        .map_err(system("the program could not be started again"))?;
    Child::new(role, process, ours, diagnostics)
        .map_err(system("the started process could not be watched"))
}

type Order = (Command, SyncSender<io::Result<std::process::Child>>);

fn on_the_starting_thread(command: Command) -> io::Result<std::process::Child> {
    static STARTER: Mutex<Option<Sender<Order>>> = Mutex::new(None);
    let (answer, answered) = mpsc::sync_channel(1);
    {
        let mut starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match &*starter {
            Some(sender) => sender,
            None => starter.insert(start_the_thread()?),
        };
        sender.send((command, answer)).map_err(|_| gone())?;
    }
    answered.recv().map_err(|_| gone())?
}

fn start_the_thread() -> io::Result<Sender<Order>> {
    let (sender, orders) = mpsc::channel::<Order>();
    thread::Builder::new()
        .name("child-starter".into())
        .spawn(move || {
            // Ends with the program: the sender lies in a static.
            for (mut command, answer) in orders {
                let child = command.spawn();
                // Closes our copy of the child's ends.
                drop(command);
                // Nobody waits only if the caller panicked.
                drop(answer.send(child));
            }
        })?;
    Ok(sender)
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts children has ended")
}
