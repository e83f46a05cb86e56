//! What a runner and the broker say to each other.
//!
//! One frame is one message; [`sovr_sandbox::frame`] carries it. A runner begins with [`FromRunner::Ready`] after it
//! was told to start, then makes calls and sends notes, and ends with [`FromRunner::End`]. Calls carry an id chosen by
//! the runner and are answered in any order. Notes are not answered.
//!
//! The types of the contract are the types of the wire, so nothing is translated on the way; only handles differ. An
//! object of the broker is a number here, chosen by the broker. Progress bars live in the runner, which numbers them.
//!
//! Texts that a guest chose and that somebody may be shown are [`Untrusted`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sovr_capability::{Limits, Untrusted};

use crate::bindings::dfs::{Entry, Location};
use crate::bindings::errors::Error;
use crate::bindings::golem::{Event, Options, Outcome, Provider, Step, Summary, Terms};
use crate::bindings::log::Level;
use crate::bindings::pod::Identity;
use crate::limits::Limit;

/// Version of this protocol. Both ends are the same program, so a difference means that the program was replaced
/// while it ran.
pub const VERSION: u32 = 1;

/// Bytes of the largest frame from a runner. The largest single value of the contract is 1 MiB, and there must be room
/// around it. Small, because the broker does not trust a runner and decoding may take some times the frame's size.
pub const FRAME_FROM_RUNNER: usize = 2 << 20;

/// Bytes of the largest frame to a runner: an outcome holds the output of each step and files of up to 1 MiB.
pub const FRAME_TO_RUNNER: usize = 16 << 20;

/// Calls that may wait for their answer at one time.
pub const CALLS_IN_FLIGHT: usize = 16;

/// Elements of all lists in one call together, such as steps and their arguments. Elements of lists are what makes a
/// decoded call larger than its frame.
pub const ELEMENTS: usize = 16 << 10;

/// Bytes in one note of output.
pub const OUTPUT_CHUNK: usize = 16 << 10;

/// Bytes of one log message; the contract names it.
pub const LOG_MESSAGE: usize = 8 << 10;

/// Fields of one log message; the contract names it.
pub const LOG_FIELDS: usize = 32;

/// Bytes of a name or value of a log field; the contract names it.
pub const LOG_FIELD: usize = 1 << 10;

/// Bytes of a bar's label or message.
pub const BAR_TEXT: usize = 256;

/// Bytes of a reason at the end of a run.
pub const REASON: usize = 4 << 10;

/// Frames of a backtrace at the end of a run.
pub const BACKTRACE: usize = 32;

/// Bytes of one line of such a backtrace.
pub const BACKTRACE_LINE: usize = 256;

/// Names an object that the broker keeps for the guest.
pub type Handle = u64;

/// Names a call until it is answered.
pub type CallId = u64;

/// What the broker says.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the answer, and nearly every message is an answer"
)]
#[derive(Debug, Serialize, Deserialize)]
pub enum ToRunner {
    /// The first message, and sent once.
    Start(Box<Start>),
    /// The answer to a call.
    Answer {
        /// The call.
        id: CallId,
        /// What it brought.
        result: Result<Reply, Error>,
    },
    /// The run is being ended: the guest is stopped where it stands and the runner says how it ended.
    Cancel,
}

/// What a runner needs to know to run a guest. The compiled code comes as an open file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// [`VERSION`] of the broker.
    pub version: u32,
    /// Arguments of the guest, its own name first.
    pub args: Vec<String>,
    /// The whole environment of the guest.
    pub env: Vec<(String, String)>,
    /// Where the pod's directories are on this machine.
    pub directories: Directories,
    /// What `pod.who-am-i` answers.
    pub identity: Identity,
    /// What `pod.grants` answers.
    pub grants: String,
    /// Limits the runner keeps itself.
    pub limits: Limits,
}

