//! The broker's end of a runner.
//!
//! [`start`] makes a runner child and answers a [`Runner`], whose [`next`](Runner::next) gives what the guest does, up
//! to the [`End`]. Calls are answered through [`Control`], in any order and from any task.
//!
//! A task of its own reads the channel, and keeps deadlines and disk quota, so that a run ends in time whatever the
//! broker is busy with. The runner is taken for hostile, because it runs a stranger's code: each message is checked
//! for its place in the conversation and for its size before it is handed on, and the first that is wrong ends the
//! run with a [`Violation`]. Memory that a runner can make the broker hold is bounded: by the size of frames, by the
//! number of calls in flight, and by reading no further than events are taken.

use std::collections::HashSet;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sovr_capability::text::Neutraliser;
use sovr_capability::{Limits, Untrusted};
use sovr_sandbox::frame::{self, FrameError};
use sovr_sandbox::{Child, Confinement, ProcessLimits, Role, SpawnError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::bindings::errors::Error;
use crate::bindings::pod::Identity;
use crate::limits::{self, Limit};
use crate::output::{Allowance, MESSAGE_BURST, MESSAGE_RATE, Pace};
use crate::quota::{Reading, Usage, Watch};
use crate::wire::{
    CALLS_IN_FLIGHT, Call, CallId, Directories, FRAME_FROM_RUNNER, FRAME_TO_RUNNER, FromRunner,
    Handle, Note, Reply, RunEnd, Start, ToRunner, TooLarge, VERSION,
};

/// Time for a runner to load its code, from the start of its process. Generous, because a loaded machine may take its
/// time and nothing of a stranger's runs yet.
const STARTUP: Duration = Duration::from_secs(30);

/// What a runner gets beyond the guest's time, and after it was told to cancel, to stop the guest by itself and to say
/// where it was. Then it is killed.
const GRACE: Duration = Duration::from_millis(50);

/// Events that wait for the broker to take them.
const EVENTS: usize = 16;

/// Memory that a runner's process needs beside the guest's and the code: the engine, stacks, frames on their way.
const OVERHEAD: u64 = 128 << 20;

/// Address space of a runner. Each memory of the guest reserves 4 GiB and as much again for guards, used or not.
const ADDRESS_SPACE: u64 = 256 << 30;

/// Descriptors of a runner beside those of the guest's objects.
const DESCRIPTORS: u64 = 64;

/// Processor time of a runner beyond the guest's wall-clock time. Only matters if the broker itself was stopped.
const PROCESSOR_TIME: Duration = Duration::from_secs(30);

/// What to run, and with what.
#[derive(Debug)]
pub struct RunRequest {
    /// The compiled component, as [`crate::code`] made or verified it.
    pub code: File,
    /// The pod's directories; the runner sees these and nothing else.
    pub directories: Directories,
    /// Arguments, the program's own name first.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// What `pod.who-am-i` answers.
    pub identity: Identity,
    /// What `pod.grants` answers.
    pub grants: String,
    /// What the run may use of this machine.
    pub limits: Limits,
}

/// What happens in a run.
#[derive(Debug)]
pub enum Event {
    /// The code is loaded and its imports are there; the guest starts and the time counts.
    Ready,
    /// The guest waits for an answer, to be given with [`Control::answer`].
    Call {
        /// The call.
        id: CallId,
        /// What it wants.
        call: Call,
    },
    /// Something to know. Output is neutralised, so it is text that can be shown as it is.
    Note(Note),
    /// The run is over, the process is gone and nothing follows.
    End(End),
}

/// How a run ended, and what it took.
#[derive(Clone, Debug)]
pub struct End {
    /// How.
    pub ended: Ended,
    /// From the start of the guest until its process was gone; zero if the guest never started.
    pub time: Duration,
    /// Most memory the process held, where the kernel tells.
    pub peak_memory: Option<u64>,
    /// What the process said on its own standard error, if anything. Comes from the side that is not trusted.
    pub diagnostics: Untrusted,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The guest ended well.
    Completed,
    /// The guest ended and said that it failed.
    Failed {
        /// The exit code it chose. Most languages lose it on the way and give 1.
        code: i32,
    },
    /// A limit was hit.
    Limit {
        /// Which.
        limit: Limit,
        /// Where the guest was, innermost first; empty when it had to be stopped from outside.
        backtrace: Vec<Untrusted>,
    },
    /// The guest did what no guest can do and go on.
    Trapped {
        /// What it did.
        reason: Untrusted,
        /// Where, innermost first.
        backtrace: Vec<Untrusted>,
    },
    /// The guest could not be started.
    Refused {
        /// What is missing, by name and version.
        reason: Untrusted,
    },
    /// [`Control::cancel`].
    Cancelled,
    /// [`Control::kill`].
    Killed,
    /// The runner broke the rules of the conversation.
    Violation(Violation),
    /// The runner failed by no fault of the guest that is known of.
    Broken {
        /// What failed.
        reason: Untrusted,
    },
}

/// A rule of the conversation that a runner broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes are no frame, or no message.
    #[error("sent what is not a message: {0}")]
    Malformed(String),
    /// A frame or a part of a message is larger than allowed.
    #[error("sent a message that is too large: {0}")]
    TooLarge(#[from] TooLarge),
    /// It speaks another version of the protocol.
    #[error("speaks version {theirs} of the protocol instead of {ours}; was the program replaced while it ran?", ours = VERSION)]
    Version {
        /// Its version.
        theirs: u32,
    },
    /// A message where none of its kind may be.
    #[error("sent {0} out of order")]
    OutOfOrder(&'static str),
    /// The id of a call that still waits.
    #[error("used the id {0} for a call while another call with it was waiting")]
    DuplicateCall(CallId),
    /// More calls than may wait.
    #[error("made more than {max} calls at a time", max = CALLS_IN_FLIGHT)]
    TooManyCalls,
    /// A handle that the broker never gave.
    #[error("used the handle {0}, which it was not given")]
    UnknownHandle(Handle),
}

/// Why a run could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The child could not be made.
    #[error("cannot start the confined process for the script")]
    Spawn(#[from] SpawnError),
    /// The compiled code cannot be used.
    #[error("cannot look at the script's compiled code")]
    Code(#[source] std::io::Error),
    /// The request cannot be sent.
    #[error("cannot hand the script its arguments, environment and grants")]
    Request(#[source] FrameError),
}

/// A run under way. Dropping it kills the process.
#[derive(Debug)]
pub struct Runner {
    id: u32,
    control: Control,
    events: mpsc::Receiver<Event>,
    usage: Reading,
}

/// Talks to a runner. Clones talk to the same one.
#[derive(Clone, Debug)]
pub struct Control {
    answers: mpsc::Sender<Vec<u8>>,
    orders: Arc<watch::Sender<Order>>,
    waiting: Waiting,
}

/// An answer to a call that does not wait for one.
#[derive(Debug, thiserror::Error)]
#[error("call {0} does not wait for an answer")]
pub struct NotWaiting(pub CallId);

/// The calls that wait for an answer.
type Waiting = Arc<Mutex<HashSet<CallId>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashSet<CallId>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the broker wants of a run, from mild to severe.
#[derive(Clone, Debug)]
enum Order {
    Run,
    Cancel,
    Kill(Ended),
}

/// Starts a runner child and hands it the guest. To be called inside a tokio runtime.
///
/// # Errors
/// The child cannot be made, or the request cannot be sent. What goes wrong later comes as an [`End`].
pub fn start(request: RunRequest) -> Result<Runner, StartError> {
    let RunRequest {
        code,
        directories,
        args,
        env,
        identity,
        grants,
        limits,
    } = request;
    let code_size = code.metadata().map_err(StartError::Code)?.len();
    let confinement = confinement(&directories, &limits, code_size);
    let writable = confinement.write.clone();
    let message = ToRunner::Start(Box::new(Start {
        version: VERSION,
        args,
        env,
        directories,
        identity,
        grants,
        limits,
    }));
    let message = frame::encode(&message, FRAME_TO_RUNNER).map_err(StartError::Request)?;

    let mut child = sovr_sandbox::spawn(Role::Runner, &confinement, vec![code.into()])?;
    let id = child.id();
    let (reader, writer) = child.take_channel().into_split();
    let quota = Watch::start(
        writable,
        Usage {
            bytes: limits.output.as_bytes(),
            files: limits.files,
        },
        Some(id),
    );
    let usage = quota.reading();
    let (answers, answered) = mpsc::channel(CALLS_IN_FLIGHT);
    let (orders, ordered) = watch::channel(Order::Run);
    let (happened, events) = mpsc::channel(EVENTS);
    let waiting = Waiting::default();

    let conversation = Conversation {
        child,
        reader: frame::Reader::new(reader, FRAME_FROM_RUNNER),
        writer: tokio::spawn(write(writer, message, answered, ordered.clone())),
        events: happened,
        orders: ordered,
        waiting: Arc::clone(&waiting),
        quota,
        time: limits.time.duration(),
        ready: None,
        cancelled: false,
        deadline: Instant::now() + STARTUP,
        allowance: Allowance::new(limits.log.as_bytes()),
        pace: Pace::new(MESSAGE_BURST, MESSAGE_RATE),
        stdout: Neutraliser::new(),
        stderr: Neutraliser::new(),
    };
    tokio::spawn(conversation.run());
    Ok(Runner {
        id,
        control: Control {
            answers,
            orders: Arc::new(orders),
            waiting,
        },
        events,
        usage,
    })
}

fn confinement(directories: &Directories, limits: &Limits, code: u64) -> Confinement {
    let Directories {
        payload,
        script,
        output,
        logs,
        tmp,
    } = directories;
    Confinement {
        read: payload.iter().chain(script).cloned().collect(),
        write: vec![output.clone(), logs.clone(), tmp.clone()],
        limits: ProcessLimits {
            data: limits
                .memory
                .as_bytes()
                .saturating_add(code)
                .saturating_add(OVERHEAD),
            address_space: ADDRESS_SPACE,
            file_size: limits.output.as_bytes(),
            open_files: limits::HOST_OBJECTS as u64 + DESCRIPTORS,
            threads: true,
            cpu: Some(limits.time.duration() + PROCESSOR_TIME),
        },
    }
}

impl Runner {
    /// What happens next; none after the [`End`]. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// For answering and ending, from other tasks as well.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The child's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What lay in the writable directories at the last count.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage.get()
    }
}

impl Control {
    /// Answers a call. Waits while the runner does not take earlier answers; when it is gone, does nothing. An answer
    /// that is too large for a frame reaches the guest as `error.unavailable`.
    ///
    /// # Errors
    /// No call with this id waits.
    pub async fn answer(&self, id: CallId, result: Result<Reply, Error>) -> Result<(), NotWaiting> {
        let Ok(place) = self.answers.reserve().await else {
            return Ok(());
        };
        // From here on the runner may make another call in place of this one. Not earlier: what waits for a place in
        // the queue must count as waiting, or a runner that reads nothing could pile up answers.
        if !lock(&self.waiting).remove(&id) {
            return Err(NotWaiting(id));
        }
        let frame =
            frame::encode(&ToRunner::Answer { id, result }, FRAME_TO_RUNNER).or_else(|error| {
                let result = Err(Error::Unavailable(format!(
                    "the answer cannot be passed on: {error}"
                )));
                frame::encode(&ToRunner::Answer { id, result }, FRAME_TO_RUNNER)
            });
        if let Ok(frame) = frame {
            place.send(frame);
        }
        Ok(())
    }

    /// Stops the guest where it stands. The run ends as [`Ended::Cancelled`], soon and in any case.
    pub fn cancel(&self) {
        self.order(Order::Cancel);
    }

    /// Kills the process. The run ends as [`Ended::Killed`].
    pub fn kill(&self) {
        self.order(Order::Kill(Ended::Killed));
    }

    /// Kills the process because of something that only the broker could see. The run ends as [`Ended::Violation`].
    pub fn condemn(&self, violation: Violation) {
        self.order(Order::Kill(Ended::Violation(violation)));
    }

    fn order(&self, new: Order) {
        self.orders.send_if_modified(|order| {
            let severer = matches!(
                (&*order, &new),
                (Order::Run, _) | (Order::Cancel, Order::Kill(_))
            );
            if severer {
                *order = new;
            }
            severer
        });
    }
}

/// Writes to the runner: first `start`, then answers, and the order to cancel when it is given.
async fn write(
    mut socket: OwnedWriteHalf,
    start: Vec<u8>,
    mut answers: mpsc::Receiver<Vec<u8>>,
    mut orders: watch::Receiver<Order>,
) -> Result<(), FrameError> {
    socket.write_all(&start).await?;
    loop {
        tokio::select! {
            Some(frame) = answers.recv() => socket.write_all(&frame).await?,
            Ok(()) = orders.changed() => {
                if matches!(*orders.borrow(), Order::Cancel) {
                    frame::send(&mut socket, &ToRunner::Cancel, FRAME_TO_RUNNER).await?;
                }
            }
            else => return Ok(()),
        }
    }
}

/// Reads what the runner says, checks it, and keeps the deadlines.
struct Conversation {
    child: Child,
    reader: frame::Reader<OwnedReadHalf>,
    writer: JoinHandle<Result<(), FrameError>>,
    events: mpsc::Sender<Event>,
    orders: watch::Receiver<Order>,
    waiting: Waiting,
    quota: Watch,
    /// Given to the guest, from ready on.
    time: Duration,
    /// When the runner said that it was.
    ready: Option<Instant>,
    cancelled: bool,
    deadline: Instant,
    allowance: Allowance,
    pace: Pace,
    stdout: Neutraliser,
    stderr: Neutraliser,
}

impl Conversation {
    async fn run(mut self) {
        let mut ended = self.talk().await;
        let peak_memory = peak_memory(self.child.id());
        self.child.kill();
        let status = self.child.wait().await;
        let time = self.ready.map_or(Duration::ZERO, |ready| ready.elapsed());
        self.writer.abort();
        let diagnostics = Untrusted::new(self.child.diagnostics());
        if let (Ended::Broken { reason }, Ok(status)) = (&mut ended, status)
            && reason.is_empty()
        {
            *reason = Untrusted::new(format!("the process ended without saying why ({status})"));
        }
        if let Some(limit) = self.quota.finish().await
            && matches!(ended, Ended::Completed | Ended::Failed { .. })
        {
            ended = Ended::Limit {
                limit,
                backtrace: Vec::new(),
            };
        }
        let mut rest = [Vec::new(), Vec::new()];
        self.stdout.finish(&mut rest[0]);
        self.stderr.finish(&mut rest[1]);
        let [stdout, stderr] = rest;
        for note in [Note::Stdout(stdout), Note::Stderr(stderr)] {
            if note.output() > 0 {
                let _ = self.events.send(Event::Note(note)).await;
            }
        }
        // If nobody takes it, nobody wants to know.
        let _ = self
            .events
            .send(Event::End(End {
                ended,
                time,
                peak_memory,
                diagnostics,
            }))
            .await;
    }

    /// Talks until there is nothing more to say, and answers why.
    async fn talk(&mut self) -> Ended {
        loop {
            let received = tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    let order = self.orders.borrow_and_update().clone();
                    match (changed, order) {
                        (Ok(()), Order::Cancel) => {
                            self.cancelled = true;
                            self.deadline = self.deadline.min(Instant::now() + GRACE);
                            continue;
                        }
                        (Ok(()), Order::Run) => continue,
                        (Ok(()), Order::Kill(ended)) => return ended,
                        (Err(_), _) => return Ended::Killed,
                    }
                }
                () = sleep_until(self.deadline) => return self.overdue(),
                limit = self.quota.exceeded() => return Ended::Limit { limit, backtrace: Vec::new() },
                () = self.events.closed() => return Ended::Killed,
                received = receive(&mut self.pace, &self.events, &mut self.reader) => received,
            };
            let message = match received {
                Ok(Some(message)) => message,
                // What there is to say about this is known when the process is gone.
                Ok(None) | Err(FrameError::Closed) => {
                    return Ended::Broken {
                        reason: Untrusted::default(),
                    };
                }
                Err(FrameError::TooLarge { size, max }) => {
                    return Ended::Violation(
                        TooLarge {
                            what: "a frame",
                            size,
                            most: max,
                        }
                        .into(),
                    );
                }
                Err(FrameError::Malformed(why)) => {
                    return Ended::Violation(Violation::Malformed(why));
                }
                Err(error) => {
                    return Ended::Broken {
                        reason: Untrusted::new(error.to_string()),
                    };
                }
            };
            match self.judge(message) {
                Ok(Some(event)) => {
                    // There is room: it was waited for, and nobody else sends.
                    if self.events.send(event).await.is_err() {
                        return Ended::Killed;
                    }
                }
                Ok(None) => {}
                Err(ended) => return ended,
            }
        }
    }

    /// What it means that the deadline has come.
    fn overdue(&self) -> Ended {
        if self.cancelled {
            Ended::Cancelled
        } else if self.ready.is_some() {
            Ended::Limit {
                limit: Limit::Time,
                backtrace: Vec::new(),
            }
        } else {
            Ended::Broken {
                reason: Untrusted::new(format!(
                    "the process was not ready after {} s",
                    STARTUP.as_secs()
                )),
            }
        }
    }

    /// Whether a message may come now and is of a size that it may be: what to hand on, or how the run ends.
    fn judge(&mut self, message: FromRunner) -> Result<Option<Event>, Ended> {
        let out_of_order = |what| Err(Ended::Violation(Violation::OutOfOrder(what)));
        match message {
            FromRunner::Ready { version } => {
                if version != VERSION {
                    return Err(Ended::Violation(Violation::Version { theirs: version }));
                }
                if self.ready.is_some() {
                    return out_of_order("that it is ready a second time");
                }
                let now = Instant::now();
                self.ready = Some(now);
                if !self.cancelled {
                    self.deadline = now + self.time + GRACE;
                }
                Ok(Some(Event::Ready))
            }
            FromRunner::End(end) => {
                end.check().map_err(violation)?;
                // The order goes to the runner by another task, so its answer may be here before the order is noticed.
                let cancelled = self.cancelled || matches!(*self.orders.borrow(), Order::Cancel);
                match end {
                    RunEnd::Cancelled if !cancelled => {
                        out_of_order("that it was cancelled, which nobody asked for,")
                    }
                    RunEnd::Refused { .. } | RunEnd::Broken { .. } | RunEnd::Cancelled => {
                        Err(end.into())
                    }
                    _ if self.ready.is_none() => {
                        out_of_order("the end of a guest that it never started")
                    }
                    _ => Err(end.into()),
                }
            }
            FromRunner::Call { .. } | FromRunner::Note(_) if self.ready.is_none() => {
                out_of_order("something of a guest that it never started")
            }
            FromRunner::Call { id, call } => {
                call.check().map_err(violation)?;
                let mut waiting = lock(&self.waiting);
                if waiting.contains(&id) {
                    return Err(Ended::Violation(Violation::DuplicateCall(id)));
                }
                if waiting.len() >= CALLS_IN_FLIGHT {
                    return Err(Ended::Violation(Violation::TooManyCalls));
                }
                waiting.insert(id);
                Ok(Some(Event::Call { id, call }))
            }
            FromRunner::Note(note) => {
                note.check().map_err(violation)?;
                if !self.allowance.take(note.output()) {
                    return Err(Ended::Limit {
                        limit: Limit::Log,
                        backtrace: Vec::new(),
                    });
                }
                Ok(self.neutral(note).map(Event::Note))
            }
        }
    }

    /// The note with its output made harmless; none if all of it waits for the rest of a character.
    fn neutral(&mut self, note: Note) -> Option<Note> {
        let mut out = Vec::new();
        let note = match note {
            Note::Stdout(bytes) => {
                self.stdout.push(&bytes, &mut out);
                Note::Stdout(out)
            }
            Note::Stderr(bytes) => {
                self.stderr.push(&bytes, &mut out);
                Note::Stderr(out)
            }
            note => return Some(note),
        };
        (note.output() > 0).then_some(note)
    }
}

fn violation(too_large: TooLarge) -> Ended {
    Ended::Violation(too_large.into())
}

/// The next message, once there is room for the event it becomes and the runner is not too fast. Nothing is lost when
/// the future is dropped.
async fn receive(
    pace: &mut Pace,
    events: &mpsc::Sender<Event>,
    reader: &mut frame::Reader<OwnedReadHalf>,
) -> Result<Option<FromRunner>, FrameError> {
    pace.wait().await;
    // The place is given back at once; it stays free because nobody else takes one. That nobody is listening is
    // noticed elsewhere.
    drop(events.reserve().await);
    let message = reader.next().await?;
    pace.spend(1);
    Ok(message)
}

impl From<RunEnd> for Ended {
    fn from(end: RunEnd) -> Self {
        match end {
            RunEnd::Completed => Self::Completed,
            RunEnd::Failed { code } => Self::Failed { code },
            RunEnd::Limit { limit, backtrace } => Self::Limit { limit, backtrace },
            RunEnd::Trapped { reason, backtrace } => Self::Trapped { reason, backtrace },
            RunEnd::Refused { reason } => Self::Refused { reason },
            RunEnd::Cancelled => Self::Cancelled,
            RunEnd::Broken { reason } => Self::Broken { reason },
        }
    }
}

/// Most memory that a living process held at a time.
fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}