/// The pod's directories on this machine, as absolute paths. The guest sees each at its own name beneath `/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Directories {
    /// Read-only; a pod need not have one.
    pub payload: Option<PathBuf>,
    /// Read-only; a pod need not have one.
    pub script: Option<PathBuf>,
    /// Read and written.
    pub output: PathBuf,
    /// Read and written.
    pub logs: PathBuf,
    /// Read and written.
    pub tmp: PathBuf,
}

/// What a runner says.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromRunner {
    /// The code is loaded and its imports are there; the guest starts now. Comes first.
    Ready {
        /// [`VERSION`] of the runner.
        version: u32,
    },
    /// The guest wants something and waits for the answer.
    Call {
        /// Not in use by another call that waits.
        id: CallId,
        /// What it wants.
        call: Call,
    },
    /// Something the broker should know.
    Note(Note),
    /// The guest is gone. Nothing follows.
    End(RunEnd),
}

/// A call of the guest that only the broker can serve: one for each function of the contract that needs it. What
/// cannot fail (`who-am-i`, `grants`, `terms`, `runs-on`) is answered from what the broker said before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Call {
    /// `transfer.copy`, answered by [`Reply::Receipt`].
    Copy {
        /// From where.
        source: Place,
        /// To where.
        destination: Place,
    },
    /// `golem.executor.open`, answered by [`Reply::Executor`].
    OpenExecutor(Options),
    /// `golem.executor.on-worker-start`, answered by [`Reply::Done`].
    OnWorkerStart {
        /// The executor.
        executor: Handle,
        /// What each worker does first.
        steps: Vec<Step>,
    },
    /// `golem.executor.submit`, answered by [`Reply::Task`].
    Submit {
        /// The executor.
        executor: Handle,
        /// For people.
        label: String,
        /// The task.
        steps: Vec<Step>,
        /// Nanoseconds for each try.
        timeout: Option<u64>,
    },
    /// `golem.executor.next`, answered by [`Reply::Outcome`].
    NextOutcome(Handle),
    /// `golem.executor.accept`, answered by [`Reply::Done`].
    Accept {
        /// The executor.
        executor: Handle,
        /// The task.
        task: u64,
    },
    /// `golem.executor.reject`, answered by [`Reply::Done`].
    Reject {
        /// The executor.
        executor: Handle,
        /// The task.
        task: u64,
        /// For the provider and for people.
        reason: String,
        /// Whether another provider shall try.
        retry: bool,
    },
    /// `golem.executor.close`, answered by [`Reply::Summary`].
    CloseExecutor(Handle),
    /// `golem.activity.open`, answered by [`Reply::Activity`].
    OpenActivity(Options),
    /// `golem.activity.exec`, answered by [`Reply::Done`].
    Exec {
        /// The activity.
        activity: Handle,
        /// The batch.
        steps: Vec<Step>,
        /// Nanoseconds for the batch.
        timeout: Option<u64>,
    },
    /// `golem.activity.next`, answered by [`Reply::Event`].
    NextEvent(Handle),
    /// `golem.activity.close`, answered by [`Reply::Amount`].
    CloseActivity(Handle),
    /// `dfs.pods`, answered by [`Reply::Names`].
    Pods,
    /// `dfs.list`, answered by [`Reply::Entries`].
    List(Location),
    /// `dfs.stat`, answered by [`Reply::Entry`].
    Stat(Location),
    /// `dfs.read`, answered by [`Reply::Bytes`].
    Read {
        /// The file.
        file: Location,
        /// Most bytes wanted.
        most: u64,
    },
    /// `dfs.write`, answered by [`Reply::Done`].
    Write {
        /// The file.
        file: Location,
        /// All of its content.
        content: Vec<u8>,
    },
    /// `dfs.make-directory`, answered by [`Reply::Done`].
    MakeDirectory(Location),
    /// `dfs.remove`, answered by [`Reply::Done`].
    Remove(Location),
    /// `dfs.create-pod`, answered by [`Reply::Done`].
    CreatePod(String),
    /// `dfs.share`, answered by [`Reply::Text`].
    Share(String),
    /// `dfs.receive`, answered by [`Reply::Text`].
    Receive(String),
}

/// `transfer.place` with the activity's handle in place of the borrowed object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    /// A path in the pod's tree.
    Workspace(String),
    /// A file in the DFS.
    Dfs(Location),
    /// A file on a provider.
    Provider {
        /// The activity.
        activity: Handle,
        /// Absolute path there.
        path: String,
    },
}

/// What a call brought. Which one belongs to which call stands at [`Call`]; any other stops the run as a fault of the
/// host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done and there is nothing to say.
    Done,
    /// What was copied.
    Receipt {
        /// How many bytes.
        bytes: u64,
        /// SHA-256 of them, 64 hexadecimal digits.
        sha256: String,
    },
    /// A new executor.
    Executor {
        /// Its handle.
        executor: Handle,
        /// What was agreed.
        terms: Terms,
    },
    /// A task's number.
    Task(u64),
    /// A decided task; none when all are.
    Outcome(Option<Outcome>),
    /// A closed job.
    Summary(Summary),
    /// A new activity.
    Activity {
        /// Its handle.
        activity: Handle,
        /// Where it runs.
        provider: Provider,
    },
    /// An event of a batch; none when no batch runs.
    Event(Option<Event>),
    /// GLM.
    Amount(String),
    /// Pods.
    Names(Vec<String>),
    /// A directory.
    Entries(Vec<Entry>),
    /// A file or directory.
    Entry(Entry),
    /// A file's content.
    Bytes(Vec<u8>),
    /// A reference or a name.
    Text(String),
}

/// Something the broker should know and does not answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Note {
    /// The guest printed. What [`crate::run::Runner::next`] hands on is neutralised and safe to show.
    Stdout(Vec<u8>),
    /// The guest printed on standard error; neutralised likewise.
    Stderr(Vec<u8>),
    /// A line for the log.
    Log {
        /// How important.
        level: Level,
        /// At most [`LOG_MESSAGE`] bytes.
        message: Untrusted,
        /// At most [`LOG_FIELDS`] of [`LOG_FIELD`] bytes for each name and value.
        fields: Vec<(Untrusted, Untrusted)>,
    },
    /// So many lines were dropped because the log's rate or size was exceeded; not told before.
    LogDropped {
        /// Lines since the last such note.
        lines: u64,
    },
    /// A bar changed. The runner thins these out.
    Bar {
        /// The bar's number in this run.
        bar: u64,
        /// What changed.
        change: BarChange,
    },
    /// The guest let go of an executor.
    DropExecutor(Handle),
    /// The guest let go of an activity.
    DropActivity(Handle),
}

/// A change of a progress bar. Texts are at most [`BAR_TEXT`] bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum BarChange {
    /// A new bar.
    Opened {
        /// Its name.
        label: Untrusted,
        /// Where it ends, if that is known.
        total: Option<u64>,
    },
    /// It stands here now.
    Position(u64),
    /// The text beside it.
    Message(Untrusted),
    /// It is complete.
    Finished,
    /// It was let go of unfinished.
    Dropped,
}

/// How a run ended, in the runner's words. Reasons are at most [`REASON`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEnd {
    /// The guest ended well.
    Completed,
    /// The guest ended and said that it failed.
    Failed {
        /// The exit code it chose. Most languages lose it on the way and give 1.
        code: i32,
    },
    /// The guest hit a limit.
    Limit {
        /// Which.
        limit: Limit,
        /// Where it was at that moment.
        backtrace: Vec<Untrusted>,
    },
    /// The guest did what no guest can do and go on.
    Trapped {
        /// What it did.
        reason: Untrusted,
        /// Where; innermost first, at most [`BACKTRACE`] lines of [`BACKTRACE_LINE`] bytes.
        backtrace: Vec<Untrusted>,
    },
    /// The guest could not be started: it imports what this host does not have, or exports no program.
    Refused {
        /// What is missing, by name and version.
        reason: Untrusted,
    },
    /// [`ToRunner::Cancel`] was obeyed.
    Cancelled,
    /// The runner itself failed; the guest is not to blame.
    Broken {
        /// What failed.
        reason: Untrusted,
    },
}

/// Part of a message that is larger than the protocol allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {size} is more than the {most} allowed")]
pub struct TooLarge {
    /// Which part.
    pub what: &'static str,
    /// Its size.
    pub size: usize,
    /// The largest size allowed.
    pub most: usize,
}

fn at_most(what: &'static str, size: usize, most: usize) -> Result<(), TooLarge> {
    if size > most {
        Err(TooLarge { what, size, most })
    } else {
        Ok(())
    }
}

impl Call {
    /// Checks what the size of a frame does not bound. The runner checks before it sends, so that the guest is told;
    /// the broker checks what it received.
    ///
    /// # Errors
    /// The lists of the call have too many elements.
    pub fn check(&self) -> Result<(), TooLarge> {
        match self {
            Self::OnWorkerStart { steps, .. }
            | Self::Submit { steps, .. }
            | Self::Exec { steps, .. } => {
                let elements = |step: &Step| match step {
                    Step::Run(command) => 1 + command.args.len(),
                    _ => 1,
                };
                at_most(
                    "steps and their arguments",
                    steps.iter().map(elements).sum(),
                    ELEMENTS,
                )
            }
            _ => Ok(()),
        }
    }
}

impl Note {
    /// Checks sizes that the runner keeps by cutting.
    ///
    /// # Errors
    /// A text is too long, or there are too many.
    pub fn check(&self) -> Result<(), TooLarge> {
        match self {
            Self::Stdout(bytes) | Self::Stderr(bytes) => {
                at_most("output in one piece", bytes.len(), OUTPUT_CHUNK)
            }
            Self::Log {
                message, fields, ..
            } => {
                at_most("a log message", message.raw().len(), LOG_MESSAGE)?;
                at_most("the fields of a log message", fields.len(), LOG_FIELDS)?;
                fields.iter().try_for_each(|(name, value)| {
                    at_most("the name of a log field", name.raw().len(), LOG_FIELD)?;
                    at_most("the value of a log field", value.raw().len(), LOG_FIELD)
                })
            }
            Self::Bar {
                change: BarChange::Opened { label: text, .. } | BarChange::Message(text),
                ..
            } => at_most("the text of a progress bar", text.raw().len(), BAR_TEXT),
            Self::Bar { .. }
            | Self::LogDropped { .. }
            | Self::DropExecutor(_)
            | Self::DropActivity(_) => Ok(()),
        }
    }

    /// Bytes that count against the run's limit for output and log.
    #[must_use]
    pub fn output(&self) -> usize {
        match self {
            Self::Stdout(bytes) | Self::Stderr(bytes) => bytes.len(),
            Self::Log {
                message, fields, ..
            } => fields
                .iter()
                .fold(message.raw().len(), |sum, (name, value)| {
                    sum + name.raw().len() + value.raw().len()
                }),
            _ => 0,
        }
    }
}

impl RunEnd {
    /// Checks sizes that the runner keeps by cutting.
    ///
    /// # Errors
    /// A text is too long, or there are too many.
    pub fn check(&self) -> Result<(), TooLarge> {
        let reason = |text: &str| at_most("the reason of the end", text.len(), REASON);
        let trace = |lines: &[Untrusted]| {
            at_most("a backtrace", lines.len(), BACKTRACE)?;
            lines.iter().try_for_each(|line| {
                at_most("a line of a backtrace", line.raw().len(), BACKTRACE_LINE)
            })
        };
        match self {
            Self::Completed | Self::Failed { .. } | Self::Cancelled => Ok(()),
            Self::Limit { backtrace, .. } => trace(backtrace),
            Self::Trapped {
                reason: text,
                backtrace,
            } => {
                reason(text.raw())?;
                trace(backtrace)
            }
            Self::Refused { reason: text } | Self::Broken { reason: text } => reason(text.raw()),
        }
    }
}

/// Cuts a text to at most so many bytes, between two characters.
#[must_use]
pub fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}
